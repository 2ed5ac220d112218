"""The letters E and F in one font, at every place of a 20x20 retina where they fit."""

import numpy as np

from training.data import Samples, Source
from training.data.synthetic import _retina

SIDE = _retina.SIDE
SHOWN = 60  # pictures to learn from, as many as the Mark I was shown
E = ("11111", "10000", "10000", "11110", "10000", "10000", "11111")
F = ("11111", "10000", "10000", "11110", "10000", "10000", "10000")


def make(picture):
    """Return E and F, white on black, as a `training.data.Source`: 30 of each to train, 47 of each to test.

    A letter is 10 by 14 pixels and has 77 places. The two are shown at the same 30; what is tested is the others.

    Args:
        picture: dict of height, width and channels, which must be 20, 20 and 1.

    Raises:
        ZooError: if pictures of another size are asked for.
    """
    _retina.check(picture)
    letters = [
        255 * np.kron(np.array([list(row) for row in letter], "uint8"), np.ones((2, 2), "uint8")) for letter in (E, F)
    ]
    height, width = letters[0].shape
    places = [(down, right) for down in range(SIDE - height + 1) for right in range(SIDE - width + 1)]
    places = np.random.default_rng(1960).permutation(places)
    pictures = np.zeros((len(places), 2, SIDE, SIDE, 1), "uint8")
    for number, (down, right) in enumerate(places):
        pictures[number, :, down : down + height, right : right + width, 0] = letters
    samples = Samples(pictures.reshape(-1, SIDE, SIDE, 1), np.tile(np.int32([0, 1]), len(places)))
    return Source(("E", "F"), {"train": samples[:SHOWN], "test": samples[SHOWN:]})
