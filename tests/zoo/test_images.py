"""Reading images of every mode and orientation, and files that are not images."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo import ZooError, images


def form(height=6, width=8, channels=3, resize="pad"):
    return {"height": height, "width": width, "channels": channels, "resize": resize}


@pytest.fixture
def rgb():
    """An image of 8x6 without any symmetry."""
    return np.random.default_rng(0).integers(0, 256, size=(6, 8, 3), dtype="uint8")


def read(image, tmp_path, image_spec, name="image.png", **options):
    """Save a Pillow image or an array and read it back."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(tmp_path / name, **options)
    return images.read(tmp_path / name, image_spec)


# Modes.


def test_color(rgb, tmp_path):
    found = read(rgb, tmp_path, form())
    assert found.dtype == "uint8"
    assert (found == rgb).all()


def test_color_as_gray(rgb, tmp_path):
    """The luma of ITU-R 601."""
    found = read(rgb, tmp_path, form(channels=1))
    assert found.shape == (6, 8, 1)
    np.testing.assert_allclose(found[..., 0], rgb @ [0.299, 0.587, 0.114], atol=0.51)


def test_gray_as_color(rgb, tmp_path):
    found = read(rgb[..., 0], tmp_path, form())
    assert (found == rgb[..., :1]).all() and found.shape == (6, 8, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_one_bit(tmp_path, channels):
    bits = np.random.default_rng(1).random((6, 8)) < 0.5
    found = read(Image.fromarray(bits), tmp_path, form(channels=channels))
    assert (found == np.where(bits, 255, 0)[..., None]).all()


def test_palette(tmp_path):
    image = Image.fromarray(np.arange(48, dtype="uint8").reshape(6, 8) % 3)
    image.putpalette([255, 0, 0, 0, 255, 0, 9, 8, 7])
    assert image.mode == "P"
    found = read(image, tmp_path, form())
    assert (found == np.array([[255, 0, 0], [0, 255, 0], [9, 8, 7]])[np.arange(48).reshape(6, 8) % 3]).all()


@pytest.mark.parametrize("name", ["image.png", "image.gif"])
def test_palette_with_a_transparent_color(tmp_path, name):
    image = Image.fromarray(np.arange(48, dtype="uint8").reshape(6, 8) % 2)
    image.putpalette([0, 0, 0, 0, 90, 0])
    found = read(image, tmp_path, form(), name, transparency=0)
    assert (found[:, ::2] == 255).all() and (found[:, 1::2] == [0, 90, 0]).all()


def test_transparency_is_blended_with_white(rgb, tmp_path):
    alpha = np.zeros((6, 8, 1), "uint8")
    alpha[:, 2:4], alpha[:, 4:] = 128, 255
    found = read(np.concatenate([rgb, alpha], axis=-1), tmp_path, form())
    share = alpha / 255
    np.testing.assert_allclose(found, rgb * share + 255 * (1 - share), atol=1)


def test_gray_with_transparency(tmp_path):
    pixels = np.zeros((6, 8, 2), "uint8")
    pixels[:, 4:, 1] = 255
    found = read(
        Image.merge("LA", [Image.fromarray(band) for band in np.moveaxis(pixels, -1, 0)]), tmp_path, form(channels=1)
    )
    assert (found[:, :4] == 255).all() and (found[:, 4:] == 0).all()


def test_gray_with_a_transparent_shade(tmp_path):
    pixels = np.tile(np.uint8([0, 100]), (6, 4))
    found = read(pixels, tmp_path, form(channels=1), transparency=0)
    assert (found[:, ::2] == 255).all() and (found[:, 1::2] == 100).all()


@pytest.mark.parametrize("name", ["image.png", "image.tif", "image.pgm"])
def test_sixteen_bits(tmp_path, name):
    """The upper eight bits remain; nothing is clipped at 255."""
    pixels = np.linspace(0, 65535, 48).astype("uint16").reshape(6, 8)
    for channels in (1, 3):
        found = read(pixels, tmp_path, form(channels=channels), name)
        assert (found == (pixels // 256)[..., None]).all()


def test_cmyk(tmp_path):
    image = Image.new("CMYK", (8, 6), (0, 255, 255, 0))
    found = read(image, tmp_path, form(), "image.jpg", quality=95)
    np.testing.assert_allclose(found, np.broadcast_to([255, 0, 0], found.shape), atol=6)


def test_floating_point_is_refused(tmp_path):
    with pytest.raises(images.ImageError, match=r"image\.tif.*floating-point"):
        read(np.zeros((6, 8), "float32"), tmp_path, form(), "image.tif")


# What a camera stores for an upright image, by EXIF orientation. The comments name the sides of its first row and column.
STORED = {
    1: lambda up: up,  # top, left
    2: lambda up: up[:, ::-1],  # top, right
    3: lambda up: up[::-1, ::-1],  # bottom, right
    4: lambda up: up[::-1],  # bottom, left
    5: lambda up: up.transpose(1, 0, 2),  # left, top
    6: lambda up: up.transpose(1, 0, 2)[::-1],  # right, top
    7: lambda up: up.transpose(1, 0, 2)[::-1, ::-1],  # right, bottom
    8: lambda up: up.transpose(1, 0, 2)[:, ::-1],  # left, bottom
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("name", ["image.png", "image.jpg"])
def test_orientation(rgb, tmp_path, orientation, name):
    """The image is upright for every orientation of the camera."""
    upright = rgb if name.endswith("png") else np.kron(rgb, np.ones((16, 16, 1), "uint8"))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED[orientation](upright))
    exact = {"quality": 100, "subsampling": 0} if name.endswith("jpg") else {}
    found = read(stored, tmp_path, form(*upright.shape[:2]), name, exif=exif, **exact)
    np.testing.assert_allclose(found.astype(int), upright, atol=4 if exact else 0)


# Sizes.


def two_to_one():
    """40x20, white in the middle half and gray elsewhere."""
    pixels = np.full((20, 40), 100, "uint8")
    pixels[:, 10:30] = 255
    return pixels


def test_pad_keeps_the_aspect_ratio_and_adds_bars(tmp_path):
    found = read(two_to_one(), tmp_path, form(28, 28, 1, "pad"))[..., 0]
    assert (found[:7] == 0).all() and (found[21:] == 0).all()
    assert (found[8:20, 9:19] == 255).all() and (found[8:20, :5] == 100).all() and (found[8:20, 23:] == 100).all()


def test_crop_keeps_the_aspect_ratio_and_the_center(tmp_path):
    found = read(two_to_one(), tmp_path, form(28, 28, 1, "crop"))[..., 0]
    assert (found[:, 2:26] == 255).all()


def test_stretch_keeps_no_aspect_ratio(tmp_path):
    found = read(two_to_one(), tmp_path, form(28, 28, 1, "stretch"))[..., 0]
    assert (found[:, 9:19] == 255).all() and (found[:, :5] == 100).all() and (found[:, 23:] == 100).all()
    assert (found == found[:1]).all()


@pytest.mark.parametrize("resize", ["pad", "crop", "stretch"])
def test_sizes(tmp_path, resize):
    """From any size to an image that is not square."""
    for size in [(1, 1), (8, 6), (1, 500), (500, 1), (13, 7), (300, 200)]:
        found = read(Image.new("RGB", size, (10, 200, 30)), tmp_path, form(6, 8, 3, resize))
        assert found.shape == (6, 8, 3)
        assert (found == [10, 200, 30]).all(axis=-1).any()
        if resize != "pad":
            assert (found == [10, 200, 30]).all()


@pytest.mark.parametrize("resize", ["pad", "crop", "stretch"])
def test_same_size_is_not_resized(rgb, tmp_path, resize):
    assert (read(rgb, tmp_path, form(resize=resize)) == rgb).all()


def test_scaling_down_is_antialiased(tmp_path):
    """A fine checkerboard becomes gray, not stripes."""
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype("uint8")
    found = read(board, tmp_path, form(8, 8, 1, "stretch"))
    np.testing.assert_allclose(found, 127.5, atol=2)


# Files that are not images.


def refused(path, match):
    with pytest.raises(images.ImageError, match=match) as caught:
        images.read(path, form())
    assert str(path) in str(caught.value) and isinstance(caught.value, ZooError)


def test_text_named_png(tmp_path):
    (tmp_path / "a.png").write_text("This is not an image.\n" * 50)
    refused(tmp_path / "a.png", "not an image")


def test_empty(tmp_path):
    (tmp_path / "a.png").touch()
    refused(tmp_path / "a.png", "not an image")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.gif", "a.tif", "a.bmp", "a.webp"])
def test_truncated(tmp_path, name):
    path = tmp_path / name
    Image.fromarray(np.random.default_rng(0).integers(0, 256, size=(60, 80, 3), dtype="uint8")).save(path)
    content = path.read_bytes()
    for part in (0.1, 0.5, 0.9):
        path.write_bytes(content[: int(len(content) * part)])
        refused(path, "damaged|not an image")


def test_missing(tmp_path):
    refused(tmp_path / "a.png", "no file")


def test_folder(tmp_path):
    refused(tmp_path, "cannot be read.*directory")


READ = """
import os, resource, sys
from PIL import Image
from zoo import images
Image.init()
if sys.argv[2] == "unprivileged" and os.geteuid() == 0:
    os.setgroups([]); os.setegid(65534); os.seteuid(65534)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    images.read(sys.argv[1], {"height": 28, "width": 28, "channels": 1, "resize": "pad"})
except images.ImageError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def read_elsewhere(path, how=""):
    """Read a file in a process; return its output, and by how many KiB its memory grew."""
    command = [sys.executable, "-c", READ, path, how]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()


def test_no_permission(open_folder):
    """The message does not say that the file is damaged."""
    path = open_folder / "a.png"
    Image.new("L", (8, 6)).save(path)
    path.chmod(0)
    problem, _ = read_elsewhere(path, "unprivileged")
    assert problem.startswith(f"{path} cannot be read (permission denied)")


def huge(path):
    """Write a PNG of a few bytes that claims 30,000x30,000 pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))


def test_huge(tmp_path):
    """It is refused by its header, before 900 MB are allocated."""
    path = tmp_path / "a.png"
    huge(path)
    problem, grown = read_elsewhere(path)
    assert problem.startswith(f"{path} has more than")
    assert int(grown) < 50 * 1024


# Many images.


@pytest.fixture
def mixed(tmp_path, rgb):
    """Five files, the second and fourth of them not images."""
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for path in paths[::2]:
        Image.fromarray(rgb + np.uint8(path.stem)).save(path)
    paths[1].write_text("no")
    huge(paths[3])
    return paths


def test_read_all(mixed, rgb):
    """Unreadable files are skipped and listed; the others keep their order."""
    ticks = []
    found, kept, problems = images.read_all(mixed, form(), advance=lambda: ticks.append(1))
    assert kept == [0, 2, 4] and len(ticks) == 5
    assert (found == [rgb, rgb + np.uint8(2), rgb + np.uint8(4)]).all()
    assert [str(mixed[index]) in problem for index, problem in zip((1, 3), problems, strict=True)] == [True, True]


def test_read_all_strict(mixed):
    with pytest.raises(images.ImageError) as caught:
        images.read_all(mixed, form(), strict=True)
    assert [str(mixed[index]) in line for index, line in zip((1, 3), str(caught.value).split("\n"), strict=True)] == [
        True
    ] * 2
    found, kept, problems = images.read_all(mixed[::2], form(), strict=True)
    assert (len(found), kept, problems) == (3, [0, 1, 2], [])


def test_read_all_of_nothing(mixed):
    for paths in ([], [mixed[1]]):
        found, kept, problems = images.read_all(paths, form(channels=1))
        assert found.shape == (0, 6, 8, 1) and found.dtype == "uint8"
        assert kept == [] and len(problems) == len(paths)


def test_find(tmp_path):
    """Images below a folder are found by their suffixes, sorted; folders with such suffixes are not."""
    for name in ("b/2.png", "b/1.JPG", "a/deep/3.jpeg", "0.tiff", "b/notes.txt", "a/c.keras", "d.png/x.gif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [os.fspath(path.relative_to(tmp_path)) for path in images.find(tmp_path)]
    assert found == ["0.tiff", "a/deep/3.jpeg", "b/1.JPG", "b/2.png", "d.png/x.gif"]


def test_find_nothing(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(images.ImageError, match="has no images"):
        images.find(tmp_path)
    for path in (tmp_path / "none", tmp_path / "notes.txt", Path("no-such-folder")):
        with pytest.raises(images.ImageError, match="no folder"):
            images.find(path)


# Center crops.


@pytest.mark.parametrize("size", [(300, 400), (400, 300), (50, 40), (256, 256)], ids=str)
def test_crop_from_256(size, tmp_path):
    """As AlexNet is tested: resize the shorter side to 256, then crop the center of 224x224."""
    coarse = np.random.default_rng(1).integers(0, 256, (5, 6, 3), dtype="uint8")
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    found = read(image, tmp_path, {**form(224, 224, resize="crop"), "crop_from": 256})
    scale = 256 / min(size)
    whole = image.resize([round(side * scale) for side in size], Image.Resampling.BILINEAR)
    left, top = ((side - 224) / 2 for side in whole.size)
    expected = np.asarray(whole.crop((int(left), int(top), int(left) + 224, int(top) + 224)))
    assert found.shape == (224, 224, 3)
    # Pillow rounds the long side of 341.33 pixels, this computation does not.
    assert np.abs(found.astype(int) - expected).mean() < 0.7
    assert np.abs(found.astype(int) - np.asarray(whole.resize((224, 224)))).mean() > 5


def test_stretched_and_then_cropped(tmp_path):
    """As nets of Caffe are tested: stretch the image to a square, then crop the center."""
    ramp = np.tile(np.linspace(0, 255, 512).astype("uint8"), (100, 1))
    found = read(ramp, tmp_path, {**form(227, 227, resize="stretch"), "crop_from": 256})
    np.testing.assert_allclose(found[100, [0, 113, 226], 0], np.array([14.5, 127.5, 240.5]) * 255 / 256, atol=1.5)


def test_center_crop():
    """If the border is odd, the smaller half is at the top and left."""
    x = np.arange(2 * 5 * 6 * 1).reshape(2, 5, 6, 1)
    np.testing.assert_array_equal(images.center_crop(x, 2, 3), x[:, 1:3, 1:4])
    np.testing.assert_array_equal(images.center_crop(x[0], 5, 6), x[0])


def test_without_crop():
    cropped = {**form(24, 24), "crop_from": 32}
    assert images.without_crop(cropped) == {**form(32, 32), "crop_from": None}
    assert images.without_crop(form()) == form()
