"""Parity: whether the number of set bits among four is even or odd."""

from training.data.samples import Source
from training.data.synthetic import _truth_table


def make(image_spec: dict) -> Source:
    """Return the 16 patterns; every split contains all of them."""
    patterns = _truth_table.all_patterns(4)
    return _truth_table.source(patterns, patterns.sum(axis=1) % 2, ("even", "odd"), image_spec)
