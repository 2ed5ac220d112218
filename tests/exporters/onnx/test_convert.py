"""Keras nets that compute shapes from the batch size, which become constants."""

import keras
import pytest
from keras import layers


def _scores(x):
    return layers.Dense(3)(layers.Flatten()(x))


def _excited(x, channels):
    scale = layers.Dense(4, activation="relu")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return layers.Multiply()([x, layers.Dense(channels, activation="sigmoid")(scale)])


def _pyramid(x):
    low = layers.UpSampling2D()(layers.Conv2D(8, 3, padding="same", strides=2)(x))
    both = layers.Add()([layers.Conv2D(8, 3, padding="same")(x), low])
    return _scores(layers.Conv2D(4, 3, padding="same", strides=2)(both))


def _reshaped(x):
    return _scores(layers.Conv2D(8, 3)(layers.Permute((3, 1, 2))(layers.Reshape((8, 4, 8))(layers.Conv2D(4, 1)(x)))))


def _padded(x):
    x = layers.Conv2D(4, 3)(layers.ZeroPadding2D(1)(layers.ZeroPadding2D(((0, 2), (1, 0)))(x)))
    return _scores(layers.AveragePooling2D(2)(layers.ZeroPadding2D(1)(layers.ZeroPadding2D(1)(x))))


def _doubled(x):
    return layers.UpSampling2D()(x)


NETS = {
    "group_normalization": lambda x: _scores(layers.Conv2D(6, 3)(layers.ReLU()(layers.GroupNormalization(2)(x)))),
    "excitation": lambda x: _scores(layers.BatchNormalization()(layers.MaxPooling2D()(_excited(x, 4)))),
    "upsampling_normalization": lambda x: layers.BatchNormalization()(layers.Conv2D(4, 3)(_doubled(x))),
    "upsampling_prelu": lambda x: layers.Conv2D(3, 3)(layers.PReLU()(layers.Conv2D(4, 3)(_doubled(x)))),
    "upsampling_pool": lambda x: _scores(layers.MaxPooling2D()(_doubled(x))),
    "repeated": lambda x: _scores(layers.Conv2D(4, 3)(keras.ops.repeat(x, 2, axis=1))),
    "pyramid": _pyramid,
    "reshaped": _reshaped,
    "padded": _padded,
}


@pytest.mark.parametrize(("name", "opset"), [*((name, 13) for name in NETS), ("padded", 9)])
def test_shapes_computed_from_the_batch_size(name, opset, compare):
    operators = compare((8, 8, 4), NETS[name], opset=opset)
    assert "Shape" not in operators or "Resize" in operators  # a Resize has the sizes of all axes
