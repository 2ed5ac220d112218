import keras
import numpy as np
import pytest
from PIL import Image

from exporters import samples, source
from zoo import images
from zoo.errors import ZooError

GRAY = {"height": 28, "width": 28, "channels": 1, "resize": "pad"}
COLOR = {"height": 20, "width": 30, "channels": 3, "resize": "crop"}


@pytest.mark.parametrize("picture", [GRAY, COLOR])
def test_shipped_images_are_real_distinct_and_constant(picture):
    shipped = samples.shipped(picture)
    assert shipped.shape == (256, picture["height"], picture["width"], picture["channels"]) and shipped.dtype == np.uint8
    assert len(np.unique(shipped.reshape(256, -1), axis=0)) > 250
    assert shipped.min() < 20 and shipped.max() > 235
    np.testing.assert_array_equal(samples.shipped(picture), shipped)


def test_fewer_large_images_are_used():
    """256 as long as four million values hold them, 32 at least."""
    square = {**COLOR, "height": 96, "width": 96}
    assert [samples.count(each) for each in (GRAY, square, {**square, "height": 227, "width": 227})] == [256, 151, 32]
    assert len(samples.shipped(square)) == 151


def test_gray_images_are_the_scanned_digits():
    from sklearn.datasets import load_digits

    shipped = samples.shipped({"height": 8, "width": 8, "channels": 1, "resize": "pad"})
    expected = load_digits().images[:256] * 255 / 16
    assert np.abs(shipped[..., 0] - expected).max() < 1


def test_images_of_a_folder_are_evenly_spaced(digits):
    result = samples.read(digits, GRAY)
    assert result.shape == (256, 28, 28, 1)
    paths = sorted(digits.rglob("*.png"))
    place = {images.read(path, GRAY).tobytes(): index for index, path in enumerate(paths)}
    places = [place[picture.tobytes()] for picture in result]
    assert places[0] == 0 and places[-1] == len(paths) - 1
    assert min(np.diff(places)) >= 6 and max(np.diff(places)) <= 8  # 1,797 / 256 is 7


def test_small_folder_is_used_entirely_and_unreadable_files_are_skipped(tmp_path):
    for number in range(5):
        Image.fromarray(np.full((28, 28), 50 * number, "uint8")).save(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_text("I am a text")
    result = samples.read(tmp_path, GRAY)
    assert result[:, 0, 0, 0].tolist() == [0, 50, 150, 200]


def test_folder_without_readable_images_is_an_error(tmp_path):
    with pytest.raises(ZooError, match="no folder"):
        samples.read(tmp_path / "missing", GRAY)
    with pytest.raises(ZooError, match="has no images"):
        samples.read(tmp_path, GRAY)
    (tmp_path / "text.png").write_text("I am a text")
    with pytest.raises(ZooError, match=r"no image in .* can be read; the first: .*text\.png"):
        samples.read(tmp_path, GRAY)


@pytest.mark.parametrize("picture", [GRAY, COLOR, {**COLOR, "resize": "stretch"}, {**GRAY, "height": 20, "crop_from": 40}])
def test_adversarial_images_contain_extreme_values(picture):
    result = samples.adversarial(picture)
    height, width, channels = picture["height"], picture["width"], picture["channels"]
    assert result.shape == (9, height, width, channels) and result.dtype == np.uint8
    black, white, noise, salt, checkerboard, pixel, *extreme = result.astype(int)
    assert not black.any() and (white == 255).all()
    assert 100 < noise.mean() < 155 and len(np.unique(noise)) > 200
    assert set(np.unique(salt)) == {0, 255} and 100 < salt.mean() < 155
    assert (np.abs(np.diff(checkerboard, axis=0)) == 255).all() and (np.abs(np.diff(checkerboard, axis=1)) == 255).all()
    assert (pixel == 255).sum() == channels and (pixel == 0).sum() == pixel.size - channels
    assert len(extreme) == 3 and all(each.any() for each in extreme)
    np.testing.assert_array_equal(samples.adversarial(picture), result)


def test_extreme_sizes_are_stretched_or_padded():
    *_, dot, column, rows = samples.adversarial({**COLOR, "resize": "pad", "width": 20})
    assert (dot == dot[0, 0]).all()
    assert column[:, :9].max() == 0 and column[:, 11:].max() == 0 and column.any()
    assert rows[:9].max() == 0 and rows[11:].max() == 0 and rows.any()


def test_inputs_of_an_unknown_model_have_several_scales():
    inputs = samples.inputs((7, 2), "float32")
    assert inputs.shape[1:] == (7, 2) and inputs.dtype == np.float32 and len(inputs) == 50
    assert not inputs[0].any() and (inputs[1] == 1).all()
    normal, large = inputs[2:34], inputs[34:]
    assert abs(normal.mean()) < 0.2 and 0.8 < normal.std() < 1.2
    assert 80 < large.std() < 120
    np.testing.assert_array_equal(samples.inputs((7, 2), "float32"), inputs)
    assert samples.inputs((5,), "float16").dtype == np.float16


@pytest.mark.parametrize("channels", [1, 3])
def test_image_shaped_inputs_include_real_images_between_0_and_1(channels):
    inputs = samples.inputs((20, 30, channels), "float32")
    real = inputs[50:]
    assert len(real) == 16 and real.min() >= 0 and 0.5 < real.max() <= 1 and 0.1 < real.std() < 0.5
    assert len(samples.inputs((20, 30, 2), "float32")) == 50


def test_integer_inputs_are_valid_table_indices():
    assert set(np.unique(samples.inputs((9,), "int32"))) == {0, 1}
    assert set(np.unique(samples.inputs((9,), "int32", 7))) == set(range(7))
    pixels = samples.inputs((9, 9, 3), "uint8")
    assert pixels.dtype == np.uint8 and pixels.max() > 250 and not pixels[0].any()


def test_indices_stay_within_the_smallest_embedding():
    words = keras.Input((6,), dtype="int32")
    one, other = keras.layers.Embedding(9, 2)(words), keras.layers.Embedding(5, 2)(words)
    inputs, real = source.find(keras.Model(words, one + other)).inputs()
    assert (set(np.unique(inputs)), real) == (set(range(5)), 0)
