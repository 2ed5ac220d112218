"""Maxout is the largest of linear functions."""

import keras
import numpy as np
import pytest

from numeric import run
from zoo.layers import Maxout


def maxout(x, kernel, bias, units, pieces):
    y = np.zeros((len(x), units))
    for row, unit in np.ndindex(y.shape):
        columns = range(unit * pieces, (unit + 1) * pieces)
        y[row, unit] = max(sum(x[row] * kernel[:, column]) + bias[column] for column in columns)
    return y


@pytest.mark.parametrize("features, units, pieces", [(5, 3, 2), (1, 1, 4), (4, 6, 3)])
def test_maxout(rng, features, units, pieces):
    x = rng.normal(size=(3, features)).astype("float32")
    layer = Maxout(units, pieces)
    layer.build(x.shape)
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])
    np.testing.assert_allclose(run(layer, x), maxout(x, *layer.get_weights(), units, pieces), rtol=1e-4, atol=1e-5)


def test_relu_and_absolute_value_are_special_cases():
    layer = Maxout(2, 2)
    layer.build((None, 1))
    layer.set_weights([np.float32([[0, 1, 1, -1]]), np.zeros(4, "float32")])
    np.testing.assert_array_equal(run(layer, np.float32([[-3], [2]])), [[0, 3], [2, 2]])


def test_one_piece_is_a_dense_layer(rng):
    x = rng.normal(size=(2, 3, 4, 5)).astype("float32")
    dense, one = keras.layers.Dense(3), Maxout(3, 1)
    for layer in (dense, one):
        layer.build(x.shape)
    one.set_weights(dense.get_weights())
    np.testing.assert_allclose(run(one, x), run(dense, x), rtol=1e-5, atol=1e-6)
