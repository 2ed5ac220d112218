"""StochasticDepth skips its branch at random in training and scales it in inference."""

import numpy as np
import pytest

from numeric import run
from zoo.layers import StochasticDepth, linear_decay


def test_inference():
    """x + p f(x), the expected value in training."""
    x, branch = np.float32([[1, 2], [3, 4]]), np.float32([[10, 20], [30, 40]])
    np.testing.assert_allclose(run(StochasticDepth(0.25), [x, branch]), [[3.5, 7], [10.5, 14]])
    np.testing.assert_allclose(run(StochasticDepth(0.25), [x, branch], training=False), [[3.5, 7], [10.5, 14]])


@pytest.mark.parametrize("survival", [0.2, 0.8])
def test_training(survival):
    """Each row has the whole branch or none of it; the average is that of inference."""
    x, branch = np.ones((4000, 2, 3), "float32"), np.full((4000, 2, 3), 5, "float32")
    layer = StochasticDepth(survival, seed=1)
    first, second = (run(layer, [x, branch], training=True) for _ in range(2))
    assert set(np.unique(first)) == {1, 6}
    assert (first == first[:, :1, :1]).all()
    assert (first != second).any()
    deviation = 5 * np.sqrt(survival * (1 - survival) / 4000)
    np.testing.assert_allclose(first[:, 0, 0].mean(), run(layer, [x, branch])[0, 0, 0], atol=4 * deviation)


def test_survival_of_one(rng):
    """Training is then the same as inference, to the bit."""
    x, branch = rng.normal(size=(2, 50, 3)).astype("float32")
    layer = StochasticDepth(1.0)
    np.testing.assert_array_equal(run(layer, [x, branch], training=True), run(layer, [x, branch]))
    np.testing.assert_array_equal(run(layer, [x, branch]), x + branch)


def test_an_infinite_branch_can_be_skipped():
    layer = StochasticDepth(0.5, seed=2)
    found = run(layer, [np.zeros((50, 1), "float32"), np.full((50, 1), np.inf, "float32")], training=True)
    assert set(found.ravel()) == {0, np.inf}


def test_linear_decay():
    """From 1 at the input to p_L at the last block; on average (3 * 54 - 1)/4 of the paper's 54 blocks are kept."""
    survivals = [linear_decay(block, 54) for block in range(55)]
    assert (survivals[0], survivals[54]) == (1, 0.5)
    np.testing.assert_allclose(np.diff(survivals), -0.5 / 54)
    assert sum(survivals[1:]) == pytest.approx((3 * 54 - 1) / 4)
    assert linear_decay(2, 4, last=0.2) == pytest.approx(0.6)


@pytest.mark.parametrize("survival", [0, 1.5, -0.1])
def test_survival_must_be_a_positive_probability(survival):
    with pytest.raises(ValueError, match=r"in \(0, 1\]"):
        StochasticDepth(survival)
