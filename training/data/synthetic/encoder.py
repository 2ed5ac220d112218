"""The encoder problem: eight patterns with one bit set, each of them a class."""

import numpy as np

from training.data.samples import Source
from training.data.synthetic import _truth_table


def make(image_spec: dict) -> Source:
    """Return the eight patterns, one class each; every split contains all of them."""
    return _truth_table.source(np.eye(8, dtype="uint8"), range(8), "01234567", image_spec)
