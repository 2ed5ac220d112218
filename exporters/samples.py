"""Pictures for the proof of an exported file: real ones, the user's or scikit-learn's, and some that no camera takes."""

import gzip
import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

from zoo import images

MOST, FEWEST = 256, 32  # pictures of a proof: it takes seconds for small ones, and shall not take minutes for large ones
PIXELS = 2**22  # raw values of all of them, between these two
WINDOW = 96  # pixels of the photographs that one sample shows
EXTREME_SIZES = (1, 1), (1, 2000), (3000, 2)  # width and height of pictures that are hardly any
PLAIN, LARGE = 32, 16  # inputs of an unknown model from the standard normal distribution, and those a hundred times as large


def count(picture):
    """Return how many pictures a proof takes: 256 small ones, 32 of AlexNet's size."""
    return max(FEWEST, min(MOST, PIXELS // (picture["height"] * picture["width"] * picture["channels"])))


def read(folder, picture):
    """Return up to `count` pictures of a folder, evenly spread over its sorted files; what cannot be read is left out.

    Args:
        folder: any folder of pictures.
        picture: dict of height, width, channels and resize.

    Raises:
        ImageError: if there is none that can be read.
    """
    paths = images.find(folder)
    some = [paths[index] for index in np.linspace(0, len(paths) - 1, min(count(picture), len(paths))).astype(int)]
    found, _, problems = images.read_all(some, picture)
    if not len(found):
        raise images.ImageError(f"no picture of {folder} can be read; the first: {problems[0]}")
    return found


def shipped(picture):
    """Return `count` pictures that scikit-learn ships: scanned digits for grey, cuts of two photographs for colour.

    Args:
        picture: dict of height, width, channels and resize.

    Returns:
        (count, height, width, channels) uint8.
    """
    # The files themselves: to import scikit-learn would take longer than to read them.
    datasets = Path(importlib.util.find_spec("sklearn").origin).parent / "datasets"
    if picture["channels"] == 1:
        with gzip.open(datasets / "data" / "digits.csv.gz", "rt") as file:
            rows = np.loadtxt(file, delimiter=",", max_rows=count(picture))
        scans = (rows[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype("uint8")  # the last column is the label
        return np.stack([images.conform(Image.fromarray(scan), picture) for scan in scans])
    photographs = [np.asarray(Image.open(datasets / "images" / f"{name}.jpg")) for name in ("china", "flower")]
    generator = np.random.default_rng(0)
    cuts = []
    for number in range(count(picture)):
        photograph = photographs[number % len(photographs)]
        top, left = (int(generator.integers(side - WINDOW)) for side in photograph.shape[:2])
        cut = Image.fromarray(photograph[top : top + WINDOW, left : left + WINDOW])
        cuts.append(images.conform(cut, picture))
    return np.stack(cuts)


def adversarial(picture):
    """Return pictures that nets are not trained on, and clients send: empty, noisy, periodic, of extreme sizes.

    Args:
        picture: dict of height, width, channels and resize.

    Returns:
        (9, height, width, channels) uint8: black, white, uniform noise, salt and pepper, a checkerboard, a single bright
        pixel, and noise that was scaled from one pixel, from a long column and from two long rows.
    """
    shape = picture["height"], picture["width"], picture["channels"]
    generator = np.random.default_rng(0)
    rows, columns = np.indices(shape[:2])
    checkerboard = np.broadcast_to((255 * ((rows + columns) % 2))[..., None], shape)
    pixel = np.zeros(shape)
    pixel[shape[0] // 2, shape[1] // 2] = 255
    made = [
        np.zeros(shape),
        np.full(shape, 255),
        generator.integers(0, 256, shape),
        255 * generator.integers(0, 2, shape),
        checkerboard,
        pixel,
    ]
    for width, height in EXTREME_SIZES:
        noise = Image.fromarray(generator.integers(0, 256, (height, width, 3), "uint8"))
        made.append(images.conform(noise, picture))
    return np.stack(made).astype("uint8")


def inputs(shape, dtype, bound=2):
    """Return inputs for a model of which nothing is known but what it takes.

    Args:
        shape: of one input, channels last.
        dtype: of the input, such as "float32".
        bound: whole numbers are below it, as they may be places in a table of any size; of bytes all are given.

    Returns:
        (n, *shape) array: zeros, ones, values of the standard normal distribution, larger ones, and for the shape of a
        picture real ones between 0 and 1. Of whole numbers zeros, ones, and others below the bound.
    """
    generator = np.random.default_rng(0)
    if np.issubdtype(dtype, np.integer):
        end = 256 if dtype == "uint8" else bound
        made = [generator.integers(0, end, (PLAIN, *shape))]
    else:
        made = [generator.normal(size=(PLAIN, *shape)), 100 * generator.normal(size=(LARGE, *shape))]
        if len(shape) == 3 and shape[2] in (1, 3):
            height, width, channels = shape
            made.append(shipped({"height": height, "width": width, "channels": channels, "resize": "stretch"})[:LARGE] / 255)
    return np.concatenate([np.zeros((1, *shape)), np.ones((1, *shape)), *made]).astype(dtype)
