"""Numeric checks of layers and initializers, on the Keras backend in use."""

import math

import keras
import numpy as np


def run(function, x, **options):
    """Return what a layer or a function computes, as an array."""
    return keras.ops.convert_to_numpy(function(x, **options))


def randomize(layer, rng):
    """Set all weights of a layer or model to normally distributed values."""
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])


def gradients(model, x, target):
    """Return the gradient of the mean squared error with respect to each weight, as the change by one step of SGD(1)."""
    before = model.get_weights()
    model.compile(keras.optimizers.SGD(1.0), "mse", run_eagerly=keras.backend.backend() == "tensorflow")
    model.train_on_batch(x, target)
    return [old - new for old, new in zip(before, model.get_weights(), strict=True)]


def differences(function, weights, target, step=1e-4):
    """Return the same gradient of a NumPy function of the weights, by central differences."""
    weights = [weight.astype("float64") for weight in weights]
    found = []
    for weight in weights:
        found.append(np.zeros_like(weight))
        for index in np.ndindex(weight.shape):
            kept, losses = weight[index], []
            for weight[index] in (kept + step, kept - step):
                losses.append(np.mean((function(*weights) - target) ** 2))
            weight[index] = kept
            found[-1][index] = (losses[0] - losses[1]) / (2 * step)
    return found


def check_gradients(rng, layer, shape, reference):
    """Compare the gradients of a layer's weights, and of a dense layer before it, with differences of a NumPy reference.

    Args:
        rng: NumPy generator.
        layer: the layer.
        shape: shape of its input, without the batch.
        reference: function of (input, *weights of the layer) -> output, in NumPy.
    """
    x = rng.normal(size=(2, *shape)).astype("float32")
    model = keras.Sequential([keras.Input(shape), keras.layers.Dense(shape[-1]), layer])
    randomize(model, rng)
    weights = [weight / 2 for weight in model.get_weights()]
    model.set_weights(weights)

    def function(below, bias, *own):
        return reference(x @ below + bias, *own)

    target = rng.normal(size=function(*weights).shape)
    for analytic, numeric in zip(gradients(model, x, target), differences(function, weights, target), strict=True):
        assert np.abs(numeric).max() > 1e-3
        np.testing.assert_allclose(analytic, numeric, rtol=1e-3, atol=1e-4)


def assert_uniform(values, bound):
    """Check for a uniform distribution within ±bound: the largest value, the mean and the deviation."""
    assert 0.95 * bound < np.abs(values).max() <= bound
    np.testing.assert_allclose(values.std(), bound / math.sqrt(3), rtol=0.1)
    np.testing.assert_allclose(values.mean(), 0, atol=0.1 * bound)


def draw(initializer, shape):
    """Return the values that an initializer draws for a shape."""
    return keras.ops.convert_to_numpy(initializer(shape))
