"""Preprocessing agrees with loops over the pixels."""

import json

import numpy as np
import pytest

import zoo
from numeric import check_gradients, run
from zoo.preprocessing import Preprocessing


def preprocess(x, scale, shift, padding):
    batch, height, width, channels = x.shape
    y = np.full((batch, height + 2 * padding, width + 2 * padding, channels), shift)
    for b, i, j, c in np.ndindex(x.shape):
        y[b, i + padding, j + padding, c] = float(x[b, i, j, c]) * scale + shift
    return y


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_preprocessing(rng, dtype):
    x = rng.integers(0, 256, size=(2, 4, 5, 3)).astype(dtype)
    y = run(Preprocessing(0.02, -0.3, 2), x)
    assert y.dtype == "float32"
    np.testing.assert_allclose(y, preprocess(x, 0.02, -0.3, 2), rtol=1e-5, atol=1e-6)


def test_gradients(rng):
    check_gradients(rng, Preprocessing(0.5, -0.1, 1), (2, 2, 3), lambda x: preprocess(x, 0.5, -0.1, 1))


def test_preprocessing_of_lenet5():
    """Section II.B: background -0.1, foreground 1.175, 28x28 in a field of 32x32 of background."""
    x = np.full((1, 28, 28, 1), 255, "uint8")
    y = run(Preprocessing(0.005, -0.1, 2), x)
    expected = np.full((1, 32, 32, 1), -0.1)
    expected[:, 2:-2, 2:-2] = 1.175
    np.testing.assert_allclose(y, expected, rtol=1e-6)


def test_one_factor_and_shift_per_channel(rng):
    """torchvision's (x / 255 - mean) / deviation, as in the card."""
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    about = zoo.card("alexnet-owt").preprocessing
    x = rng.integers(0, 256, size=(2, 4, 5, 3)).astype("uint8")
    y = run(Preprocessing(about.scale, about.shift), x)
    np.testing.assert_allclose(y, (x / 255 - mean) / deviation, rtol=1e-5, atol=1e-5)
    again = Preprocessing.from_config(json.loads(json.dumps(Preprocessing(about.scale, about.shift).get_config())))
    np.testing.assert_array_equal(run(again, x), y)
