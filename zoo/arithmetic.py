"""Counting: parameters, connections and multiply-accumulates of a model, layer by layer, for one picture.

A connection is what the papers of the 1980s and 1990s count: every input of every unit, and its bias where it has one. A
multiply-accumulate (MAC) leaves the bias out.
"""

import functools
import math
from dataclasses import dataclass

import keras

from zoo.errors import ZooError


@dataclass(frozen=True)
class Row:
    """One layer: its name, class, output shape without the batch, and counts for one picture."""

    name: str
    kind: str
    shape: tuple
    parameters: int
    trainable: int
    connections: int
    macs: int


def table(model):
    """Return a row a layer of a net, in order; the layers of nets inside it stand in their place.

    Args:
        model: a built Keras model, or a `zoo.Classifier`, of which the net is counted.

    Returns:
        List of `Row`.

    Raises:
        ZooError: if a layer with weights is of a class whose connections nobody has taught this module to count.
    """
    rows = []
    for layer in getattr(model, "net", model).layers:
        if isinstance(layer, keras.Model):
            rows += table(layer)
        elif not isinstance(layer, keras.layers.InputLayer):
            connections, macs = _count(layer)
            trainable = sum(math.prod(weight.shape) for weight in layer.trainable_weights)
            shape = tuple(layer.output.shape[1:])
            rows.append(Row(layer.name, type(layer).__name__, shape, layer.count_params(), trainable, connections, macs))
    return rows


def totals(rows):
    """Return the sums over rows as a dict: parameters, trainable_parameters, connections, macs."""
    return {
        "parameters": sum(row.parameters for row in rows),
        "trainable_parameters": sum(row.trainable for row in rows),
        "connections": sum(row.connections for row in rows),
        "macs": sum(row.macs for row in rows),
    }


def _count(layer):
    """Return (connections, MACs) of a layer: its own `connections` method, or the rule for its Keras class."""
    if hasattr(layer, "connections"):
        return layer.connections()
    return _keras_count(layer)


@functools.singledispatch
def _keras_count(layer):
    if layer.count_params():
        raise ZooError(f"no rule to count the connections of layer {layer.name} ({type(layer).__name__})")
    return 0, 0  # reshaping and elementwise functions connect nothing


@_keras_count.register(keras.layers.Dense)
@_keras_count.register(keras.layers.Conv2D)
def _(layer):
    # A kernel's axes but the last are the inputs of one unit; a grouped convolution's kernel has its group's inputs only.
    macs = math.prod(layer.output.shape[1:]) * math.prod(layer.kernel.shape[:-1])
    return macs + layer.use_bias * math.prod(layer.output.shape[1:]), macs


@_keras_count.register(keras.layers.MaxPooling2D)
@_keras_count.register(keras.layers.AveragePooling2D)
def _(layer):
    return math.prod(layer.output.shape[1:]) * math.prod(layer.pool_size), 0
