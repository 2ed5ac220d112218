"""ScaledTanh is the squashing function of LeCun et al. (1998)."""

import math

import numpy as np

from numeric import check_gradients, run
from zoo.layers import ScaledTanh


def squash(x, amplitude=1.7159, slope=2 / 3):
    return np.array([amplitude * math.tanh(slope * each) for each in x.ravel()]).reshape(x.shape)


def test_scaled_tanh(rng):
    x = rng.normal(size=(3, 5), scale=3).astype("float32")
    np.testing.assert_allclose(run(ScaledTanh(), x), squash(x), rtol=1e-5)
    np.testing.assert_allclose(run(ScaledTanh(2.0, 0.5), x), squash(x, 2.0, 0.5), rtol=1e-5)


def test_plus_and_minus_one_are_fixed_points():
    """Appendix A: f(1) = 1, f(-1) = -1, and the asymptotes are ±1.7159."""
    np.testing.assert_allclose(run(ScaledTanh(), np.float32([-100, -1, 1, 100])), [-1.7159, -1, 1, 1.7159], atol=1e-4)


def test_gradients(rng):
    check_gradients(rng, ScaledTanh(), (2, 2, 3), squash)
