"""What the board reads of a picture is what the workstation reads of it, to the last bit, whatever decodes it there."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from exporters.runner.board import orientation, resize
from exporters.runner.board import pictures as board
from zoo import images as zoo

SIDES = st.one_of(st.integers(1, 70), st.sampled_from([127, 256, 1000]))


def noise(width, height, channels, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), "uint8")


def image(pixels):
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


@settings(max_examples=150)
@given(SIDES, SIDES, st.integers(1, 60), st.integers(1, 60), st.sampled_from([1, 3]), st.integers(0, 99))
def test_resize_equals_pillow(width, height, across, down, channels, seed):
    pixels = noise(width, height, channels, seed)
    expected = np.asarray(image(pixels).resize((across, down), Image.Resampling.BILINEAR)).reshape(down, across, channels)
    np.testing.assert_array_equal(resize.resize(pixels, (across, down)), expected)


@settings(max_examples=150)
@given(
    SIDES,
    SIDES,
    st.sampled_from(["pad", "crop", "stretch"]),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([1, 3]),
    st.sampled_from([None, 40, 57]),
)
def test_conform_equals_that_of_the_zoo(width, height, fit, across, down, channels, crop_from):
    pixels = noise(width, height, channels)
    picture = {"height": down, "width": across, "channels": channels, "resize": fit, "crop_from": crop_from}
    np.testing.assert_array_equal(board.conform(pixels, picture), zoo.conform(image(pixels), picture))


@pytest.mark.parametrize("size", [(1, 2000), (3000, 2), (4032, 3024)])
@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_conform_accepts_extreme_sizes(size, fit):
    pixels = noise(*size, 3)
    picture = {"height": 227, "width": 227, "channels": 3, "resize": fit, "crop_from": 256}
    np.testing.assert_array_equal(board.conform(pixels, picture), zoo.conform(image(pixels), picture))


def files(folder):
    """Pictures of the kinds that cameras and programs write, photographs among them; name -> path."""
    from sklearn.datasets import load_sample_images

    photograph = Image.fromarray(load_sample_images().images[0]).resize((120, 80))
    gray, colors = photograph.convert("L"), noise(40, 30, 4)
    deep = (np.asarray(gray).astype("uint16") << 8) + 77
    clear = Image.fromarray(colors)
    palette = photograph.quantize(16)
    images = {
        "color.png": (photograph, {}),
        "gray.png": (gray, {}),
        "black and white.png": (gray.convert("1"), {}),
        "16 bits.png": (Image.fromarray(deep), {}),
        "transparent.png": (clear, {}),
        "transparent gray.png": (clear.convert("LA"), {}),
        "palette.png": (palette, {}),
        "palette with one transparent.png": (palette, {"transparency": 3}),
        "color.jpg": (photograph, {"quality": 90}),
        "fine.jpg": (photograph, {"quality": 95, "subsampling": 0}),
        "progressive.jpg": (photograph, {"quality": 80, "progressive": True}),
        "gray.jpg": (gray, {"quality": 80}),
        "color.bmp": (photograph, {}),
        "color.ppm": (photograph, {}),
        "color.webp": (photograph, {"lossless": True}),
    }
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[orientation.TAG] = turn
        for ending, how in (("jpg", {}), ("png", {}), ("webp", {"lossless": True})):
            images[f"turned {turn}.{ending}"] = photograph, {"exif": exif, **how}
    paths = {}
    for name, (picture, options) in images.items():
        paths[name] = folder / name
        picture.save(paths[name], **options)
    return paths


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return files(tmp_path_factory.mktemp("pictures"))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("decode", [board.by_pillow, board.by_opencv])
def test_files_are_read_as_by_the_zoo(paths, decode, channels, monkeypatch):
    if decode is board.by_opencv:
        pytest.importorskip("cv2")
    monkeypatch.setattr(board, "decoder", lambda: decode)
    picture = {"height": 56, "width": 64, "channels": channels, "resize": "pad"}
    different = {}
    for name, path in paths.items():
        difference = np.abs(board.read(path, picture).astype(int) - zoo.read(path, picture))
        if difference.any():
            different[name] = int(difference.max())
    assert not different


@pytest.mark.parametrize("decode", [board.by_pillow, board.by_opencv])
def test_error_names_the_damaged_file(paths, tmp_path, decode, monkeypatch):
    if decode is board.by_opencv:
        pytest.importorskip("cv2")
    monkeypatch.setattr(board, "decoder", lambda: decode)
    picture = {"height": 8, "width": 8, "channels": 1, "resize": "pad"}
    path = tmp_path / "some.png"
    for content in (b"", b"text", paths["color.png"].read_bytes()[:70]):
        path.write_bytes(content)
        with pytest.raises(board.PictureError, match=r"some\.png is no picture, or damaged"):
            board.read(path, picture)
    with pytest.raises(board.PictureError, match=r"none\.png cannot be read \(no such file"):
        board.read(tmp_path / "none.png", picture)


@given(st.binary(max_size=200), st.sampled_from([b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF1234WEBP", b""]))
def test_orientation_search_never_raises(content, head):
    pixels = noise(3, 2, 1)
    assert orientation.upright(pixels, head + content).size == pixels.size


def test_truncated_exif_is_ignored(paths):
    pixels, content = noise(3, 2, 1), paths["turned 6.jpg"].read_bytes()
    assert orientation.upright(pixels, content).shape == (3, 2, 1)
    for length in range(40):
        assert orientation.upright(pixels, content[:length]).shape in ((2, 3, 1), (3, 2, 1))


def test_camera_frame_equals_the_same_image_in_a_file(tmp_path):
    frame = noise(64, 48, 3)
    data = io.BytesIO()
    Image.fromarray(frame[..., ::-1]).save(data, "PNG")
    (tmp_path / "frame.png").write_bytes(data.getvalue())
    for channels in (1, 3):
        picture = {"height": 28, "width": 28, "channels": channels, "resize": "crop"}
        np.testing.assert_array_equal(board.of_frame(frame, picture), zoo.read(tmp_path / "frame.png", picture))
