"""The parts that the lecture names: max-norm layers, maxout, stochastic depth, the hinge as a layer, leaky ReLU."""

import json

import keras
import numpy as np
import pytest

from zoo import activations
from zoo.analysis import arithmetic
from zoo.constraints import MaxNorm
from zoo.layers import HingeLoss, MaxNormConv2D, MaxNormDense, Maxout, StochasticDepth, linear_decay
from zoo.losses import MulticlassHinge

LAYERS = {
    "max-norm dense": (lambda: MaxNormDense(3, max_norm=1.5, activation="relu"), (4,)),
    "max-norm convolution": (lambda: MaxNormConv2D(3, (2, 1), max_norm=0.5, strides=2), (5, 4, 2)),
    "maxout": (lambda: Maxout(3, 4, kernel_constraint=MaxNorm(2.0)), (5,)),
    "maxout on maps": (lambda: Maxout(2, 3), (3, 4, 2)),
}


@pytest.fixture
def rng():
    keras.utils.set_random_seed(3)
    return np.random.default_rng(3)


def run(layer, x, **options):
    return keras.ops.convert_to_numpy(layer(x, **options))


def norms(kernel):
    return np.sqrt(np.sum(np.square(kernel.astype("float64")), axis=tuple(range(kernel.ndim - 1))))


def train(model, loss, x, y):
    model.compile(keras.optimizers.SGD(1.0), loss, run_eagerly=keras.backend.backend() == "tensorflow")
    return model.train_on_batch(x, y)


# Max-norm.


@pytest.mark.parametrize(
    "layer, shape",
    [
        (lambda: MaxNormDense(4, max_norm=0.7, bias_initializer="ones"), (5,)),
        (lambda: MaxNormConv2D(4, 2, max_norm=0.7, groups=2, bias_initializer="ones"), (3, 3, 4)),
    ],
    ids=["dense", "convolution"],
)
def test_max_norm_holds_after_every_update_and_spares_the_bias(rng, layer, shape):
    model = keras.Sequential([keras.Input(shape), layer()])
    x = rng.normal(size=(8, *shape)).astype("float32")
    for _ in range(3):
        train(model, "mse", x, 50 * rng.normal(size=(8, *model.outputs[0].shape[1:])))
        kernel, bias = model.get_weights()
        assert (norms(kernel) <= 0.7 * (1 + 3e-7)).all()
        assert norms(kernel).max() > 0.69
    assert np.abs(bias).max() > 0.7


def test_max_norm_layer_is_the_keras_layer_while_all_is_legal(rng):
    """The same step, to the bit: the constraint only looks."""
    x, y = rng.normal(size=(8, 5)).astype("float32"), rng.normal(size=(8, 4)).astype("float32")
    models = [keras.Sequential([keras.Input((5,)), layer]) for layer in (MaxNormDense(4, 100.0), keras.layers.Dense(4))]
    models[1].set_weights(models[0].get_weights())
    before = models[0].get_weights()
    for model in models:
        train(model, "mse", x, y)
    for one, other, old in zip(*(model.get_weights() for model in models), before, strict=True):
        np.testing.assert_array_equal(one, other)
        assert (one != old).any()


def test_max_norm_layers_take_one_constraint():
    with pytest.raises(TypeError, match="kernel_constraint"):
        MaxNormDense(3, kernel_constraint="non_neg")


# Maxout.


def maxout(x, kernel, bias, units, pieces):
    y = np.zeros((len(x), units))
    for row, unit in np.ndindex(y.shape):
        columns = range(unit * pieces, (unit + 1) * pieces)
        y[row, unit] = max(sum(x[row] * kernel[:, column]) + bias[column] for column in columns)
    return y


@pytest.mark.parametrize("features, units, pieces", [(5, 3, 2), (1, 1, 4), (4, 6, 3)])
def test_maxout(rng, features, units, pieces):
    x = rng.normal(size=(3, features)).astype("float32")
    layer = Maxout(units, pieces)
    layer.build(x.shape)
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])
    np.testing.assert_allclose(run(layer, x), maxout(x, *layer.get_weights(), units, pieces), rtol=1e-4, atol=1e-5)


def test_maxout_can_be_relu_and_the_absolute_value():
    layer = Maxout(2, 2)
    layer.build((None, 1))
    layer.set_weights([np.float32([[0, 1, 1, -1]]), np.zeros(4, "float32")])
    np.testing.assert_array_equal(run(layer, np.float32([[-3], [2]])), [[0, 3], [2, 2]])


def test_maxout_of_one_piece_is_dense(rng):
    x = rng.normal(size=(2, 3, 4, 5)).astype("float32")
    dense, one = keras.layers.Dense(3), Maxout(3, 1)
    for layer in (dense, one):
        layer.build(x.shape)
    one.set_weights(dense.get_weights())
    np.testing.assert_allclose(run(one, x), run(dense, x), rtol=1e-5, atol=1e-6)


def test_connections():
    """Maxout: a dense layer of all pieces. Max-norm: as the layers without it."""
    shape = (5, 4, 2)
    x = image = keras.Input(shape)
    x = MaxNormConv2D(3, 2)(x)
    x = keras.layers.Flatten()(x)
    x = Maxout(6, 3)(x)
    x = StochasticDepth(0.5)([x, MaxNormDense(6, use_bias=False)(x)])
    rows = {row.kind: row for row in arithmetic.table(keras.Model(image, x))}
    assert (rows["MaxNormConv2D"].connections, rows["MaxNormConv2D"].macs) == (4 * 3 * 3 * 9, 4 * 3 * 3 * 8)
    assert rows["Maxout"].parameters == rows["Maxout"].connections == 37 * 18
    assert rows["Maxout"].macs == 36 * 18
    assert rows["MaxNormDense"].connections == rows["MaxNormDense"].macs == 36
    assert rows["StochasticDepth"].connections == 0


# Stochastic depth.


def test_stochastic_depth_in_use():
    """x + p f(x): what was to be expected in training."""
    x, branch = np.float32([[1, 2], [3, 4]]), np.float32([[10, 20], [30, 40]])
    np.testing.assert_allclose(run(StochasticDepth(0.25), [x, branch]), [[3.5, 7], [10.5, 14]])
    np.testing.assert_allclose(run(StochasticDepth(0.25), [x, branch], training=False), [[3.5, 7], [10.5, 14]])


@pytest.mark.parametrize("survival", [0.2, 0.8])
def test_stochastic_depth_in_training(survival):
    """Each row has all of the branch or nothing of it, and on average as much as in use."""
    x, branch = np.ones((4000, 2, 3), "float32"), np.full((4000, 2, 3), 5, "float32")
    layer = StochasticDepth(survival, seed=1)
    first, second = (run(layer, [x, branch], training=True) for _ in range(2))
    assert set(np.unique(first)) == {1, 6}
    assert (first == first[:, :1, :1]).all()
    assert (first != second).any()
    deviation = 5 * np.sqrt(survival * (1 - survival) / 4000)
    np.testing.assert_allclose(first[:, 0, 0].mean(), run(layer, [x, branch])[0, 0, 0], atol=4 * deviation)


def test_stochastic_depth_that_always_survives(rng):
    """Training is then use, to the bit."""
    x, branch = rng.normal(size=(2, 50, 3)).astype("float32")
    layer = StochasticDepth(1.0)
    np.testing.assert_array_equal(run(layer, [x, branch], training=True), run(layer, [x, branch]))
    np.testing.assert_array_equal(run(layer, [x, branch]), x + branch)


def test_stochastic_depth_leaves_a_branch_out_even_if_it_is_infinite():
    layer = StochasticDepth(0.5, seed=2)
    found = run(layer, [np.zeros((50, 1), "float32"), np.full((50, 1), np.inf, "float32")], training=True)
    assert set(found.ravel()) == {0, np.inf}


def test_linear_decay():
    """From 1 at the input to p_L at the last block; of the paper's 54 blocks (3 * 54 - 1)/4 are there on average."""
    survivals = [linear_decay(block, 54) for block in range(55)]
    assert (survivals[0], survivals[54]) == (1, 0.5)
    np.testing.assert_allclose(np.diff(survivals), -0.5 / 54)
    assert sum(survivals[1:]) == pytest.approx((3 * 54 - 1) / 4)
    assert linear_decay(2, 4, last=0.2) == pytest.approx(0.6)


@pytest.mark.parametrize("survival", [0, 1.5, -0.1])
def test_stochastic_depth_refuses_a_survival(survival):
    with pytest.raises(ValueError, match=r"in \(0, 1\]"):
        StochasticDepth(survival)


# The hinge inside a model.


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("form", ["integers", "one-hot"])
def test_hinge_layer_trains_as_the_loss_does(rng, squared, form):
    x, labels = rng.normal(size=(12, 5)).astype("float32"), rng.integers(0, 3, 12)
    labels = labels if form == "integers" else np.eye(3, dtype="float32")[labels]
    eager = keras.backend.backend() == "tensorflow"

    image, answer = keras.Input((5,), name="image"), keras.Input(labels.shape[1:], name="answer", dtype=labels.dtype.name)
    scores = keras.layers.Dense(3)(image)
    inside = keras.Model([image, answer], HingeLoss(0.7, squared)([scores, answer]))
    inside.compile(keras.optimizers.SGD(0.5), run_eagerly=eager)
    outside = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    outside.set_weights(inside.get_weights())
    outside.compile(keras.optimizers.SGD(0.5), MulticlassHinge(0.7, squared), run_eagerly=eager)

    one = inside.fit({"image": x, "answer": labels}, epochs=3, batch_size=4, shuffle=False, verbose=0).history["loss"]
    other = outside.fit(x, labels, epochs=3, batch_size=4, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(one, other, rtol=1e-5)
    for weights, same in zip(inside.get_weights(), outside.get_weights(), strict=True):
        assert weights.any()
        np.testing.assert_allclose(weights, same, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(run(inside, [x, labels]), run(outside, x), rtol=1e-4, atol=1e-5)


def test_hinge_layer_of_the_lecture():
    """2.9, 0 and 12.9: 5.2667, and the scores pass."""
    scores = np.float32([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
    layer = HingeLoss()
    np.testing.assert_array_equal(run(layer, [scores, np.arange(3)]), scores)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer.losses[0]), 5.2667, atol=5e-5)


# The activation.


def test_leaky_relu():
    x = np.float32([-20, -1, 0, 0.5, 3])
    np.testing.assert_allclose(run(activations.leaky_relu, x), np.maximum(0.1 * x, x), rtol=1e-6)


def test_leaky_relu_in_a_saved_layer():
    layer = keras.layers.Dense(2, activation=activations.leaky_relu)
    copy = keras.layers.deserialize(json.loads(json.dumps(keras.layers.serialize(layer))))
    assert copy.activation is activations.leaky_relu


# All.


@pytest.mark.parametrize("name", LAYERS)
def test_saved_and_loaded(rng, name, tmp_path):
    make, shape = LAYERS[name]
    model = keras.Sequential([keras.Input(shape), make()])
    x = rng.normal(size=(2, *shape)).astype("float32")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(run(loaded, x), run(model, x))
    assert loaded.layers[0].get_config() == model.layers[0].get_config()
    assert loaded.layers[0].compute_output_shape((2, *shape)) == run(model, x).shape


@pytest.mark.parametrize("name", LAYERS)
def test_config(name):
    layer = LAYERS[name][0]()
    copy = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
    assert copy.get_config() == layer.get_config()
    constraints = [each.kernel_constraint for each in (layer, copy)]
    assert constraints[0] is constraints[1] is None or constraints[0].get_config() == constraints[1].get_config()


@pytest.mark.parametrize("layer", [HingeLoss(0.5, True), StochasticDepth(0.3, seed=4)], ids=lambda each: each.name)
def test_config_of_layers_with_two_inputs(layer):
    copy = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
    assert copy.get_config() == layer.get_config()
    assert copy.compute_output_shape([(None, 3), (None,)]) == (None, 3)
