import numpy as np
import pytest
from PIL import Image

from exporters import samples
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


def test_images_are_in_turn_in_each_range_that_a_model_may_expect():
    found = samples.in_ranges(samples.shipped(COLOR, 30), "float32")
    assert found.dtype == np.float32 and len(found) == 30
    assert found[::3].min() >= 0 and 0.5 < found[::3].max() <= 1
    assert found[1::3].min() >= 0 and 200 < found[1::3].max() <= 255
    assert -1 <= found[2::3].min() < -0.9 and 0.5 < found[2::3].max() <= 1
    images = samples.shipped(COLOR, 3)
    np.testing.assert_array_equal(samples.in_ranges(images, "int32"), images)


def test_inputs_of_an_array_or_file_are_evenly_spaced(tmp_path):
    array = np.arange(40.0).reshape(10, 4)
    np.save(tmp_path / "inputs.npy", array)
    for given in (array, tmp_path / "inputs.npy"):
        found = samples.from_array(given, (4,), "float32", 4)
        np.testing.assert_array_equal(found, array[[0, 3, 6, 9]])
        assert found.dtype == np.float32


@pytest.mark.parametrize("given", [np.zeros((3, 5)), np.zeros((0, 4)), np.array([["a"] * 4])])
def test_array_of_another_shape_is_an_error(given):
    with pytest.raises(ZooError, match=r"must be numbers of the shape \('n', 4\); it is"):
        samples.from_array(given, (4,), "float32")


def test_unreadable_array_is_an_error(tmp_path):
    (tmp_path / "text.npy").write_text("I am a text")
    np.save(tmp_path / "objects.npy", np.array([{}]))
    for name in ("text.npy", "objects.npy", "missing.npy"):
        with pytest.raises(ZooError, match=f"{name} cannot be read"):
            samples.from_array(tmp_path / name, (4,), "float32")
