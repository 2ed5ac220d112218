"""Models with several inputs or outputs, compiled: the outputs are those of the model run eagerly."""

import keras
import numpy as np
import pytest
from keras import layers

from exporters import free_sizes, outputs, parity, signature
from exporters.compiled_outputs import CompiledOutputs
from zoo.errors import CheckFailed

ROW = np.dtype([("x", "float32", (6,)), ("tokens", "int32", (4,))])


def compiled(model, row=ROW):
    found, _ = free_sizes.resolve(model, signature.inputs_of(model))
    return CompiledOutputs(model, found, row)


def rows(count):
    inputs, generator = np.zeros(count, ROW), np.random.default_rng(0)
    inputs["x"] = generator.normal(size=(count, 6))
    inputs["tokens"] = generator.integers(0, 9, (count, 4))
    return inputs


def model(batch=None, end=lambda x: x):
    x = keras.Input((6,), name="x", batch_size=batch)
    tokens = keras.Input((4,), dtype="int32", name="tokens", batch_size=batch)
    flat = layers.Flatten()(layers.Embedding(9, 3)(tokens))
    return keras.Model([x, tokens], {"sum": end(layers.Dense(3)(x) + layers.Dense(3)(flat)), "tokens": tokens + 1})


@pytest.mark.parametrize("batch", [None, 4])
def test_outputs_are_those_of_the_model(batch):
    net, inputs = model(batch), rows(70)
    found = compiled(net)(inputs)
    padded = np.resize(inputs, 72)
    parts = [padded[start : start + 4] for start in range(0, 72, 4)]
    expected = [net([part["x"], part["tokens"]]) for part in parts]
    for index, name in enumerate(("sum", "tokens")):
        np.testing.assert_allclose(
            found[index], np.concatenate([each[name] for each in expected])[:70], rtol=1e-5, atol=1e-6
        )
    exact = compiled(net).float64(inputs)
    assert exact[0].dtype == "float64"
    np.testing.assert_allclose(exact[0], found[0], rtol=1e-4, atol=1e-5)


def test_memory_of_a_large_output_bounds_the_batch():
    x = keras.Input((6,), name="x")
    net = keras.Model([x, keras.Input((4,), dtype="int32", name="tokens")], [x, layers.RepeatVector(10**5)(x)])
    assert compiled(net).largest_batch < 8
    assert max(compiled(net).batches) < 8


def test_a_python_random_number_is_found():
    net = model(end=layers.Lambda(lambda x: x + np.random.default_rng().normal()))
    with pytest.raises(CheckFailed, match="gives other outputs compiled"):
        compiled(net).check_eager(rows(2))


def test_rounding_of_the_model_is_accepted():
    """The model subtracts large numbers: its own float32 is further from float64 than the tolerance."""
    x = keras.Input((6,), name="x")
    tokens = keras.Input((4,), dtype="int32", name="tokens")
    large = 1e4 + keras.ops.cast(keras.ops.sum(tokens, axis=1, keepdims=True), "float32")
    net = keras.Model([x, tokens], [x * 2, keras.ops.relu(x + large) - large])
    function, inputs = compiled(net), rows(40)

    def file(batch):
        found = function.float64(batch)
        return [each.astype("float32") for each in found]

    types = {"double": "float32", "same": "float32"}
    candidates = {"runtime": parity.Candidate(lambda: file)}
    assert not outputs.compare(function, candidates, inputs, types, (1, 40)).passed
    assert outputs.compare(function, candidates, inputs, types, (1, 40), function.float64).passed
