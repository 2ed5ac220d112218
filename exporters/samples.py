"""Images to compare an exported file with its model: real ones, the user's or scikit-learn's, and synthetic ones."""

import gzip
import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

from zoo import images

MOST, FEWEST = 256, 32  # images of a comparison: it takes seconds for small ones, and should not take minutes for large ones
PIXELS = 2**22  # raw values of all images, within these limits
WINDOW = 96  # side of a crop of a photograph, in pixels
EXTREME_SIZES = (1, 1), (1, 2000), (3000, 2)  # width and height
NORMAL, LARGE = 32, 16  # inputs from the standard normal distribution, and inputs a hundred times as large


def count(spec: dict) -> int:
    """Return the number of images of a comparison: 256 small ones, 32 of AlexNet's size."""
    return max(FEWEST, min(MOST, PIXELS // (spec["height"] * spec["width"] * spec["channels"])))


def read(folder: str | Path, spec: dict) -> np.ndarray:
    """Return up to `count` images of a folder, evenly spread over its sorted files. Unreadable images are skipped.

    Args:
        folder: any folder of images.
        spec: dict of height, width, channels and resize.

    Returns:
        (n, height, width, channels) uint8.

    Raises:
        ImageError: if no image can be read.
    """
    paths = images.find(folder)
    some = [paths[index] for index in np.linspace(0, len(paths) - 1, min(count(spec), len(paths))).astype(int)]
    real, _, problems = images.read_all(some, spec)
    if not len(real):
        raise images.ImageError(f"no image in {folder} can be read; the first: {problems[0]}")
    return real


def shipped(spec: dict) -> np.ndarray:
    """Return `count` images that scikit-learn ships: scanned digits in gray, crops of two photographs in color.

    Args:
        spec: dict of height, width, channels and resize.

    Returns:
        (count, height, width, channels) uint8.
    """
    # Read the files directly: importing scikit-learn would take longer.
    datasets = Path(importlib.util.find_spec("sklearn").origin).parent / "datasets"
    if spec["channels"] == 1:
        with gzip.open(datasets / "data" / "digits.csv.gz", "rt") as file:
            rows = np.loadtxt(file, delimiter=",", max_rows=count(spec))
        scans = (rows[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype("uint8")  # the last column is the label
        return np.stack([images.conform(Image.fromarray(scan), spec) for scan in scans])
    photographs = [np.asarray(Image.open(datasets / "images" / f"{name}.jpg")) for name in ("china", "flower")]
    generator = np.random.default_rng(0)
    crops = []
    for number in range(count(spec)):
        photograph = photographs[number % len(photographs)]
        top, left = (int(generator.integers(side - WINDOW)) for side in photograph.shape[:2])
        crop = Image.fromarray(photograph[top : top + WINDOW, left : left + WINDOW])
        crops.append(images.conform(crop, spec))
    return np.stack(crops)


def adversarial(spec: dict) -> np.ndarray:
    """Return images that models are not trained on, but clients send: empty, noisy, periodic, of extreme sizes.

    Args:
        spec: dict of height, width, channels and resize.

    Returns:
        (9, height, width, channels) uint8: black, white, uniform noise, salt and pepper, a checkerboard, a single bright
        pixel, and noise resized from one pixel, from a long column and from two long rows.
    """
    shape = spec["height"], spec["width"], spec["channels"]
    generator = np.random.default_rng(0)
    rows, columns = np.indices(shape[:2])
    checkerboard = np.broadcast_to((255 * ((rows + columns) % 2))[..., None], shape)
    pixel = np.zeros(shape)
    pixel[shape[0] // 2, shape[1] // 2] = 255
    synthetic = [
        np.zeros(shape),
        np.full(shape, 255),
        generator.integers(0, 256, shape),
        255 * generator.integers(0, 2, shape),
        checkerboard,
        pixel,
    ]
    for width, height in EXTREME_SIZES:
        noise = Image.fromarray(generator.integers(0, 256, (height, width, 3), "uint8"))
        synthetic.append(images.conform(noise, spec))
    return np.stack(synthetic).astype("uint8")


def inputs(shape: tuple[int, ...], dtype: str, bound: int = 2) -> np.ndarray:
    """Return inputs for a model without image metadata.

    Args:
        shape: of one input, channels last.
        dtype: of the input, such as "float32".
        bound: upper limit of integers, which may be indices of an embedding; uint8 inputs use the whole range.

    Returns:
        (n, *shape) array: zeros, ones, values of the standard normal distribution, larger ones, and for the shape of an
        image real images between 0 and 1. For integers: zeros, ones, and random ones below the bound.
    """
    generator = np.random.default_rng(0)
    if np.issubdtype(dtype, np.integer):
        end = 256 if dtype == "uint8" else bound
        made = [generator.integers(0, end, (NORMAL, *shape))]
    else:
        made = [generator.normal(size=(NORMAL, *shape)), 100 * generator.normal(size=(LARGE, *shape))]
        if len(shape) == 3 and shape[2] in (1, 3):
            height, width, channels = shape
            made.append(shipped({"height": height, "width": width, "channels": channels, "resize": "stretch"})[:LARGE] / 255)
    return np.concatenate([np.zeros((1, *shape)), np.ones((1, *shape)), *made]).astype(dtype)
