"""Random inputs of models without image metadata."""

import keras
import numpy as np
import pytest

from exporters import random_inputs, source
from zoo.errors import ZooError


def drawn(shape, dtype, tables=(), count=64, predict=lambda inputs: inputs.reshape(len(inputs), -1)):
    families = random_inputs.families(shape, dtype, tables)
    return random_inputs.choose(predict, *families, random_inputs.scaled(shape, dtype), count)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floating_inputs_have_several_scales(dtype):
    found, skipped = drawn((7, 2), dtype)
    assert found.shape == (64, 7, 2) and found.dtype == dtype and skipped == {}
    assert not found[0].any() and (found[1] == 1).all()
    normal, large = found[2:33].astype("float64"), found[33:].astype("float64")
    assert abs(normal.mean()) < 0.2 and 0.8 < normal.std() < 1.2 and 80 < large.std() < 120
    np.testing.assert_array_equal(drawn((7, 2), dtype)[0], found)


@pytest.mark.parametrize("channels", [1, 3])
def test_image_shaped_inputs_include_photographs(channels):
    found, _ = drawn((20, 30, channels), "float32")
    real = found[-15:]
    assert real.min() >= -1 and 200 < real.max() <= 255
    assert not np.array_equal(drawn((20, 30, 2), "float32")[0][-15:], real[..., :2])


@pytest.mark.parametrize("dtype", ["int16", "int32", "int64", "uint16", "uint32"])
def test_integers_cover_every_order_of_magnitude_and_both_signs(dtype):
    found = drawn((50,), dtype)[0].astype("float64").ravel()
    limits = np.iinfo(dtype)
    assert found.max() > limits.max / 100 and (limits.min == 0 or found.min() < limits.min / 100)
    assert set(range(max(limits.min, -100), 101)) <= set(found)
    magnitudes = np.abs(found[found != 0])
    counts = np.histogram(np.log10(magnitudes), bins=np.arange(0, np.log10(limits.max), 1))[0]
    assert (counts > 20).all()


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_integers_of_eight_bits_cover_all_values(dtype):
    found = drawn((500,), dtype)[0]
    limits = np.iinfo(dtype)
    assert set(found.ravel().tolist()) == set(range(limits.min, limits.max + 1))
    assert set(drawn((9,), "bool")[0].ravel().tolist()) == {False, True}


@pytest.mark.parametrize(
    ("down", "toward_zero"),
    [
        (lambda x: x // 2, lambda x: np.fix(x / 2).astype("int32")),
        (lambda x: x // 3, lambda x: np.fix(x / 3).astype("int32")),
        (lambda x: x % 3, lambda x: np.fmod(x, 3)),
    ],
)
def test_integers_tell_division_that_rounds_down_from_division_that_rounds_toward_zero(down, toward_zero):
    found, _ = drawn((6,), "int32")
    assert (down(found) != toward_zero(found)).any(axis=1).mean() > 0.5


def test_integers_are_below_the_bound_of_a_table_and_others_are_used_without_a_table():
    words = keras.Input((6,), dtype="int32")
    one, other = keras.layers.Embedding(9, 2)(words), keras.layers.Embedding(5, 2)(words)
    found = source.find(keras.Model(words, one + other)).samples()
    assert set(np.unique(found.inputs)) == set(range(5)) and found.real == 0
    assert "indices below 9" in found.skipped and "small integers" in found.skipped
    # A model that reduces its input to the rows of the table is compared on integers of any size.
    found = source.find(keras.Model(words, keras.layers.Embedding(9, 2)(words % 9))).samples()
    assert found.skipped == {} and np.abs(found.inputs.astype("float64")).max() > 1e7


@pytest.mark.parametrize(
    ("function", "left_out"),
    [
        (np.log, {"zeros", "standard normal", "100 times normal"}),
        (lambda x: np.sqrt(x + 1), {"standard normal", "100 times normal"}),
        (np.exp, {"100 times normal"}),
        (lambda x: x / np.sqrt((x**2).sum(axis=1, keepdims=True)), {"zeros"}),
    ],
)
def test_inputs_are_those_that_the_model_is_defined_on(function, left_out):
    with np.errstate(all="ignore"):
        found, skipped = drawn((8,), "float32", predict=function)
        assert np.isfinite(function(found)).all() and len(found) == 64
    assert set(skipped) == left_out and set(skipped.values()) == {random_inputs.NOT_FINITE}
    assert random_inputs.spread(found) > 0.5


def test_a_scale_is_chosen_at_which_the_outputs_differ():
    """Outputs such as those of a deep net with random weights, which are equal for inputs of a usual scale."""

    def predict(inputs):
        return 1 / (1 + np.exp(-inputs.sum(axis=1, keepdims=True).clip(-1e6, 1e6) * 1e-5))

    found, _ = drawn((8,), "float32", predict=predict)
    assert random_inputs.spread(predict(found)) > 0.1
    assert np.abs(found).max() > 1e6
    # The scale is used only if it is needed.
    assert np.abs(drawn((8,), "float32")[0]).max() < 1e3


def test_model_that_fails_on_all_inputs_is_an_error():
    def fails(inputs):
        raise ZooError("net fails on a batch of 3: no")

    with pytest.raises(ZooError, match="net fails on a batch of 3"):
        drawn((4,), "float32", predict=fails)
    # A model that is never finite has no other inputs; the comparison reports it.
    assert len(drawn((4,), "float32", predict=lambda inputs: inputs * np.nan)[0]) == 64


@pytest.mark.parametrize("count", [2, 3, 8])
def test_few_inputs_are_not_all_constant(count):
    found, _ = drawn((5,), "float32", count=count)
    assert len(found) == count and np.unique(found[-1]).size == 5
