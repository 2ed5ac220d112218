"""Where in the raw picture the units of a layer look."""

import math

import keras

from zoo.analysis import features
from zoo.layers import traits


def receptive_field(classifier, layer):
    """Return where the units of a layer with maps look, for rows and for columns.

    Args:
        classifier: `zoo.Classifier`.
        layer: name of the layer.

    Returns:
        Two tuples (first, step, size) in pixels of the raw picture: unit i sees `size` pixels from `first + i·step` on. None
        where the layers before it are no plain chain of windows.
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


def _window(layer, axis):
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
    # Keras pads as TensorFlow does: as much as is needed, and of an odd number the smaller half before.
    beyond = max((math.ceil(size / stride) - 1) * stride + extent - size, 0) if layer.padding == "same" else 0
    return extent, stride, beyond // 2
