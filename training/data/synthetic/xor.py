"""Exclusive or: two bits, which differ or not."""

from training.data.synthetic import _truth_table


def make(picture):
    """Return the four patterns as a `training.data.Source`."""
    patterns = _truth_table.all_patterns(2)
    return _truth_table.source(patterns, patterns[:, 0] != patterns[:, 1], ("0", "1"), picture)
