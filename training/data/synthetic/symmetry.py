"""Mirror symmetry: whether six bits read the same from both ends."""

from training.data.samples import Source
from training.data.synthetic import _truth_table


def make(image_spec: dict) -> Source:
    """Return the 64 patterns, 8 of them symmetric; every split contains all of them."""
    patterns = _truth_table.all_patterns(6)
    symmetric = (patterns == patterns[:, ::-1]).all(axis=1)
    return _truth_table.source(patterns, symmetric, ("asymmetric", "symmetric"), image_spec)
