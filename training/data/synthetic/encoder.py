"""The encoding problem: eight patterns with one bit set, each to be told from the others."""

import numpy as np

from training.data.synthetic import _truth_table


def make(picture):
    """Return the eight patterns, each a class, as a `training.data.Source`."""
    return _truth_table.source(np.eye(8, dtype="uint8"), range(8), "01234567", picture)
