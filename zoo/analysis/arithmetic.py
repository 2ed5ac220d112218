"""Count the parameters, connections and multiply-accumulates of a model, layer by layer, for one image.

Connections are counted as in the papers of the 1980s and 1990s: every input of every unit, plus its bias if it has one.
Multiply-accumulates (MACs) do not include the bias. If a layer pads its input, the border counts as input.
"""

import functools
import math
from dataclasses import dataclass

import keras

from zoo.errors import ZooError


def output_size(size: int, window: int, stride: int = 1, padding: int = 0) -> int:
    """Return the output size of a convolution or pooling along one axis: (N - F + 2P)/S + 1.

    Args:
        size: N, size of the input in pixels.
        window: F, size of the window in pixels.
        stride: S, in pixels.
        padding: P, pixels added on each side.

    Raises:
        ZooError: if the window is larger than the padded input, or if the windows do not cover it exactly; with the nearest
            sizes that fit.

    References:
        CS231n (2017), lecture 5.
    """
    if min(size, window, stride) < 1 or padding < 0:
        raise ZooError(
            f"size, window and stride must be 1 or more and padding 0 or more, not {size}, {window}, {stride} and {padding}"
        )
    room = size - window + 2 * padding
    if room < 0 or room % stride:
        below = size - room % stride
        near = [each for each in (below, below + stride) if each >= max(1, window - 2 * padding)]
        near = near or [max(1, window - 2 * padding)]
        raise ZooError(
            f"a window of {window} with stride {stride} and padding {padding} does not fit {size}; "
            f"sizes that fit: {' and '.join(map(str, near))}"
        )
    return room // stride + 1


def same_padding(window: int) -> int:
    """Return the padding that keeps the size of the input at stride 1: (F - 1)/2.

    Args:
        window: F, size of the window in pixels.

    Raises:
        ZooError: if the window is even, which would need different padding on both sides.
    """
    if window % 2 == 0:
        raise ZooError(
            f"a window of {window} needs different padding on both sides; choose an odd window, such as {window + 1}"
        )
    return (window - 1) // 2


@dataclass(frozen=True)
class Row:
    """The counts of a layer for one image.

    Attributes:
        name: name of the layer.
        kind: name of its class.
        shape: output shape without the batch.
        parameters: number of parameters.
        trainable: number of trainable parameters.
        connections: number of connections.
        macs: number of multiply-accumulates.
    """

    name: str
    kind: str
    shape: tuple
    parameters: int
    trainable: int
    connections: int
    macs: int


def table(model: keras.Model) -> list[Row]:
    """Return one row per layer of a network, in order. Nested networks are replaced by their layers.

    Args:
        model: a built Keras model, or a `zoo.classifier.Classifier`, whose network is counted.

    Raises:
        ZooError: if there is no rule to count the connections of a layer with weights.
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


def totals(rows: list[Row]) -> dict[str, int]:
    """Return the sums of all rows: "parameters", "trainable_parameters", "connections" and "macs"."""
    return {
        "parameters": sum(row.parameters for row in rows),
        "trainable_parameters": sum(row.trainable for row in rows),
        "connections": sum(row.connections for row in rows),
        "macs": sum(row.macs for row in rows),
    }


def _count(layer: keras.layers.Layer) -> tuple[int, int]:
    """Return (connections, MACs) of a layer, from its own method `connections` or by the rule for its Keras class."""
    if hasattr(layer, "connections"):
        return layer.connections()
    return _keras_count(layer)


@functools.singledispatch
def _keras_count(layer):
    if layer.count_params():
        raise ZooError(
            f"no rule to count the connections of layer {layer.name} ({type(layer).__name__}); give it a method "
            "connections()"
        )
    return 0, 0  # reshaping and elementwise functions have no connections


@_keras_count.register(keras.layers.BatchNormalization)
@_keras_count.register(keras.layers.Normalization)
def _(layer):
    return 0, 0  # each unit is scaled and shifted by itself


@_keras_count.register(keras.layers.Dense)
@_keras_count.register(keras.layers.Conv1D)
@_keras_count.register(keras.layers.Conv2D)
@_keras_count.register(keras.layers.Conv3D)
def _(layer):
    # All axes of a kernel but the last are the inputs of one unit. In a grouped convolution these are the inputs of a group.
    return _with_bias(layer, _outputs(layer) * math.prod(layer.kernel.shape[:-1]))


@_keras_count.register(keras.layers.DepthwiseConv1D)
@_keras_count.register(keras.layers.DepthwiseConv2D)
def _(layer):
    # (window, input channels, multiplier): a unit has the inputs of the window in one channel.
    return _with_bias(layer, _outputs(layer) * math.prod(layer.kernel.shape[:-2]))


@_keras_count.register(keras.layers.SeparableConv1D)
@_keras_count.register(keras.layers.SeparableConv2D)
def _(layer):
    positions = _outputs(layer) // layer.filters
    return _with_bias(layer, positions * (math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)))


@_keras_count.register(keras.layers.Conv1DTranspose)
@_keras_count.register(keras.layers.Conv2DTranspose)
@_keras_count.register(keras.layers.Conv3DTranspose)
def _(layer):
    # (window, output channels, input channels): each input is connected to a window of outputs.
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
