"""Lowering of layers to the TensorFlow operator that tf2onnx converts to a single ONNX operator.

For training these layers are implemented in the way that is fastest there: a grouped convolution as several convolutions,
normalization across channels as a matrix product. For export they are traced with the operator that they stand for.
"""

import contextlib
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.tensorflow import numpy as keras_numpy  # the functions behind keras.ops, which Keras does not export

from exporters.onnx import recurrent
from exporters.onnx.graph.lrn import GROUPS
from zoo.errors import ZooError
from zoo.layers import (
    GroupedConv2D,
    LocallyConnected2D,
    LocalResponseNormalization,
    NearestNeighbors,
    SCells,
    WithinMapNormalization,
)

TABLES = keras.layers.IntegerLookup, keras.layers.StringLookup, keras.layers.TextVectorization


def check(model: keras.Model | keras.Layer) -> None:
    """Check that no layer needs what a file cannot have.

    Raises:
        ZooError: if a layer keeps its state between batches, or looks values up in a table; it names the layer.
    """
    for layer in model._flatten_layers():
        if getattr(layer, "stateful", False) and isinstance(layer, keras.layers.RNN):
            reason = "keeps its state from one batch to the next (stateful=True), which a file cannot"
            raise ZooError(f"layer {layer.name} of {model.name} {reason}; build the model with stateful=False")
        if isinstance(layer, TABLES):
            reason = f"looks values up in a table ({type(layer).__name__}), which ONNX and LiteRT do not have"
            advice = "apply it to the data, and export a model of the layers behind it, which takes whole numbers"
            raise ZooError(f"layer {layer.name} of {model.name} {reason}; {advice}")


@contextlib.contextmanager
def lowered(model: keras.Model | keras.Layer) -> Iterator[None]:
    """Within the context, trace each such layer as one operator.

    Nested `tf.function`s are traced inline: Keras wraps grouped convolutions in one, which tf2onnx would convert to a call
    of an unknown function.

    Args:
        model: Keras model or layer.
    """
    eagerly = tf.config.functions_run_eagerly()
    with contextlib.ExitStack() as undo:
        undo.callback(tf.config.run_functions_eagerly, eagerly)
        tf.config.run_functions_eagerly(True)
        undo.enter_context(indices_of_extremes())
        for layer in model._flatten_layers():
            for name, function in _methods(layer).items():
                setattr(layer, name, function)
                undo.callback(delattr, layer, name)
        yield


@contextlib.contextmanager
def indices_of_extremes() -> Iterator[None]:
    """Within the context, `keras.ops.argmax` and `argmin` are one operator each."""
    own = keras_numpy.argmax, keras_numpy.argmin
    keras_numpy.argmax, keras_numpy.argmin = _index_of_extreme(tf.argmax), _index_of_extreme(tf.argmin)
    try:
        yield
    finally:
        keras_numpy.argmax, keras_numpy.argmin = own


def _index_of_extreme(function):
    """Return `keras.ops.argmax` or `argmin` as one operator. Keras orders -0.0 before 0.0 with operators on bits."""

    def find(x, axis=None, keepdims=False):
        x = tf.convert_to_tensor(x)
        x = tf.cast(x, "int32") if x.dtype.is_bool else x  # ONNX orders no booleans
        flat = tf.reshape(x, [-1]) if axis is None else x
        index = function(flat, axis=0 if axis is None else axis, output_type="int32")
        if not keepdims:
            return index
        return tf.reshape(index, [1] * len(x.shape)) if axis is None else tf.expand_dims(index, axis)

    return find


def _methods(layer):
    """Return the methods that replace those of a layer during tracing, by name."""
    if isinstance(layer, GroupedConv2D):
        return {"convolution_op": super(GroupedConv2D, layer).convolution_op}
    if isinstance(layer, LocalResponseNormalization):
        return {"call": lambda x: _normalize_across(layer, x)}
    if isinstance(layer, WithinMapNormalization):
        return {"call": lambda x: _normalize_within(layer, x)}
    if isinstance(layer, LocallyConnected2D):
        return {"call": lambda x: _locally_connected(layer, x)}
    if isinstance(layer, SCells):
        return {"inhibition": lambda x: _root_mean_square(layer, x)}
    if isinstance(layer, NearestNeighbors):
        # `keras.ops.take` adds operators that handle negative indices.
        return {"labels_at": lambda indices: tf.gather(tf.convert_to_tensor(layer.labels), indices)}
    if isinstance(layer, keras.layers.Resizing) and _fits_aspect_ratio(layer):
        return {"transform_images": lambda images, *args, **kwargs: _resize_to_aspect_ratio(layer, images)}
    if isinstance(layer, keras.layers.UpSampling2D) and layer.interpolation == "nearest":
        return {"call": lambda x: _repeat_pixels(layer, x)}
    return recurrent.methods(layer)


def _normalize_across(layer, x):
    """Normalize across channels with one operator and one group; `graph.lrn` reads the number of groups from its name."""
    name = f"{GROUPS}{layer.groups}"
    return tf.nn.local_response_normalization(x, layer.size // 2, layer.k, layer.alpha, layer.beta, name=name)


def _normalize_within(layer, x):
    """Normalize within channels with pooling and a power. Two square roots are faster in training, but more operators."""
    border = [layer.size // 2] * 2
    mean = tf.nn.avg_pool2d(tf.pad(x * x, [[0, 0], border, border, [0, 0]]), layer.size, 1, "VALID")
    return x / tf.pow(layer.k + layer.alpha * layer.size**2 * mean, layer.beta)


def _locally_connected(layer, x):
    """Apply a separate kernel at each position: gather the windows, then multiply with one matrix per position.

    An Einsum of fewer nodes is slower in onnxruntime, and other runtimes lack it.
    """
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


def _repeat_pixels(layer, x):
    """Repeat each pixel by resizing, one operator. Keras' `repeat` has no known shape."""
    first = layer.data_format == "channels_first"
    x = tf.transpose(x, (0, 2, 3, 1)) if first else x
    size = tf.shape(x)[1:3] if None in x.shape[1:3] else np.array(x.shape[1:3])
    x = tf.image.resize(x, size * layer.size, "nearest")
    return tf.transpose(x, (0, 3, 1, 2)) if first else x


def _fits_aspect_ratio(layer):
    """Return whether a Resizing crops or pads. One for integers rounds its results and keeps Keras' own graph."""
    return (layer.crop_to_aspect_ratio or layer.pad_to_aspect_ratio) and keras.backend.is_float_dtype(layer.compute_dtype)


def _resize_to_aspect_ratio(layer, images):
    """Crop or pad images to the aspect ratio of the output and resize them. Keras computes the borders in the graph."""
    first = layer.data_format == "channels_first"
    images = tf.transpose(images, (0, 2, 3, 1)) if first else images
    sizes, (rows, columns) = (layer.height, layer.width), images.shape[1:3]
    if rows is None or columns is None:
        raise ValueError(f"{layer.name} crops or pads images, which needs a known number of rows and columns")
    # The number of rows at the width of the images, and of columns at their height, rounded as Keras rounds it.
    fitting = [
        int(np.float32(columns * sizes[0]) / np.float32(sizes[1])),
        int(np.float32(rows * sizes[1]) / np.float32(sizes[0])),
    ]
    if layer.crop_to_aspect_ratio:
        height, width = (max(1, min(side, other)) for side, other in zip((rows, columns), fitting, strict=True))
        top, left = (rows - height) // 2, (columns - width) // 2
        images = images[:, top : top + height, left : left + width]
    else:
        top, left = (max(0, other - side) // 2 for side, other in zip((rows, columns), fitting, strict=True))
        images = tf.pad(images, [[0, 0], [top, top], [left, left], [0, 0]], constant_values=layer.fill_value)
    images = tf.image.resize(images, sizes, layer.interpolation, antialias=layer.antialias)
    images = tf.transpose(images, (0, 3, 1, 2)) if first else images
    return tf.cast(images, layer.compute_dtype)


def _root_mean_square(layer, x):
    """Return the inhibition of S-cells. Without gradients, the square root of 0 needs no special case."""
    power = tf.reduce_sum(tf.square(layer.bordered(x)), axis=-1, keepdims=True)
    return tf.sqrt(tf.nn.conv2d(power, layer.c[..., None, None], 1, "VALID"))
