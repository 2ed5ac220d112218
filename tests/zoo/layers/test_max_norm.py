"""MaxNormDense and MaxNormConv2D keep their constraint in training."""

import keras
import numpy as np
import pytest

from zoo.layers import MaxNormConv2D, MaxNormDense


def norms(kernel):
    return np.sqrt(np.sum(np.square(kernel.astype("float64")), axis=tuple(range(kernel.ndim - 1))))


def train(model, loss, x, y):
    model.compile(keras.optimizers.SGD(1.0), loss, run_eagerly=keras.backend.backend() == "tensorflow")
    return model.train_on_batch(x, y)


@pytest.mark.parametrize(
    "layer, shape",
    [
        (lambda: MaxNormDense(4, max_norm=0.7, bias_initializer="ones"), (5,)),
        (lambda: MaxNormConv2D(4, 2, max_norm=0.7, groups=2, bias_initializer="ones"), (3, 3, 4)),
    ],
    ids=["dense", "convolution"],
)
def test_constraint_holds_after_every_update_but_not_for_the_bias(rng, layer, shape):
    model = keras.Sequential([keras.Input(shape), layer()])
    x = rng.normal(size=(8, *shape)).astype("float32")
    for _ in range(3):
        train(model, "mse", x, 50 * rng.normal(size=(8, *model.outputs[0].shape[1:])))
        kernel, bias = model.get_weights()
        assert (norms(kernel) <= 0.7 * (1 + 3e-7)).all()
        assert norms(kernel).max() > 0.69
    assert np.abs(bias).max() > 0.7


def test_same_step_as_the_keras_layer_within_the_limit(rng):
    """To the bit: the constraint changes nothing."""
    x, y = rng.normal(size=(8, 5)).astype("float32"), rng.normal(size=(8, 4)).astype("float32")
    models = [keras.Sequential([keras.Input((5,)), layer]) for layer in (MaxNormDense(4, 100.0), keras.layers.Dense(4))]
    models[1].set_weights(models[0].get_weights())
    before = models[0].get_weights()
    for model in models:
        train(model, "mse", x, y)
    for one, other, old in zip(*(model.get_weights() for model in models), before, strict=True):
        np.testing.assert_array_equal(one, other)
        assert (one != old).any()


def test_there_is_no_second_constraint():
    with pytest.raises(TypeError, match="kernel_constraint"):
        MaxNormDense(3, kernel_constraint="non_neg")
