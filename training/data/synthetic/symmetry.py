"""Mirror symmetry: six bits that read the same from both ends, or not."""

from training.data.synthetic import _truth_table


def make(picture):
    """Return the 64 patterns, of which 8 are symmetric, as a `training.data.Source`."""
    patterns = _truth_table.all_patterns(6)
    symmetric = (patterns == patterns[:, ::-1]).all(axis=1)
    return _truth_table.source(patterns, symmetric, ("asymmetric", "symmetric"), picture)
