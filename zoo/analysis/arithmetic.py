"""Counting: parameters, connections and multiply-accumulates of a model, layer by layer, for one picture.

A connection is what the papers of the 1980s and 1990s count: every input of every unit, and its bias where it has one. A
multiply-accumulate (MAC) leaves the bias out. Where a layer pads its input, the border counts as input.
"""

import functools
import math
from dataclasses import dataclass

import keras

from zoo.errors import ZooError


def output_size(size, window, stride=1, padding=0):
    """Return how many places a window has along one axis: (N - F + 2P)/S + 1.

    Args:
        size: N, pixels of the input.
        window: F, pixels of the window of a convolution or pooling.
        stride: S, pixels from one place to the next.
        padding: P, pixels added at each end.

    Raises:
        ZooError: if the window is larger than the padded input, or its last place would leave pixels over; with the nearest
            sizes that fit.

    References:
        CS231n (2017), lecture 5.
    """
    if min(size, window, stride) < 1 or padding < 0:
        raise ZooError(
            f"size, window and stride are 1 or more and padding is 0 or more, not {size}, {window}, {stride} and {padding}"
        )
    room = size - window + 2 * padding
    if room < 0 or room % stride:
        below = size - room % stride
        near = [each for each in (below, below + stride) if each >= max(1, window - 2 * padding)]
        near = near or [max(1, window - 2 * padding)]
        raise ZooError(
            f"a window of {window} with stride {stride} and padding {padding} does not fit {size}; "
            f"it fits {' and '.join(map(str, near))}"
        )
    return room // stride + 1


def same_padding(window):
    """Return the padding that keeps the size of the input at stride 1: (F - 1)/2.

    Raises:
        ZooError: if the window is even, and would need more at one end than at the other.
    """
    if window % 2 == 0:
        raise ZooError(f"no padding is the same at both ends for a window of {window}; {window + 1} would do")
    return (window - 1) // 2


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


@_keras_count.register(keras.layers.BatchNormalization)
@_keras_count.register(keras.layers.Normalization)
def _(layer):
    return 0, 0  # each unit is scaled and moved, and joined to no other


@_keras_count.register(keras.layers.Dense)
@_keras_count.register(keras.layers.Conv1D)
@_keras_count.register(keras.layers.Conv2D)
@_keras_count.register(keras.layers.Conv3D)
def _(layer):
    # A kernel's axes but the last are the inputs of one unit; a grouped convolution's kernel has its group's inputs only.
    return _with_bias(layer, _outputs(layer) * math.prod(layer.kernel.shape[:-1]))


@_keras_count.register(keras.layers.DepthwiseConv1D)
@_keras_count.register(keras.layers.DepthwiseConv2D)
def _(layer):
    # (window, input maps, maps made of each): a unit sees the window in one map.
    return _with_bias(layer, _outputs(layer) * math.prod(layer.kernel.shape[:-2]))


@_keras_count.register(keras.layers.SeparableConv1D)
@_keras_count.register(keras.layers.SeparableConv2D)
def _(layer):
    places = _outputs(layer) // layer.filters
    return _with_bias(layer, places * (math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)))


@_keras_count.register(keras.layers.Conv1DTranspose)
@_keras_count.register(keras.layers.Conv2DTranspose)
@_keras_count.register(keras.layers.Conv3DTranspose)
def _(layer):
    # (window, output maps, input maps): here each input is joined to a window of outputs.
    return _with_bias(layer, _inputs(layer) * math.prod(layer.kernel.shape[:-1]))


@_keras_count.register(keras.layers.MaxPooling1D)
@_keras_count.register(keras.layers.MaxPooling2D)
@_keras_count.register(keras.layers.MaxPooling3D)
@_keras_count.register(keras.layers.AveragePooling1D)
@_keras_count.register(keras.layers.AveragePooling2D)
@_keras_count.register(keras.layers.AveragePooling3D)
def _(layer):
    return _outputs(layer) * math.prod(layer.pool_size), 0


@_keras_count.register(keras.layers.GlobalMaxPooling1D)
@_keras_count.register(keras.layers.GlobalMaxPooling2D)
@_keras_count.register(keras.layers.GlobalMaxPooling3D)
@_keras_count.register(keras.layers.GlobalAveragePooling1D)
@_keras_count.register(keras.layers.GlobalAveragePooling2D)
@_keras_count.register(keras.layers.GlobalAveragePooling3D)
def _(layer):
    return _inputs(layer), 0


def _inputs(layer):
    return math.prod(layer.input.shape[1:])


def _outputs(layer):
    return math.prod(layer.output.shape[1:])


def _with_bias(layer, macs):
    return macs + layer.use_bias * _outputs(layer), macs
