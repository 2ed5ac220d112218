"""Bit patterns as images of one row of pixels. The networks of 1986 were trained on whole truth tables."""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from training.data.samples import Samples, Source
from training.data.synthetic import _image_size


def all_patterns(bits: int) -> np.ndarray:
    """Return all patterns of a number of bits as 0 and 1, (2**bits, bits) uint8."""
    return np.array(list(itertools.product([0, 1], repeat=bits)), "uint8")


def source(patterns: np.ndarray, labels: Iterable[int], class_names: Sequence[str], image_spec: dict) -> Source:
    """Return bit patterns as images of 0 and 255. Every split contains all of them.

    Args:
        patterns: (n, bits) uint8 of 0 and 1.
        labels: (n,) int.
        class_names: one str per class.
        image_spec: requested height, width and channels.

    Raises:
        ZooError: if images of another size are requested.
    """
    shape = 1, patterns.shape[1], 1
    _image_size.check(image_spec, shape, "these bit patterns")
    samples = Samples((255 * patterns).reshape(-1, *shape), np.asarray(labels, "int32"))
    return Source(tuple(class_names), {"train": samples, "validation": samples, "test": samples})
