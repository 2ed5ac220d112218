"""RBFOutput computes minus the distances of LeCun et al. (1998), eq. 7."""

import numpy as np
import pytest

from numeric import check_gradients, run
from zoo.layers import RBFOutput

PROTOTYPES = np.random.default_rng(5).choice([-1.0, 1.0], size=(3, 7))


def distances(x, prototypes):
    y = np.zeros((len(x), len(prototypes)))
    for b, i in np.ndindex(y.shape):
        for j in range(x.shape[1]):
            y[b, i] += (x[b, j] - prototypes[i, j]) ** 2
    return y


def test_rbf(rng):
    """Eq. 7, negated, so that the largest score wins."""
    x = rng.normal(size=(4, 7)).astype("float32")
    np.testing.assert_allclose(run(RBFOutput(PROTOTYPES), x), -distances(x, PROTOTYPES), rtol=1e-5)


def test_gradients(rng):
    check_gradients(rng, RBFOutput(PROTOTYPES), (7,), lambda x: -distances(x, PROTOTYPES))


def test_score_is_zero_at_the_prototype_and_precise_near_it():
    near = PROTOTYPES[0] * (1 + 2.0**-12)
    score = run(RBFOutput(PROTOTYPES), np.float32([PROTOTYPES[0], near]))[:, 0]
    assert score[0] == 0
    np.testing.assert_allclose(score[1], -7 * 2.0**-24, rtol=1e-5)


def test_number_of_features_must_be_that_of_the_prototypes():
    with pytest.raises(ValueError, match="7 features"):
        RBFOutput(PROTOTYPES).build((None, 8))
