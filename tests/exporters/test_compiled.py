"""A compiled Keras model: the same outputs as eagerly, in batches that fit in memory, and in float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from exporters import compiled
from exporters.compiled import CompiledModel
from zoo.errors import ZooError

GENERATOR = np.random.default_rng(0)


def functional(shape, build, dtype="float32"):
    given = keras.Input(shape, dtype=dtype)
    return keras.Model(given, build(given), name="net")


def convolutional(x):
    x = layers.Conv2D(8, 3, activation="gelu")(layers.UpSampling2D(interpolation="bilinear")(x))
    x = layers.BatchNormalization()(layers.Conv2D(8, 3, groups=4)(x))
    return layers.LSTM(5)(layers.Reshape((-1, 8))(layers.MaxPooling2D()(x)))


def test_it_computes_what_the_eager_model_does_in_any_number_of_inputs():
    net = functional((7, 6, 3), convolutional)
    predict = CompiledModel(net, (7, 6, 3), "float32")
    x = GENERATOR.normal(size=(70, 7, 6, 3)).astype("float32")
    np.testing.assert_allclose(predict(x), net(x), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(predict(x[:1]), net(x[:1]), rtol=1e-4, atol=1e-6)
    assert predict.largest_batch == 64 and predict.batches == (1, 3, 64)
    predict.check_eager(x)


def test_float64_is_that_of_a_naive_loop():
    net = functional((5,), lambda x: layers.Dense(3)(layers.Dense(4, activation="tanh")(x)))
    x = 100 * GENERATOR.normal(size=(6, 5)).astype("float32")
    first, bias, second, last = (weight.numpy().astype("float64") for weight in net.weights)
    hidden = [
        [np.tanh(sum(row[i] * first[i, j] for i in range(5)) + bias[j]) for j in range(4)] for row in x.astype("float64")
    ]
    expected = [[sum(row[i] * second[i, j] for i in range(4)) + last[j] for j in range(3)] for row in hidden]
    found = CompiledModel(net, (5,), "float32").float64(x)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.parametrize("build", [convolutional, lambda x: layers.GlobalAveragePooling2D()(layers.Resizing(4, 5)(x))])
def test_float64_of_loops_functions_and_operators_without_float64(build):
    net = functional((7, 6, 3), build)
    predict = CompiledModel(net, (7, 6, 3), "float32")
    x = GENERATOR.normal(size=(3, 7, 6, 3)).astype("float32")
    found = predict.float64(x)
    difference = np.abs(found - predict(x)).max()
    assert 0 < difference < 1e-5 * np.abs(found).max()


def test_model_without_float64_has_none():
    net = functional((5,), lambda x: layers.Lambda(tf.quantization.fake_quant_with_min_max_args)(x))
    assert CompiledModel(net, (5,), "float32").float64(np.zeros((2, 5), "float32")) is None


def test_batches_and_inputs_shrink_with_the_size_of_activations_and_outputs():
    """A convolution from 64x64x3 to 64x64x128: its sum and its activation are 2 MB each."""
    net = functional((64, 64, 3), lambda x: layers.Conv2D(128, 3, padding="same", activation="relu")(x))
    large = CompiledModel(net, (64, 64, 3), "float32")
    output = 64 * 64 * 128 * 4
    assert large.cost.outputs == output and 2 * output <= large.cost.activations <= 3 * output
    assert large.cost.operations == 64 * 64 * 128 * 3 * 3 * 3
    assert large.largest_batch * output <= 2**23 and large.batches == (1, 3, 4)
    assert large.affordable() * (output + 64 * 64 * 3 * 4) <= 2**25
    small = CompiledModel(functional((5,), layers.Dense(3)), (5,), "float32")
    assert small.affordable() == 512 and small.affordable(64) == 64
    # A hidden activation bounds the batch, too: here 64 MB for an input.
    net = functional((256, 256, 3), lambda x: layers.GlobalMaxPooling2D()(layers.Conv2D(256, 3, padding="same")(x)))
    hidden = CompiledModel(net, (256, 256, 3), "float32")
    assert hidden.largest_batch == 2 and hidden.batches == (1, 2)


def test_too_little_memory_is_an_error_before_it_is_taken(monkeypatch):
    monkeypatch.setattr(compiled.machine, "memory", lambda: {"total": 10**7, "available": 10**7})
    net = functional((256, 256, 3), lambda x: layers.Conv2D(64, 3, padding="same")(x))
    with pytest.raises(ZooError, match=r"net cannot be compared .* 2 inputs need 0\.\d GB of memory, 0\.0 GB are available"):
        CompiledModel(net, (256, 256, 3), "float32").affordable()


def test_model_with_a_static_batch_is_run_with_it():
    given = keras.Input(batch_shape=(4, 3))
    net = keras.Model(given, layers.Dense(2)(given))
    predict = CompiledModel(net, (3,), "float32", 4)
    x = GENERATOR.normal(size=(6, 3)).astype("float32")
    np.testing.assert_allclose(predict(x), x @ net.weights[0].numpy(), rtol=1e-4, atol=1e-6)
    predict.check_eager(x)


def test_an_input_of_a_static_batch_costs_the_same():
    def cost(batch):
        given = keras.Input(batch_shape=(batch, 32, 32, 3))
        net = keras.Model(given, layers.Flatten()(layers.Conv2D(16, 3, activation="relu")(given)))
        return CompiledModel(net, (32, 32, 3), "float32", batch).cost

    one, any_size = cost(4), cost(None)
    assert one.operations == any_size.operations and one.outputs == any_size.outputs
    assert one.activations == pytest.approx(any_size.activations, rel=0.2)
    assert one.written == pytest.approx(any_size.written, rel=0.2)


def test_batch_on_which_the_model_fails_is_an_error():
    table = tf.constant([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    net = functional((3,), lambda x: layers.Lambda(lambda x: x + table, output_shape=(3,))(x))
    predict = CompiledModel(net, (3,), "float32")
    assert predict(np.zeros((2, 3), "float32")).shape == (2, 3)
    with pytest.raises(ZooError, match=r"net fails on a batch of 64: Incompatible shapes: \[64,3\] vs\. \[2,3\]"):
        predict(np.zeros((64, 3), "float32"))


def test_model_that_depends_on_python_is_an_error():
    net = functional((3,), lambda x: layers.Lambda(lambda x: x * np.random.default_rng().uniform(1, 100))(x))
    with pytest.raises(ZooError, match="net gives other outputs compiled"):
        CompiledModel(net, (3,), "float32").check_eager(np.ones((3, 3), "float32"))
