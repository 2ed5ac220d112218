"""The gradients of all layers and losses of the zoo, and wrong gradients that the check must find."""

import inspect
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo.layers
import zoo.losses
from training.gradcheck import gradcheck
from zoo import ZooError, layers, losses

LIMIT = 1e-7
rng = np.random.default_rng(8)
IMAGES = rng.uniform(size=(2, 4, 5, 3))
ROWS = rng.normal(size=(3, 4))
LABELS = np.array([2, 0, 3])


def adapted(layer):
    layer.adapt(rng.normal(size=(50, 4)))
    return layer


def trained(layer):
    """Trained S-cells: both excitation and inhibition contribute."""
    layer.build(IMAGES.shape)
    layer.a.assign(rng.uniform(0.5, 1, layer.a.shape))
    layer.b.assign(rng.uniform(0.5, 1, layer.b.shape))
    return layer


# For each class what to check, and its inputs.
LAYERS = {
    "CCells": (layers.CCells(3, stride=2, padding=(1, 2)), IMAGES),
    "Deskew": (layers.Deskew(), IMAGES),
    "FixedLogic": (layers.FixedLogic(2), ROWS),
    "GroupedConv2D": (layers.GroupedConv2D(4, 3, groups=2, padding="same"), rng.uniform(size=(2, 4, 5, 4))),
    "HingeLoss": (layers.HingeLoss(), [ROWS, LABELS]),
    "LocalResponseNormalization": (layers.LocalResponseNormalization(3, 0.5, groups=2), rng.uniform(size=(2, 4, 5, 6))),
    "LocallyConnected2D": (layers.LocallyConnected2D(2, 3, "tanh"), IMAGES),
    "MaskedConv2D": (layers.MaskedConv2D([[0, 2], [1]], 2), IMAGES),
    "MaxNormConv2D": (layers.MaxNormConv2D(2, 2), IMAGES),
    "MaxNormDense": (layers.MaxNormDense(2), ROWS),
    "Maxout": (layers.Maxout(3, 2), ROWS),
    "PCAWhitening": (adapted(layers.PCAWhitening(3)), ROWS),
    "RBFOutput": (layers.RBFOutput(rng.choice([-1.0, 1.0], (3, 4))), ROWS),
    "SCells": (trained(layers.SCells(2, window=3)), IMAGES),
    "ScaledTanh": (layers.ScaledTanh(), ROWS),
    "StochasticDepth": (layers.StochasticDepth(0.3), [ROWS, ROWS[::-1]]),
    "TrainableSubsampling": (layers.TrainableSubsampling(2), IMAGES[:, :, :4]),
    "WithinMapNormalization": (layers.WithinMapNormalization(3, 0.5), IMAGES),
    "ZCAWhitening": (adapted(layers.ZCAWhitening()), ROWS),
    "ZeroCenter": (adapted(layers.ZeroCenter()), ROWS),
}
NO_GRADIENT = {
    "AssociationUnits": "fires or does not, and its wiring does not learn",
    "NearestNeighbors": "the votes of neighbors are counted",
    "Signum": "a threshold",
    "Step": "a threshold",
}
LOSSES = {
    "BinaryHinge": [losses.BinaryHinge(), losses.BinaryHinge(2.0, squared=True)],
    "LMS": [losses.LMS(), losses.LMS(0.0, 2.0)],
    "MaximumAPosteriori": [losses.MaximumAPosteriori(0.7)],
    "MinimumDistance": [losses.MinimumDistance()],
    "MulticlassHinge": [losses.MulticlassHinge(), losses.MulticlassHinge(2.0, squared=True)],
    "PerceptronCriterion": [losses.PerceptronCriterion()],
}


def classes(module, base):
    return {name for name, each in vars(module).items() if inspect.isclass(each) and issubclass(each, base)}


def test_all_layers_and_losses_are_checked():
    """A new layer needs an entry here, or a reason why it has no gradient."""
    assert classes(zoo.layers, keras.layers.Layer) == {*LAYERS, *NO_GRADIENT}
    assert classes(zoo.losses, keras.losses.Loss) == set(LOSSES)
    assert not set(LAYERS) & set(NO_GRADIENT)


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name):
    layer, x = LAYERS[name]
    assert type(layer).__name__ == name
    errors = gradcheck(layer, x)
    floats = [each for each in (x if isinstance(x, list) else [x]) if each.dtype == "float64"]
    assert len(errors) == len(layer.trainable_variables) + len(floats)
    assert max(errors.values()) < LIMIT, errors


def test_cells_with_zero_input_have_a_gradient():
    """A window may be all zero, where the root has no slope. The gradients of the other windows do not change."""
    x = IMAGES[:1].copy()
    x[:, :, :3] = 0
    layer = trained(layers.SCells(2, window=3))
    gradients = []
    for each in (x, x[:, :, 2:]):
        image = tf.Variable(each, dtype="float32")
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(layer(image)[:, :, -1])
        gradients.append(tape.gradient(total, image).numpy())
    assert np.isfinite(gradients[0]).all() and gradients[0].any()
    np.testing.assert_allclose(gradients[0][:, :, 2:], gradients[1], rtol=1e-5)


@pytest.mark.parametrize("loss", [each for some in LOSSES.values() for each in some], ids=lambda loss: loss.name)
def test_loss(loss):
    errors = gradcheck(keras.layers.Identity(), ROWS, loss, LABELS)
    assert list(errors) == ["input 0"]
    assert errors["input 0"] < LIMIT


def net():
    return keras.Sequential(
        [
            keras.Input((4, 5, 3)),
            layers.MaskedConv2D([[0, 2], [1]], 2, name="c"),
            layers.ScaledTanh(),
            keras.layers.Flatten(),
            keras.layers.Dense(4, kernel_regularizer="l2", name="f"),
        ]
    )


def test_network_with_loss_and_regularizer():
    model = net()
    before = model.get_weights()
    errors = gradcheck(model, IMAGES.astype("float32"), losses.LMS(), np.array([1, 3]))
    assert set(errors) == {"c/kernel", "c/bias", "f/kernel", "f/bias", "input 0"}
    assert max(errors.values()) < LIMIT
    # What was given is as it was.
    assert keras.config.floatx() == "float32"
    for weight, old in zip(model.weights, before, strict=True):
        assert weight.dtype == "float32"
        np.testing.assert_array_equal(weight, old)


@keras.saving.register_keras_serializable("test_gradcheck")
class HalfOfTheSquare(keras.layers.Layer):
    """The square of x w, whose gradient misses one of the two paths."""

    def build(self, input_shape):
        self.w = self.add_weight((input_shape[-1],), "ones", name="w")
        self.right = self.add_weight((input_shape[-1],), "ones", name="right")

    def call(self, x):
        return keras.ops.stop_gradient(x * self.w) * (x * self.w) + self.right


def test_a_wrong_gradient_is_found_and_located():
    errors = gradcheck(HalfOfTheSquare(name="half"), ROWS)
    half = {name for name, error in errors.items() if error == pytest.approx(0.5, abs=1e-6)}
    assert len(errors) == 3 and half == {"half/w", "input 0"}
    assert errors["half/right"] < LIMIT


def test_gradients_that_are_missing_count_as_zero():
    """A threshold: its gradient is None, and small changes of the input change nothing."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2), layers.Step()])
    assert set(gradcheck(model, ROWS).values()) == {0.0}


@keras.saving.register_keras_serializable("test_gradcheck")
class Root(keras.layers.Layer):
    def call(self, x):
        return keras.ops.sqrt(x)


def test_gradients_that_are_not_finite():
    errors = gradcheck(Root(), np.zeros((1, 2)))
    assert errors == {"input 0": float("inf")}


def gradient(function, *values):
    variables = [tf.Variable(value) for value in values]
    with tf.GradientTape() as tape:
        result = function(*variables)
    return float(result), [float(each) for each in tape.gradient(result, variables)]


def test_back_propagation_of_the_lecture():
    """f = (x + y) z at (-2, 5, -4)."""
    multiply, add = keras.layers.Multiply(), keras.layers.Add()
    assert gradient(lambda x, y, z: multiply([add([x, y]), z]), -2.0, 5.0, -4.0) == (-12, [-4, -4, 3])


@pytest.mark.parametrize(
    "gate, expected",
    [
        (lambda a, b: 2 * keras.ops.add(a, b), [2, 2]),  # add distributes
        (lambda a, b: 2 * keras.ops.maximum(a, b), [2, 0]),  # max routes
        (lambda a, b: 2 * keras.ops.multiply(a, b), [-8, 6]),  # mul switches
    ],
    ids=["add", "max", "mul"],
)
def test_gates_of_the_lecture(gate, expected):
    assert gradient(gate, 3.0, -4.0)[1] == expected


def test_another_backend_is_refused():
    code = (
        "import keras, numpy\n"
        "from training.gradcheck import gradcheck\n"
        "from zoo import ZooError\n"
        "try: gradcheck(keras.layers.Identity(), numpy.ones((1, 1)))\n"
        "except ZooError as error: print(error)"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    child = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert "needs the TensorFlow backend" in child.stdout, child.stderr


class Unregistered(keras.layers.Layer):
    """A user's layer without the registration decorator, with a gradient that is wrongly stopped."""

    def __init__(self, wrong=False, **kwargs):
        super().__init__(**kwargs)
        self.wrong = wrong

    def call(self, x):
        return x * (keras.ops.stop_gradient(x) if self.wrong else x)

    def get_config(self):
        return {**super().get_config(), "wrong": self.wrong}


def test_a_custom_layer_needs_no_decorator():
    x = np.random.default_rng(0).normal(size=(3, 4))
    assert gradcheck(Unregistered(), x)["input 0"] < 1e-7
    assert gradcheck(Unregistered(wrong=True), x)["input 0"] == pytest.approx(0.5, abs=1e-6)


def test_an_unbuilt_model_is_built():
    layers = [keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(2)]
    assert max(gradcheck(keras.Sequential(layers), np.random.default_rng(0).normal(size=(3, 5))).values()) < 1e-7


def test_a_loss_alone_is_refused_with_the_right_call():
    with pytest.raises(ZooError, match=r"gradcheck\(keras\.layers\.Identity\(\), scores, loss="):
        gradcheck(keras.losses.MeanSquaredError(), np.random.default_rng(0).normal(size=(3, 5)))
