"""LocallyConnected2D agrees with a loop over the positions."""

import keras
import numpy as np
import pytest

from numeric import run
from zoo.layers import LocallyConnected2D


def test_locally_connected(rng):
    layer = LocallyConnected2D(3, 3, "relu")
    x = rng.normal(size=(2, 4, 5, 2))
    layer.build(x.shape)
    kernel, bias = rng.normal(size=(4, 5, 18, 3)), rng.normal(size=(4, 5, 3))
    layer.set_weights([kernel, bias])
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = np.zeros((2, 4, 5, 3))
    for b, i, j, o in np.ndindex(expected.shape):
        window = padded[b, i : i + 3, j : j + 3].ravel()  # row, column, map
        expected[b, i, j, o] = max(0, window @ kernel[i, j, :, o] + bias[i, j, o])
    np.testing.assert_allclose(run(layer, x), expected, rtol=1e-4, atol=1e-5)
    net = keras.Sequential([keras.Input(x.shape[1:]), layer])
    assert net.layers[0].connections() == (4 * 5 * 3 * 19, 4 * 5 * 3 * 18)


def test_kernel_size_must_be_odd():
    with pytest.raises(ValueError, match="middle"):
        LocallyConnected2D(3, 4)
