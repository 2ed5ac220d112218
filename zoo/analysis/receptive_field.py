"""The receptive fields of the units of a layer, in pixels of the raw image."""

import math
from typing import TYPE_CHECKING

import keras

from zoo.analysis import features
from zoo.layers import traits

if TYPE_CHECKING:
    from zoo.classifier import Classifier

Field = tuple[int, int, int]  # first pixel, step, size


def receptive_field(classifier: "Classifier", layer: str) -> tuple[Field, Field] | None:
    """Return the receptive fields of the units of a layer with feature maps.

    Args:
        classifier: the classifier.
        layer: name of the layer.

    Returns:
        (first, step, size) for rows and for columns, in pixels of the raw image: unit i sees `size` pixels, starting at
        `first + i·step`. None if the layers before it are not a chain of convolutions and poolings.
    """
    layers = [each for each in classifier.net.layers if not isinstance(each, keras.layers.InputLayer)]
    maker = {id(features.output_of(each)): each for each in layers}
    chain, waiting = [], features.layer_of(classifier, layer)
    while waiting is not None:
        chain.insert(0, waiting)
        waiting = maker.get(id(waiting.input))
    if classifier.preprocessing.deskew or chain[0].input is not classifier.net.inputs[0]:
        return None
    axes = []
    for axis in (0, 1):
        first, step, size = -classifier.preprocessing.padding, 1, 1
        for each in chain:
            if traits.of(each).pointwise:
                continue
            window = _window(each, axis)
            if window is None:
                return None
            extent, stride, before = window
            first, size, step = first - before * step, size + (extent - 1) * step, step * stride
        axes.append((first, step, size))
    return tuple(axes)


def _window(layer: keras.layers.Layer, axis: int) -> Field | None:
    """Return (size, stride, padding before) of a layer's windows along an axis, in input units, or None if it has none."""
    if hasattr(layer, "receptive_window"):
        return layer.receptive_window()
    if isinstance(layer, keras.layers.ZeroPadding2D):
        return 1, 1, layer.padding[axis][0]
    if isinstance(layer, keras.layers.Conv2D):
        extent = (layer.kernel_size[axis] - 1) * layer.dilation_rate[axis] + 1
    elif isinstance(layer, keras.layers.MaxPooling2D | keras.layers.AveragePooling2D):
        extent = layer.pool_size[axis]
    else:
        return None
    stride, size = layer.strides[axis], layer.input.shape[1 + axis]
    # Keras pads like TensorFlow: as much as needed, with the smaller half before if the number is odd.
    beyond = max((math.ceil(size / stride) - 1) * stride + extent - size, 0) if layer.padding == "same" else 0
    return extent, stride, beyond // 2
