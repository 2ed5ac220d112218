"""A TensorFlow graph in float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import exporters
from exporters import float64


def test_bilinear_resizing_has_the_positions_of_float64():
    function = tf.function(
        lambda x: tf.image.resize(x, (112, 20)), input_signature=[tf.TensorSpec((None, 48, 9, 2))]
    ).get_concrete_function()
    images = np.random.default_rng(0).normal(size=(2, 48, 9, 2)).astype("float32")
    result = float64.in_float64(function)(tf.constant(images))
    (result,) = result if isinstance(result, list | tuple) else [result]
    assert result.dtype == tf.float64
    # Pixel 30 of 112 is at (30.5 * 48 / 112) - 0.5 = 12.5714..., and pixel 7 of 20 at 2.875.
    low, high = (images[:, :, 2] * 0.125 + images[:, :, 3] * 0.875)[:, [12, 13]].astype("float64").swapaxes(0, 1)
    exact = (30.5 * 48 / 112 - 0.5) % 1
    np.testing.assert_allclose(result[:, 30, 7], low * (1 - exact) + high * exact, rtol=1e-6)
    difference = np.abs(np.asarray(function(tf.constant(images))) - result.numpy()).max()
    assert 1e-7 < difference < 1e-4


@pytest.mark.parametrize("after", [112, 63])
def test_a_file_is_not_blamed_for_the_rounding_of_positions(after, tmp_path):
    keras.utils.set_random_seed(7)
    image = keras.Input((48, 48, 3))
    model = keras.Model(image, layers.Conv2D(2, 1, activation="sigmoid")(layers.Resizing(after, after)(image)))
    assert exporters.to_onnx(model, tmp_path / "model.onnx").passed
