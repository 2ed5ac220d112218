"""TrainableSubsampling agrees with loops over the windows, as LeCun et al. (1998) describe them."""

import keras
import numpy as np
import pytest

from numeric import assert_uniform, check_gradients, randomize, run
from zoo.layers import TrainableSubsampling


def subsample(x, coefficient, bias, size):
    batch, height, width, maps = x.shape
    y = np.zeros((batch, height // size, width // size, maps))
    for b, i, j, m in np.ndindex(y.shape):
        for u, v in np.ndindex(size, size):
            y[b, i, j, m] += x[b, i * size + u, j * size + v, m]
        y[b, i, j, m] = y[b, i, j, m] * coefficient[m] + bias[m]
    return y


@pytest.mark.parametrize("size", [2, 3])
def test_subsampling(rng, size):
    x = rng.normal(size=(2, 6, 12, 3)).astype("float32")
    layer = TrainableSubsampling(size)
    layer.build(x.shape)
    randomize(layer, rng)
    coefficient, bias = layer.get_weights()
    np.testing.assert_allclose(run(layer, x), subsample(x, coefficient, bias, size), rtol=1e-4, atol=1e-5)


def test_gradients(rng):
    check_gradients(rng, TrainableSubsampling(2), (2, 4, 3), lambda x, a, b: subsample(x, a, b, 2))


def test_default_initialization_depends_on_the_window(rng):
    layer = TrainableSubsampling(2)
    layer.build((None, 2, 2, 2000))
    for weight in layer.get_weights():
        assert_uniform(weight, 2.4 / 4)


def test_config_keeps_initializers():
    layer = TrainableSubsampling(2, coefficient_initializer="ones", bias_initializer=keras.initializers.Constant(2.0))
    for each in (layer, TrainableSubsampling.from_config(layer.get_config())):
        assert run(each, np.full((1, 2, 2, 1), 3, "float32")).item() == 4 * 3 + 2


@pytest.mark.parametrize("shape", [(None, 5, 6, 1), (None, 6, 5, 1)])
def test_windows_must_tile_the_input(shape):
    with pytest.raises(ValueError, match=r"2x2 do not tile.*5"):
        TrainableSubsampling(2).build(shape)
