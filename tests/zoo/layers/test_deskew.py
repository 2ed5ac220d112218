"""Deskewing agrees with moments computed pixel by pixel and with SciPy's affine transform."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import affine_transform

from zoo.layers import Deskew
from zoo.preprocessing import Preprocessing


def deskew(images):
    return keras.ops.convert_to_numpy(Deskew()(np.asarray(images, "float32")))


def moments(image):
    """Row and column of the center of mass, and covariance over variance of the row, of one (height, width) image."""
    total = row = column = variance = covariance = 0.0
    for (i, j), ink in np.ndenumerate(image):
        total, row, column = total + ink, row + ink * i, column + ink * j
    row, column = row / total, column / total
    for (i, j), ink in np.ndenumerate(image):
        variance += ink * (i - row) ** 2
        covariance += ink * (i - row) * (j - column)
    return row, column, covariance / variance if variance else 0.0


def upright(image):
    """The same by SciPy: out(y, x) = in(row + y - c, column + x - c + slant·(y - c))."""
    row, column, slant = moments(image.astype("float64"))
    matrix = np.array([[1, 0], [slant, 1]])
    middle = (np.array(image.shape) - 1) / 2
    return affine_transform(
        image.astype("float64"), matrix, np.array([row, column]) - matrix @ middle, order=1, mode="grid-constant"
    )


def bar(slant, size=28, row=0.0, column=0.0):
    """A bar of 14 rows, 4 pixels wide with soft ends, that is slanted by `slant` columns per row."""
    ys, xs = np.mgrid[:size, :size] - (size - 1) / 2
    beside = np.abs(xs - column - slant * (ys - row))
    return (255 * np.clip(2.5 - beside, 0, 1) * (np.abs(ys - row) <= 7)).astype("float32")


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_same_result_as_scipy(seed):
    generator = np.random.default_rng(seed)
    image = generator.integers(0, 256, (9, 12)) * (generator.random((9, 12)) < generator.uniform(0.1, 1))
    image[generator.integers(9), generator.integers(12)] = 200
    image[0, 0] = 90  # so that it has two rows of ink, or nearly always
    np.testing.assert_allclose(deskew(image[None, ..., None])[0, ..., 0], upright(image), atol=0.05)


@pytest.mark.parametrize("slant", [-0.6, -0.2, 0, 0.35, 0.7])
def test_slanted_bar_becomes_upright_and_centered(slant):
    images = np.stack([bar(slant), bar(slant, row=1.3, column=-2.2)])[..., None]
    for image in deskew(images)[..., 0]:
        row, column, rest = moments(image)
        assert abs(rest) < 0.02 and abs(row - 13.5) < 0.05 and abs(column - 13.5) < 0.05
        # Half a pixel between two: linear interpolation takes a quarter of an edge. A pixel off would be all of it.
        np.testing.assert_allclose(image[10:18], bar(0)[10:18], atol=70)


def test_upright_image_is_unchanged():
    image = bar(0)[None, ..., None]
    np.testing.assert_allclose(deskew(image), image, atol=0.01)


def test_deskewing_is_nearly_idempotent():
    once = deskew(np.stack([bar(0.5), bar(-0.3, row=2, column=1)])[..., None])
    twice = deskew(once)
    assert np.abs(twice - once).max() < 10 and np.abs(once).max() > 200


def test_empty_image_is_unchanged_and_one_row_has_no_slant():
    images = np.zeros((3, 8, 8, 1))
    images[1, 2, 3:7] = 255
    images[2, 6, 6] = 1
    found = deskew(images)
    assert (found[0] == 0).all() and np.isfinite(found).all()
    np.testing.assert_allclose(
        found[1], np.roll(images[1], (1, -1), (0, 1)) * 0.5 + np.roll(images[1], (2, -1), (0, 1)) * 0.5
    )
    np.testing.assert_allclose(found[2, 3:5, 3:5], np.full((2, 2, 1), 0.25), atol=1e-6)


def test_channels_have_one_transform():
    gray = bar(0.4)
    color = np.stack([gray, 0 * gray, gray / 2], axis=-1)[None]
    expected = upright(gray)
    for channel, share in enumerate((1, 0, 0.5)):
        np.testing.assert_allclose(deskew(color)[0, ..., channel], share * expected, atol=0.05)


def test_preprocessing_deskews_first():
    image = bar(0.4).astype("uint8")
    layer = Preprocessing(scale=0.01, shift=-1.0, padding=2, deskew=True)
    found = keras.ops.convert_to_numpy(layer(image[None, ..., None]))
    np.testing.assert_allclose(found[0, ..., 0], np.pad(upright(image), 2) * 0.01 - 1, atol=1e-3)
    again = Preprocessing.from_config(layer.get_config())
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(again(image[None, ..., None])), found)
