"""The letters of the Adaline demonstration of 1960: T, G and F on a field of 4x4 switches, each also shifted by a column.

All parts are the six pictures: the demonstration asked for no more than to learn them.
"""

import json
from importlib import resources

import numpy as np

from training.data import Samples, Source
from zoo.errors import ZooError


def make(picture):
    """Return the six pictures, (4, 4, 1), 255 where a switch is on.

    Args:
        picture: dict of height, width and channels, which must be 4, 4 and 1.

    Returns:
        `training.data.Source` with the classes T, G and F.

    Raises:
        ZooError: if another size is asked for.
    """
    size = picture["height"], picture["width"], picture["channels"]
    if size != (4, 4, 1):
        raise ZooError(f"the letters T, G and F are of 4x4 switches, 1 channel; asked for was {size}: set picture.*")
    letters = json.loads(resources.files("training.data.synthetic").joinpath("tgf.json").read_text("utf-8"))
    drawn = [(letter, variant) for letter, variants in letters.items() for variant in variants]
    pictures = np.array([[[255 * (cell == "#") for cell in row] for row in rows] for _, rows in drawn], "uint8")
    names = tuple(letters)
    samples = Samples(pictures[..., None], np.array([names.index(letter) for letter, _ in drawn], "int32"))
    return Source(names, {part: samples for part in ("train", "validation", "test")})
