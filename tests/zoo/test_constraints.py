"""MaxNorm scales weights to the limit, and does not change weights within it."""

import json

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zoo.constraints import MaxNorm

SHAPES = st.sampled_from([(4, 3), (1, 2), (2, 2, 3), (3, 2, 1, 4)])
WEIGHTS = arrays("float32", SHAPES, elements=st.floats(-8, 8, width=32))


def projected(w, *args):
    return keras.ops.convert_to_numpy(MaxNorm(*args)(w))


def projected_by_loop(w, c):
    """w * min(1, c/|w|) for the weights into each unit, the last axis."""
    result = np.zeros_like(w, "float64")
    for unit in range(w.shape[-1]):
        norm = np.sqrt(sum(float(each) ** 2 for each in w[..., unit].ravel()))
        result[..., unit] = w[..., unit].astype("float64") * (min(1, c / norm) if norm else 1)
    return result


def once_in_double(w, c, axis):
    w = w.astype("float64")
    norm = np.linalg.norm(w.reshape(-1, w.shape[-1]), axis=0) if axis is None else np.sqrt((w**2).sum(axis, keepdims=True))
    return w * np.minimum(1, c / norm)


@settings(max_examples=50)
@given(WEIGHTS, st.floats(0.1, 20))
def test_projection(w, c):
    np.testing.assert_allclose(projected(w, c), projected_by_loop(w, c), rtol=1e-5, atol=1e-30)


@settings(max_examples=50)
@given(WEIGHTS, st.floats(0.1, 20))
def test_projection_is_within_the_limit_and_idempotent(w, c):
    once = projected(w, c)
    norms = np.sqrt(np.sum(once.astype("float64") ** 2, axis=tuple(range(w.ndim - 1))))
    assert (norms <= c * (1 + 3e-7)).all()  # a norm rounds, and so does c
    np.testing.assert_array_equal(projected(once, c), once)


@pytest.mark.parametrize(
    "shape, axis", [((784, 1500), None), ((1500, 784), 1), ((5, 5, 16, 300), None), ((5, 5, 40, 2), (0, 1))]
)
@pytest.mark.parametrize("c", [0.1, 1.0, 3.0])
def test_projection_of_many_units_is_idempotent_to_the_bit(shape, axis, c):
    """Also if all weights are equal, so that the rounding errors of the norm have one sign."""
    w = np.random.default_rng(2).normal(size=shape).astype("float32")
    for each in (w, np.full_like(w, 0.3), np.float32(1e-4) * w):
        once = projected(each, c, axis)
        np.testing.assert_array_equal(projected(once, c, axis), once)
        np.testing.assert_allclose(once, once_in_double(each, c, axis), rtol=1e-4, atol=0)


@settings(max_examples=50)
@given(WEIGHTS, st.floats(1.001, 10))
def test_weights_within_the_limit_keep_every_bit(w, slack):
    """Keras' constraint shrinks them."""
    norms = np.sqrt(np.sum(w.astype("float64") ** 2, axis=tuple(range(w.ndim - 1))))
    np.testing.assert_array_equal(projected(w, max(0.1, slack * norms.max())), w)


def test_keras_constraint_shrinks_weights_within_the_limit():
    """The reason for a constraint of our own."""
    w = np.float32([[0.6], [0.8]])
    shrunk = keras.ops.convert_to_numpy(keras.constraints.MaxNorm(2.0, axis=0)(w))
    assert (shrunk < w).all()
    np.testing.assert_array_equal(projected(w, 2.0), w)


def test_zero_weights_and_mixed_units():
    w = np.float32([[0, 3, 0.3], [0, 4, 0.4]])
    np.testing.assert_allclose(projected(w, 1.0), [[0, 0.6, 0.3], [0, 0.8, 0.4]], rtol=1e-6)


def test_other_axes():
    """The norm of the weights from each input."""
    np.testing.assert_allclose(projected(np.float32([[3, 4], [0.3, 0.4]]), 1.0, 1), [[0.6, 0.8], [0.3, 0.4]], rtol=1e-6)


@pytest.mark.parametrize("c", [0, -1.0])
def test_norm_must_be_positive(c):
    with pytest.raises(ValueError, match="must be positive"):
        MaxNorm(c)


def test_serialized():
    for constraint in (MaxNorm(2.5), MaxNorm(1.0, axis=[0, 1])):
        copy = keras.constraints.deserialize(json.loads(json.dumps(keras.constraints.serialize(constraint))))
        assert type(copy) is MaxNorm
        assert copy.get_config() == constraint.get_config()


# JAX has no float64 unless it is enabled at its start.
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", *["float64"] * (keras.backend.backend() != "jax")])
def test_projection_in_other_precisions(dtype):
    """With two thousand inputs a sum of squares in half precision would be off by 100 %."""
    weights = keras.ops.cast(np.random.default_rng(0).normal(size=(2000, 5)), dtype)
    once = MaxNorm(3.0)(weights)
    assert keras.backend.standardize_dtype(once.dtype) == dtype
    norms = np.linalg.norm(keras.ops.convert_to_numpy(keras.ops.cast(once, "float64")), axis=0)
    assert (norms <= 3).all() and (norms > 2.95).all()
    twice = MaxNorm(3.0)(once)
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(keras.ops.cast(each, "float64")) for each in (once, twice)))
