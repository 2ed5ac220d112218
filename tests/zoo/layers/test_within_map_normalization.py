"""WithinMapNormalization agrees with loops over the windows."""

import numpy as np
import pytest

from numeric import run
from zoo.layers import WithinMapNormalization


@pytest.mark.parametrize("options", [{}, {"size": 3, "alpha": 0.2, "k": 2.0}, {"beta": 0.5, "alpha": 0.1}], ids=str)
def test_normalization_within_maps(options, rng):
    x = rng.normal(size=(2, 6, 7, 3)) * 30
    settings = {"size": 5, "alpha": 0.001 / 25, "beta": 0.75, "k": 1.0, **options}
    reach = settings["size"] // 2
    expected = np.zeros(x.shape)
    for b, i, j, m in np.ndindex(x.shape):
        rows, columns = range(max(0, i - reach), min(6, i + reach + 1)), range(max(0, j - reach), min(7, j + reach + 1))
        activity = sum(x[b, u, v, m] ** 2 for u in rows for v in columns)
        expected[b, i, j, m] = x[b, i, j, m] / (settings["k"] + settings["alpha"] * activity) ** settings["beta"]
    np.testing.assert_allclose(run(WithinMapNormalization(**options), x), expected, rtol=2e-5)


def test_half_precision_does_not_overflow():
    """300² exceeds float16."""
    x = np.full((1, 1, 1, 8), 300.0, "float16")
    within = run(WithinMapNormalization(dtype="float16"), x)
    np.testing.assert_allclose(within, 300 / (1 + 0.001 / 25 * 300**2) ** 0.75, rtol=2e-3)


def test_size_must_be_odd():
    with pytest.raises(ValueError, match="middle"):
        WithinMapNormalization(4)
