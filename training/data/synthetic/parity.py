"""Parity: four bits, of which an even or an odd number is set."""

from training.data.synthetic import _truth_table


def make(picture):
    """Return the 16 patterns as a `training.data.Source`."""
    patterns = _truth_table.all_patterns(4)
    return _truth_table.source(patterns, patterns.sum(axis=1) % 2, ("even", "odd"), picture)
