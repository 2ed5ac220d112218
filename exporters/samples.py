"""Real pictures for the proof of an exported file: the user's, or what scikit-learn ships."""

import numpy as np
from PIL import Image

from zoo import pictures

MOST, FEWEST = 256, 32  # pictures of a proof: it takes seconds for small ones, and shall not take minutes for large ones
PIXELS = 2**22  # raw values of all of them, between these two
WINDOW = 96  # pixels of the photographs that one sample shows


def count(picture):
    """Return how many pictures a proof takes: 256 small ones, 32 of AlexNet's size."""
    return max(FEWEST, min(MOST, PIXELS // (picture["height"] * picture["width"] * picture["channels"])))


def read(folder, picture):
    """Return up to `count` pictures of a folder, evenly spread over its sorted files; what cannot be read is left out.

    Args:
        folder: any folder of pictures.
        picture: dict of height, width, channels and resize.

    Raises:
        PictureError: if there is none that can be read.
    """
    paths = pictures.find(folder)
    some = [paths[index] for index in np.linspace(0, len(paths) - 1, min(count(picture), len(paths))).astype(int)]
    found, _, problems = pictures.read_all(some, picture)
    if not len(found):
        raise pictures.PictureError(f"no picture of {folder} can be read; the first: {problems[0]}")
    return found


def shipped(picture):
    """Return `count` pictures that scikit-learn ships: scanned digits for grey, cuts of two photographs for colour.

    Args:
        picture: dict of height, width, channels and resize.

    Returns:
        (count, height, width, channels) uint8.
    """
    from sklearn import datasets

    if picture["channels"] == 1:
        scans = (datasets.load_digits().images[: count(picture)] * (255 / 16)).astype("uint8")
        return np.stack([pictures.conform(Image.fromarray(scan), picture) for scan in scans])
    photographs = datasets.load_sample_images().images
    generator = np.random.default_rng(0)
    cuts = []
    for number in range(count(picture)):
        photograph = photographs[number % len(photographs)]
        top, left = (int(generator.integers(side - WINDOW)) for side in photograph.shape[:2])
        cut = Image.fromarray(photograph[top : top + WINDOW, left : left + WINDOW])
        cuts.append(pictures.conform(cut, picture))
    return np.stack(cuts)
