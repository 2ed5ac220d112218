"""The letters of the Adaline demonstration of 1960: T, G and F on 4x4 switches, each also shifted by one column.

Every split contains the same six images: the demonstration only showed that they can be learned.
"""

import json
from importlib import resources

import numpy as np

from training.data.samples import Samples, Source
from training.data.synthetic import _image_size


def make(image_spec: dict) -> Source:
    """Return the six images, 255 where a switch is on, with the classes T, G and F.

    Args:
        image_spec: height, width and channels, which must be 4, 4 and 1.

    Raises:
        ZooError: if images of another size are requested.
    """
    _image_size.check(image_spec, (4, 4, 1), "the letters T, G and F")
    letters = json.loads(resources.files("training.data.synthetic").joinpath("tgf.json").read_text("utf-8"))
    drawn = [(letter, variant) for letter, variants in letters.items() for variant in variants]
    images = np.array([[[255 * (cell == "#") for cell in row] for row in rows] for _, rows in drawn], "uint8")
    names = tuple(letters)
    samples = Samples(images[..., None], np.array([names.index(letter) for letter, _ in drawn], "int32"))
    return Source(names, {split: samples for split in ("train", "validation", "test")})
