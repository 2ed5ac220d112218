"""Exclusive or: whether two bits differ."""

from training.data.samples import Source
from training.data.synthetic import _truth_table


def make(image_spec: dict) -> Source:
    """Return the four patterns; every split contains all of them."""
    patterns = _truth_table.all_patterns(2)
    return _truth_table.source(patterns, patterns[:, 0] != patterns[:, 1], ("0", "1"), image_spec)
