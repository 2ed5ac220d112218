"""The penalties agree with the formulas of the lecture."""

import json

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zoo.regularizers import L1, L2, ElasticNet

W = np.float32([[1, -2], [0.5, 0]])


def charge(regularizer, w=W):
    return float(keras.ops.convert_to_numpy(regularizer(keras.ops.convert_to_tensor(w))))


@pytest.mark.parametrize(
    "regularizer, expected",
    [
        (L2(0.1), 0.1 * 5.25),  # without a factor 1/2
        (L1(0.1), 0.1 * 3.5),
        (ElasticNet(0.1, 3.0), 0.1 * (3 * 5.25 + 3.5)),  # beta is a factor of the square only
        (ElasticNet(0.1, 0.0), 0.1 * 3.5),
    ],
)
def test_by_hand(regularizer, expected):
    np.testing.assert_allclose(charge(regularizer), expected, rtol=1e-6)


@settings(max_examples=25)
@given(arrays("float32", (3, 4), elements=st.floats(-5, 5, width=32)), st.floats(0, 2), st.floats(0, 5))
def test_elastic_net(w, weight, beta):
    expected = weight * sum(beta * float(each) ** 2 + abs(float(each)) for each in w.ravel())
    np.testing.assert_allclose(charge(ElasticNet(weight, beta), w), expected, rtol=1e-5, atol=1e-6)
    assert charge(ElasticNet(weight, beta), w) == charge(keras.regularizers.L1L2(l1=weight, l2=weight * beta), w)


def test_serialized():
    regularizer = ElasticNet(0.3, 0.25)
    copy = keras.regularizers.deserialize(json.loads(json.dumps(keras.regularizers.serialize(regularizer))))
    assert type(copy) is ElasticNet
    assert copy.get_config() == {"weight": 0.3, "beta": 0.25}
    assert charge(copy) == charge(regularizer)


def test_bias_is_not_penalized():
    """The loss of a model is the data loss plus the penalty, the total of the lecture."""
    layer = keras.layers.Dense(2, kernel_regularizer=ElasticNet(0.1, 3.0))
    layer.build((None, 2))
    layer.set_weights([W, np.float32([100, 100])])
    (penalty,) = layer.losses
    np.testing.assert_allclose(keras.ops.convert_to_numpy(penalty), charge(ElasticNet(0.1, 3.0)), rtol=1e-6)
