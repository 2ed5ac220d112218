"""Layers that ONNX has one operator for, traced as TensorFlow's own operator, from which tf2onnx makes that one.

In training they are written in the way that is fast there: a grouped convolution as several, a normalization across maps as
a product. For the trace alone they are written as what they are called.
"""

import contextlib

import numpy as np
import tensorflow as tf

from exporters.onnx.graph.lrn import GROUPS
from zoo.layers import (
    GroupedConv2D,
    LocallyConnected2D,
    LocalResponseNormalization,
    NearestNeighbors,
    SCells,
    WithinMapNormalization,
)


@contextlib.contextmanager
def lowered(model, runtime="tensorrt"):
    """Within it, such layers of a model are traced as one operator each; a trace of functions within functions is flat.

    Keras wraps grouped convolutions in a function of their own, which tf2onnx would leave as a call of something unknown.

    Args:
        model: Keras model or layer.
        runtime: what the graph is to be fast in, "tensorrt" or "onnxruntime".
    """
    eagerly = tf.config.functions_run_eagerly()
    with contextlib.ExitStack() as undo:
        undo.callback(tf.config.run_functions_eagerly, eagerly)
        tf.config.run_functions_eagerly(True)
        for layer in model._flatten_layers():
            for name, function in _methods(layer, runtime).items():
                setattr(layer, name, function)
                undo.callback(delattr, layer, name)
        yield


def _methods(layer, runtime):
    """Return by name the methods that a layer has in a trace."""
    if isinstance(layer, GroupedConv2D):
        return {"convolution_op": super(GroupedConv2D, layer).convolution_op}
    if isinstance(layer, LocalResponseNormalization):
        return {"call": lambda x: _normalized_across(layer, x)}
    if isinstance(layer, WithinMapNormalization):
        return {"call": lambda x: _normalized_within(layer, x)}
    if isinstance(layer, LocallyConnected2D):
        return {"call": lambda x: (_by_place if runtime == "tensorrt" else _by_gathered_place)(layer, x)}
    if isinstance(layer, SCells):
        return {"inhibition": lambda x: _root_mean_square(layer, x)}
    if isinstance(layer, NearestNeighbors):
        # Keras' own looks at each place whether it counts from the end.
        return {"labels_at": lambda places: tf.gather(tf.convert_to_tensor(layer.labels), places)}
    return {}


def _normalized_across(layer, x):
    """Normalize across maps in one operator, as if they were one group; its name tells `graph.operators` how many."""
    name = f"{GROUPS}{layer.groups}"
    return tf.nn.local_response_normalization(x, layer.size // 2, layer.k, layer.alpha, layer.beta, name=name)


def _normalized_within(layer, x):
    """Normalize within maps by a pool and a power: two roots are faster than that in training, but more operators."""
    border = [layer.size // 2] * 2
    mean = tf.nn.avg_pool2d(tf.pad(x * x, [[0, 0], border, border, [0, 0]]), layer.size, 1, "VALID")
    return x / tf.pow(layer.k + layer.alpha * layer.size**2 * mean, layer.beta)


def _by_place(layer, x):
    """Apply a kernel of its own at each place: a convolution with ones and zeros lays each window into the channels."""
    window, maps = layer.kernel_size, x.shape[-1]
    picked = np.eye(window**2, dtype="float32").reshape(window, window, 1, window**2)
    windows = tf.nn.depthwise_conv2d(x, np.tile(picked, (1, 1, maps, 1)), (1, 1, 1, 1), "SAME")
    height, width, inputs, filters = layer.kernel.shape
    # Its rows are ordered by place in the window, then map; the channels of a depthwise convolution by map, then place.
    kernel = tf.reshape(tf.convert_to_tensor(layer.kernel), (height, width, window**2, maps, filters))
    kernel = tf.reshape(tf.transpose(kernel, (0, 1, 3, 2, 4)), (height, width, inputs, filters))
    sums = tf.squeeze(tf.matmul(tf.expand_dims(windows, -2), kernel), -2)
    return layer.activation(sums + tf.convert_to_tensor(layer.bias))


def _by_gathered_place(layer, x):
    """Apply a kernel of its own at each place: windows are gathered, and each place is a product of matrices."""
    _, rows, columns, maps = x.shape
    window, width = layer.kernel_size, columns + layer.kernel_size - 1
    border = [window // 2] * 2
    padded = tf.reshape(tf.pad(x, [[0, 0], border, border, [0, 0]]), (-1, (rows + window - 1) * width, maps))
    corner = (np.arange(rows)[:, None] * width + np.arange(columns)).reshape(-1, 1)
    within = (np.arange(window)[:, None] * width + np.arange(window)).reshape(1, -1)
    inputs, filters = layer.kernel.shape[2:]
    windows = tf.reshape(tf.gather(padded, (corner + within).ravel(), axis=1), (-1, rows * columns, inputs))
    kernel = tf.reshape(tf.convert_to_tensor(layer.kernel), (rows * columns, inputs, filters))
    sums = tf.transpose(tf.matmul(tf.transpose(windows, (1, 0, 2)), kernel), (1, 0, 2))
    return layer.activation(tf.reshape(sums, (-1, rows, columns, filters)) + tf.convert_to_tensor(layer.bias))


def _root_mean_square(layer, x):
    """Return the inhibition of S-cells; where no gradient is asked for, a root of 0 needs no care."""
    power = tf.reduce_sum(tf.square(layer.bordered(x)), axis=-1, keepdims=True)
    return tf.sqrt(tf.nn.conv2d(power, layer.c[..., None, None], 1, "VALID"))
