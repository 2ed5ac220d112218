"""Patterns of bits as pictures a pixel high: what the nets of 1986 learned is a table, shown whole."""

import itertools

import numpy as np

from training.data import Samples, Source
from zoo.errors import ZooError


def all_patterns(bits):
    """Return every pattern of a number of bits as 0 and 1, (2**bits, bits) uint8."""
    return np.array(list(itertools.product([0, 1], repeat=bits)), "uint8")


def source(patterns, labels, class_names, picture):
    """Return patterns of 0 and 1 as pictures of raw 0 and 255, all of them in each part.

    Args:
        patterns: (n, bits) uint8.
        labels: (n,) int.
        class_names: one str a class.
        picture: dict of height, width and channels that is asked for.

    Raises:
        ZooError: if pictures of another size are asked for.
    """
    asked = picture["height"], picture["width"], picture["channels"]
    drawn = 1, patterns.shape[1], 1
    if asked != drawn:
        raise ZooError(
            f"these patterns are pictures of {'x'.join(map(str, drawn))}; asked for was {'x'.join(map(str, asked))}"
        )
    samples = Samples((255 * patterns).reshape(-1, *drawn), np.asarray(labels, "int32"))
    return Source(tuple(class_names), {"train": samples, "validation": samples, "test": samples})
