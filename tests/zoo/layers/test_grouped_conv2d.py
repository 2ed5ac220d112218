"""GroupedConv2D agrees with a loop over the groups, and with Keras' grouped Conv2D."""

import keras
import numpy as np
import pytest

from numeric import run
from zoo.layers import GroupedConv2D


def test_grouped_convolution(rng):
    """Each group of output maps sees only its own group of input maps."""
    layer = GroupedConv2D(6, 3, groups=2, padding="same", activation="relu")
    x = rng.normal(size=(2, 4, 5, 8))
    layer.build(x.shape)
    kernel, bias = rng.normal(size=(3, 3, 4, 6)), rng.normal(size=6)
    layer.set_weights([kernel, bias])
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = np.zeros((2, 4, 5, 6))
    for b, i, j, o in np.ndindex(expected.shape):
        seen = slice(4 * (o // 3), 4 * (o // 3) + 4)
        expected[b, i, j, o] = max(0, np.sum(padded[b, i : i + 3, j : j + 3, seen] * kernel[..., o]) + bias[o])
    np.testing.assert_allclose(run(layer, x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"strides": 2}, {"padding": "same"}, {"dilation_rate": 2}], ids=str)
def test_same_result_as_keras(options, rng):
    x = rng.normal(size=(2, 9, 9, 4)).astype("float32")
    ours, theirs = GroupedConv2D(8, 3, groups=4, **options), keras.layers.Conv2D(8, 3, groups=4, **options)
    ours.build(x.shape), theirs.build(x.shape)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(run(ours, x), run(theirs, x), rtol=1e-4, atol=1e-5)
    again = GroupedConv2D.from_config(ours.get_config())
    assert (again.groups, again.filters) == (4, 8)
