"""MaskedConv2D agrees with loops over the pairs of its table; layer C3 of LeNet-5 has the weights of the paper."""

import itertools

import keras
import numpy as np
import pytest

from numeric import assert_uniform, check_gradients, gradients, randomize, run
from zoo.layers import MaskedConv2D
from zoo.models.lenet import C3_TABLE

TABLE = [[0, 2], [1], [2, 0, 1], [3, 1]]  # of 4 input maps; the order within a row matters and is not sorted


def masked_convolution(x, kernel, bias, table):
    batch, height, width, _ = x.shape
    size = kernel.shape[0]
    y = np.zeros((batch, height - size + 1, width - size + 1, len(table)))
    for b, i, j, m in np.ndindex(y.shape):
        first = sum(len(seen) for seen in table[:m])
        for pair, source in enumerate(table[m], first):
            for u, v in np.ndindex(size, size):
                y[b, i, j, m] += x[b, i + u, j + v, source] * kernel[u, v, pair]
        y[b, i, j, m] += bias[m]
    return y


@pytest.mark.parametrize("size", [1, 3])
def test_masked_convolution(rng, size):
    x = rng.normal(size=(2, 5, 6, 4)).astype("float32")
    layer = MaskedConv2D(TABLE, size)
    layer.build(x.shape)
    randomize(layer, rng)
    kernel, bias = layer.get_weights()
    np.testing.assert_allclose(run(layer, x), masked_convolution(x, kernel, bias, TABLE), rtol=1e-4, atol=1e-4)


def test_gradients(rng):
    check_gradients(rng, MaskedConv2D(TABLE, 2), (3, 3, 4), lambda x, *weights: masked_convolution(x, *weights, TABLE))


def test_default_initialization_depends_on_the_connected_inputs_of_each_map(rng):
    """Not on all inputs of the layer: a map that sees one input has a larger bound than one that sees six."""
    table = [[0]] * 1000 + [[0, 1, 2, 3, 4, 5]] * 1000
    layer = MaskedConv2D(table, 1)
    layer.build((None, 4, 4, 6))
    kernel, bias = layer.get_weights()
    assert_uniform(kernel[..., :1000], 2.4 / 1)
    assert_uniform(kernel[..., 1000:], 2.4 / 6)
    assert_uniform(bias[:1000], 2.4 / 1)
    assert_uniform(bias[1000:], 2.4 / 6)


def test_config_keeps_initializers():
    layer = MaskedConv2D([[0]], 1, kernel_initializer="ones", bias_initializer=keras.initializers.Constant(2.0))
    for each in (layer, MaskedConv2D.from_config(layer.get_config())):
        assert run(each, np.full((1, 1, 1, 1), 3, "float32")).item() == 3 * 1 + 2


@pytest.mark.parametrize("table", [[[0], []], [[0, 1, 0]]])
def test_each_output_map_sees_each_of_its_maps_once(table):
    with pytest.raises(ValueError, match="must see each of its maps once"):
        MaskedConv2D(table, 3)


@pytest.mark.parametrize("table", [[[0], [0, 3]], [[-1]], [[2, -1]]])
def test_input_maps_of_the_table_must_exist(table):
    with pytest.raises(ValueError, match="an input of 3 maps"):
        MaskedConv2D(table, 3).build((None, 5, 5, 3))


def c3(shape=(14, 14, 6)):
    layer = MaskedConv2D(C3_TABLE, 5)
    layer.build((None, *shape))
    return layer


def test_c3_has_weights_for_its_pairs_only():
    layer = c3()
    assert layer.count_params() == 60 * 25 + 16 == 1516


def test_missing_pairs_of_c3_stay_zero_in_training(rng):
    layer = c3()
    model = keras.Sequential([keras.Input((14, 14, 6)), layer])
    holes = np.ones((6, 16), bool)
    for output, seen in enumerate(C3_TABLE):
        holes[list(seen), output] = False
    before = keras.ops.convert_to_numpy(layer.full_kernel())
    gradients(model, rng.normal(size=(2, 14, 14, 6)), rng.normal(size=(2, 10, 10, 16)))
    after = keras.ops.convert_to_numpy(layer.full_kernel())
    assert holes.sum() == 96 - 60
    assert not before[:, :, holes].any() and not after[:, :, holes].any()
    assert (before != after)[:, :, ~holes].all()


def test_c3_sees_only_the_maps_of_its_table(rng):
    x = rng.normal(size=(1, 14, 14, 6)).astype("float32")
    layer = c3()
    reference = run(layer, x)
    for source in range(6):
        changed = x.copy()
        changed[..., source] += 1
        differs = (run(layer, changed) != reference).any(axis=(0, 1, 2))
        assert differs.tolist() == [source in seen for seen in C3_TABLE]


def test_c3_is_initialized_as_in_the_paper(rng):
    kernel, bias = c3().get_weights()
    ends = list(itertools.accumulate(len(seen) for seen in C3_TABLE))
    for output, (seen, end) in enumerate(zip(C3_TABLE, ends, strict=True)):
        bound = 2.4 / (25 * len(seen))
        own = kernel[..., end - len(seen) : end]
        assert 0.9 * bound < np.abs(own).max() <= bound
        assert abs(bias[output]) <= bound
