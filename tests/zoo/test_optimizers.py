"""MomentumWithDecay agrees with a plain loop over several steps."""

import keras
import numpy as np
import pytest

from zoo.optimizers import MomentumWithDecay

STEPS = 7
NAMES = ("conv1", "fc2")


class Halving(keras.optimizers.schedules.LearningRateSchedule):
    """start, start/2, start/4, ... from step to step."""

    def __init__(self, start):
        self.start = start

    def __call__(self, step):
        return self.start * 0.5 ** keras.ops.cast(step, "float32")

    def get_config(self):
        return {"start": self.start}


keras.saving.register_keras_serializable("tests")(Halving)


def net():
    """Two dense layers whose biases do not start at 0."""
    layers = [keras.layers.Dense(3, name=name, bias_initializer="ones") for name in NAMES]
    model = keras.Sequential([keras.Input((2,)), *layers])
    generator = np.random.default_rng(0)
    model.set_weights([generator.normal(size=weight.shape) for weight in model.get_weights()])
    return model


def gradients():
    """Gradients of the variables of `net` for each step."""
    generator = np.random.default_rng(1)
    return [[generator.normal(size=weight.shape).astype("float32") for weight in net().get_weights()] for _ in range(STEPS)]


def optimized(optimizer):
    """The weights of `net` after each step."""
    model, found = net(), []
    optimizer.build(model.trainable_variables)
    for step in gradients():
        optimizer.apply(list(map(keras.ops.convert_to_tensor, step)), model.trainable_variables)
        found.append(model.get_weights())
    return found


def loop(rate_of, decay_of, momentum=0.9, bias_rate=2.0, bias_decay=False):
    """The same in NumPy, with rate_of(layer, step) and decay_of(layer)."""
    values = [weight.astype("float64") for weight in net().get_weights()]
    velocities = [np.zeros(value.shape) for value in values]
    found = []
    for step, given in enumerate(gradients()):
        for number, (value, velocity, gradient) in enumerate(zip(values, velocities, given, strict=True)):
            layer, is_bias = NAMES[number // 2], number % 2 == 1
            rate = rate_of(layer, step) * (bias_rate if is_bias else 1)
            decay = 0 if is_bias and not bias_decay else decay_of(layer)
            for place in np.ndindex(value.shape):
                velocity[place] = momentum * velocity[place] - decay * rate * value[place] - rate * gradient[place]
                value[place] = value[place] + velocity[place]
        found.append([value.copy() for value in values])
    return found


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        for weight, value in zip(one, other, strict=True):
            np.testing.assert_allclose(weight, value, rtol=1e-5, atol=1e-6)


def test_update_of_2012():
    assert_same(optimized(MomentumWithDecay(0.01)), loop(lambda layer, step: 0.01, lambda layer: 0.0005))


@pytest.mark.parametrize(
    "settings",
    [
        {"momentum": 0.5},
        {"bias_rate": 1.0},
        {"bias_rate": 0.0},
        {"bias_decay": True},
        {"bias_decay": True, "bias_rate": 3.0},
    ],
    ids=str,
)
def test_settings(settings):
    """With a decay that is large enough to matter."""
    found = optimized(MomentumWithDecay(0.1, weight_decay=0.3, **settings))
    assert_same(found, loop(lambda layer, step: 0.1, lambda layer: 0.3, **settings))


def test_weight_decay_is_coupled():
    """Keras' decoupled weight decay gives other weights from the second step on."""
    ours = optimized(MomentumWithDecay(0.1, weight_decay=0.3, bias_rate=1.0, bias_decay=True))
    keras_own = optimized(keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.3))
    assert_same(ours[:1], keras_own[:1])
    assert np.abs(ours[1][0] - keras_own[1][0]).max() > 0.01


def test_rates_and_decays_of_single_layers():
    optimizer = MomentumWithDecay(0.1, weight_decay=0.3, rates={"conv1": 0.02}, decays={"fc2": 0.0})
    rates, decays = {"conv1": 0.02, "fc2": 0.1}, {"conv1": 0.3, "fc2": 0.0}
    assert_same(optimized(optimizer), loop(lambda layer, step: rates[layer], decays.get))


def test_schedules_of_net_and_layer():
    optimizer = MomentumWithDecay(Halving(0.1), weight_decay=0.3, rates={"fc2": Halving(0.4)})
    start = {"conv1": 0.1, "fc2": 0.4}
    assert_same(optimized(optimizer), loop(lambda layer, step: start[layer] / 2**step, lambda layer: 0.3))


def test_layer_with_rate_0_is_not_changed():
    found = optimized(MomentumWithDecay(0.1, rates={"conv1": 0}))
    for step in found:
        for weight, start in zip(step[:2], net().get_weights()[:2], strict=True):
            np.testing.assert_array_equal(weight, start)
        assert not np.array_equal(step[2], net().get_weights()[2])


def test_layers_within_nested_models():
    inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="conv1")], name="inner")
    model = keras.Sequential([keras.Input((2,)), inner, keras.layers.Dense(3, name="fc2")], name="outer")
    optimizer = MomentumWithDecay(0.1, rates={"conv1": 0.0})
    before = model.get_weights()
    optimizer.build(model.trainable_variables)
    optimizer.apply([keras.ops.ones(variable.shape) for variable in model.trainable_variables], model.trainable_variables)
    changed = [not np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True)]
    assert changed == [False, False, True, True]


@pytest.mark.parametrize("table", ["rates", "decays"])
def test_unknown_layer_is_an_error_with_a_suggestion(table):
    optimizer = MomentumWithDecay(0.1, **{table: {"conv2": 0.0}})
    with pytest.raises(ValueError, match=f"{table} names 'conv2'.*did you mean 'conv1'"):
        optimizer.build(net().trainable_variables)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"momentum": 1.0}, "momentum=1.0"),
        ({"momentum": -0.1}, "momentum=-0.1"),
        ({"rates": {"conv1": "slow"}}, "rate of conv1.*slow"),
        ({"rates": {"conv1": True}}, "rate of conv1.*True"),
    ],
    ids=str,
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        MomentumWithDecay(0.1, **settings)


def test_config():
    optimizer = MomentumWithDecay(
        Halving(0.1),
        momentum=0.8,
        weight_decay=0.2,
        bias_rate=1.5,
        bias_decay=True,
        rates={"conv1": Halving(0.3), "fc2": 0.05},
        decays={"fc2": 0.1},
    )
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    other = MomentumWithDecay.from_config(optimizer.get_config())
    assert type(again) is MomentumWithDecay and again.get_config() == other.get_config() == optimizer.get_config()
    expected = optimized(optimizer)
    for each in (again, other):
        for one, two in zip(optimized(each), expected, strict=True):
            for weight, value in zip(one, two, strict=True):
                np.testing.assert_array_equal(weight, value)


def test_keras_fit():
    """In a compiled step, as in training: weights and biases converge to those of a line."""
    generator = np.random.default_rng(2)
    x = generator.normal(size=(64, 2)).astype("float32")
    y = x @ np.array([[1.0], [-2.0]], "float32") + 0.5
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="conv1")])
    model.compile(MomentumWithDecay(0.02, weight_decay=0.0), "mse")
    model.fit(x, y, batch_size=16, epochs=60, verbose=0)
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(kernel.ravel(), [1, -2], atol=1e-3)
    np.testing.assert_allclose(bias, [0.5], atol=1e-3)
