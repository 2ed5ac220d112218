"""The letters E and F in one font, at every position of a 20x20 retina where they fit."""

import numpy as np

from training.data.samples import Samples, Source
from training.data.synthetic import _retina

SIDE = _retina.SIDE
TRAINING_IMAGES = 60  # as many as the Mark I was trained on
E = ("11111", "10000", "10000", "11110", "10000", "10000", "11111")
F = ("11111", "10000", "10000", "11110", "10000", "10000", "10000")


def make(image_spec: dict) -> Source:
    """Return E and F, white on black: 30 training and 47 test images of each.

    A letter has 10 by 14 pixels and 77 positions. Both are trained at the same 30 positions and tested at the others.

    Args:
        image_spec: height, width and channels, which must be 20, 20 and 1.

    Raises:
        ZooError: if images of another size are requested.
    """
    _retina.check(image_spec)
    letters = [
        255 * np.kron(np.array([list(row) for row in letter], "uint8"), np.ones((2, 2), "uint8")) for letter in (E, F)
    ]
    height, width = letters[0].shape
    positions = [(down, right) for down in range(SIDE - height + 1) for right in range(SIDE - width + 1)]
    positions = np.random.default_rng(1960).permutation(positions)
    images = np.zeros((len(positions), 2, SIDE, SIDE, 1), "uint8")
    for number, (down, right) in enumerate(positions):
        images[number, :, down : down + height, right : right + width, 0] = letters
    samples = Samples(images.reshape(-1, SIDE, SIDE, 1), np.tile(np.int32([0, 1]), len(positions)))
    return Source(("E", "F"), {"train": samples[:TRAINING_IMAGES], "test": samples[TRAINING_IMAGES:]})
