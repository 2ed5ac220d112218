"""The layers against naive loops that follow LeCun et al. (1998), on whatever backend runs."""

import itertools
import json
import math
import os

import keras
import numpy as np
import pytest

import zoo
from zoo.initializers import FanInUniform
from zoo.layers import MaskedConv2D, RBFOutput, ScaledTanh, TrainableSubsampling
from zoo.models.lenet import C3_TABLE
from zoo.preprocessing import Preprocessing

TABLE = [[0, 2], [1], [2, 0, 1], [3, 1]]  # of 4 input maps; the order within a row matters and is not sorted
PROTOTYPES = np.random.default_rng(5).choice([-1.0, 1.0], size=(3, 7))

LAYERS = {
    "scaled tanh": (lambda: ScaledTanh(1.5, 0.5), (4, 4, 3)),
    "sub-sampling": (lambda: TrainableSubsampling(2), (4, 6, 3)),
    "masked convolution": (lambda: MaskedConv2D(TABLE, 3), (5, 6, 4)),
    "rbf": (lambda: RBFOutput(PROTOTYPES), (7,)),
    "preprocessing": (lambda: Preprocessing(0.005, -0.1, 2), (4, 5, 1)),
}


@pytest.fixture(params=LAYERS)
def layer_and_shape(request):
    make, shape = LAYERS[request.param]
    return make(), shape


@pytest.fixture
def rng():
    keras.utils.set_random_seed(3)
    return np.random.default_rng(3)


def run(layer, x):
    return keras.ops.convert_to_numpy(layer(x))


def randomize(layer, rng):
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])


# The paper, in loops.


def squash(x, amplitude=1.7159, slope=2 / 3):
    return np.array([amplitude * math.tanh(slope * each) for each in x.ravel()]).reshape(x.shape)


def subsample(x, coefficient, bias, size):
    batch, height, width, maps = x.shape
    y = np.zeros((batch, height // size, width // size, maps))
    for b, i, j, m in np.ndindex(y.shape):
        for u, v in np.ndindex(size, size):
            y[b, i, j, m] += x[b, i * size + u, j * size + v, m]
        y[b, i, j, m] = y[b, i, j, m] * coefficient[m] + bias[m]
    return y


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


def distances(x, prototypes):
    y = np.zeros((len(x), len(prototypes)))
    for b, i in np.ndindex(y.shape):
        for j in range(x.shape[1]):
            y[b, i] += (x[b, j] - prototypes[i, j]) ** 2
    return y


def preprocess(x, scale, shift, padding):
    batch, height, width, channels = x.shape
    y = np.full((batch, height + 2 * padding, width + 2 * padding, channels), shift)
    for b, i, j, c in np.ndindex(x.shape):
        y[b, i + padding, j + padding, c] = float(x[b, i, j, c]) * scale + shift
    return y


def test_backend():
    """The arrays are of the backend that KERAS_BACKEND asks for."""
    asked = os.environ.get("KERAS_BACKEND") or "tensorflow"
    assert {"tensorflow": "tensorflow", "jax": "jaxlib"}[asked] == type(keras.ops.ones(1)).__module__.split(".")[0]


def test_scaled_tanh(rng):
    x = rng.normal(size=(3, 5), scale=3).astype("float32")
    np.testing.assert_allclose(run(ScaledTanh(), x), squash(x), rtol=1e-5)
    np.testing.assert_allclose(run(ScaledTanh(2.0, 0.5), x), squash(x, 2.0, 0.5), rtol=1e-5)


def test_scaled_tanh_passes_through_plus_and_minus_one():
    """Appendix A: f(1) = 1, f(-1) = -1, and the asymptotes are ±1.7159."""
    np.testing.assert_allclose(run(ScaledTanh(), np.float32([-100, -1, 1, 100])), [-1.7159, -1, 1, 1.7159], atol=1e-4)


@pytest.mark.parametrize("size", [2, 3])
def test_subsampling(rng, size):
    x = rng.normal(size=(2, 6, 12, 3)).astype("float32")
    layer = TrainableSubsampling(size)
    layer.build(x.shape)
    randomize(layer, rng)
    coefficient, bias = layer.get_weights()
    np.testing.assert_allclose(run(layer, x), subsample(x, coefficient, bias, size), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1, 3])
def test_masked_convolution(rng, size):
    x = rng.normal(size=(2, 5, 6, 4)).astype("float32")
    layer = MaskedConv2D(TABLE, size)
    layer.build(x.shape)
    randomize(layer, rng)
    kernel, bias = layer.get_weights()
    np.testing.assert_allclose(run(layer, x), masked_convolution(x, kernel, bias, TABLE), rtol=1e-4, atol=1e-4)


def test_rbf(rng):
    """Eq. 7, negated: the largest score wins."""
    x = rng.normal(size=(4, 7)).astype("float32")
    np.testing.assert_allclose(run(RBFOutput(PROTOTYPES), x), -distances(x, PROTOTYPES), rtol=1e-5)


def test_rbf_is_zero_at_the_prototype_and_keeps_its_digits_near_it():
    near = PROTOTYPES[0] * (1 + 2.0**-12)
    score = run(RBFOutput(PROTOTYPES), np.float32([PROTOTYPES[0], near]))[:, 0]
    assert score[0] == 0
    np.testing.assert_allclose(score[1], -7 * 2.0**-24, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_preprocessing(rng, dtype):
    x = rng.integers(0, 256, size=(2, 4, 5, 3)).astype(dtype)
    y = run(Preprocessing(0.02, -0.3, 2), x)
    assert y.dtype == "float32"
    np.testing.assert_allclose(y, preprocess(x, 0.02, -0.3, 2), rtol=1e-5, atol=1e-6)


def test_preprocessing_of_the_paper():
    """Section II.B: background -0.1, foreground 1.175, 28x28 in a field of 32x32 of background."""
    x = np.full((1, 28, 28, 1), 255, "uint8")
    y = run(Preprocessing(0.005, -0.1, 2), x)
    expected = np.full((1, 32, 32, 1), -0.1)
    expected[:, 2:-2, 2:-2] = 1.175
    np.testing.assert_allclose(y, expected, rtol=1e-6)


def test_preprocessing_of_colours(rng):
    """A factor and a shift for each channel: torchvision's (x / 255 - mean) / deviation, as written on its card."""
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    about = zoo.card("alexnet-owt").preprocessing
    x = rng.integers(0, 256, size=(2, 4, 5, 3)).astype("uint8")
    y = run(Preprocessing(about.scale, about.shift), x)
    np.testing.assert_allclose(y, (x / 255 - mean) / deviation, rtol=1e-5, atol=1e-5)
    again = Preprocessing.from_config(json.loads(json.dumps(Preprocessing(about.scale, about.shift).get_config())))
    np.testing.assert_array_equal(run(again, x), y)


def gradients(model, x, target):
    """Return the gradient of the mean squared error for each weight: what one step of plain SGD with rate 1 takes off."""
    before = model.get_weights()
    model.compile(keras.optimizers.SGD(1.0), "mse", run_eagerly=keras.backend.backend() == "tensorflow")
    model.train_on_batch(x, target)
    return [old - new for old, new in zip(before, model.get_weights(), strict=True)]


def differences(function, weights, target, step=1e-4):
    """Return the same gradient by central differences of a NumPy function of the weights."""
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


@pytest.mark.parametrize(
    "layer, shape, reference",
    [
        (ScaledTanh(), (2, 2, 3), squash),
        (TrainableSubsampling(2), (2, 4, 3), lambda x, a, b: subsample(x, a, b, 2)),
        (MaskedConv2D(TABLE, 2), (3, 3, 4), lambda x, kernel, bias: masked_convolution(x, kernel, bias, TABLE)),
        (RBFOutput(PROTOTYPES), (7,), lambda x: -distances(x, PROTOTYPES)),
        (Preprocessing(0.5, -0.1, 1), (2, 2, 3), lambda x: preprocess(x, 0.5, -0.1, 1)),
    ],
    ids=LAYERS,
)
def test_gradients(rng, layer, shape, reference):
    """For the layer's own weights, and through it for those of a layer below."""
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


def test_saved_and_loaded(rng, layer_and_shape, tmp_path):
    layer, shape = layer_and_shape
    model = keras.Sequential([keras.Input(shape), layer])
    randomize(model, rng)
    x = rng.normal(size=(2, *shape)).astype("float32")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[0]) is type(layer)
    np.testing.assert_array_equal(run(loaded, x), run(model, x))


def test_config(layer_and_shape):
    """A layer made of a config has the same one, also after JSON, and the right shape before it runs."""
    layer, shape = layer_and_shape
    config = layer.get_config()
    copy = type(layer).from_config(json.loads(json.dumps(config)))
    assert copy.get_config() == config
    x = np.zeros((2, *shape), "float32")
    assert copy.compute_output_shape(x.shape) == run(layer, x).shape


def test_config_keeps_initializers():
    layer = MaskedConv2D([[0]], 1, kernel_initializer="ones", bias_initializer=keras.initializers.Constant(2.0))
    for each in (layer, MaskedConv2D.from_config(layer.get_config())):
        assert run(each, np.full((1, 1, 1, 1), 3, "float32")).item() == 3 * 1 + 2
    layer = TrainableSubsampling(2, coefficient_initializer="ones", bias_initializer=keras.initializers.Constant(2.0))
    for each in (layer, TrainableSubsampling.from_config(layer.get_config())):
        assert run(each, np.full((1, 2, 2, 1), 3, "float32")).item() == 4 * 3 + 2


# Errors.


@pytest.mark.parametrize("table", [[[0], []], [[0, 1, 0]]])
def test_masked_convolution_refuses_a_table(table):
    with pytest.raises(ValueError, match="must see each of its maps once"):
        MaskedConv2D(table, 3)


@pytest.mark.parametrize("table", [[[0], [0, 3]], [[-1]], [[2, -1]]])
def test_masked_convolution_refuses_maps_that_the_input_lacks(table):
    with pytest.raises(ValueError, match="an input of 3 maps"):
        MaskedConv2D(table, 3).build((None, 5, 5, 3))


@pytest.mark.parametrize("shape", [(None, 5, 6, 1), (None, 6, 5, 1)])
def test_subsampling_refuses_what_it_does_not_tile(shape):
    with pytest.raises(ValueError, match=r"2x2 do not tile.*5"):
        TrainableSubsampling(2).build(shape)


def test_rbf_refuses_another_width():
    with pytest.raises(ValueError, match="7 features"):
        RBFOutput(PROTOTYPES).build((None, 8))


# The masked convolution of LeNet-5.


def c3(shape=(14, 14, 6)):
    layer = MaskedConv2D(C3_TABLE, 5)
    layer.build((None, *shape))
    return layer


def test_c3_has_no_weights_in_its_holes():
    layer = c3()
    assert layer.count_params() == 60 * 25 + 16 == 1516


def test_c3_holes_stay_empty_when_it_learns(rng):
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


def test_c3_sees_the_maps_of_its_table_alone(rng):
    x = rng.normal(size=(1, 14, 14, 6)).astype("float32")
    layer = c3()
    reference = run(layer, x)
    for source in range(6):
        changed = x.copy()
        changed[..., source] += 1
        differs = (run(layer, changed) != reference).any(axis=(0, 1, 2))
        assert differs.tolist() == [source in seen for seen in C3_TABLE]


# The start.


def assert_uniform(values, bound):
    """Within the bound, up to near it, and even on both sides of zero."""
    assert 0.95 * bound < np.abs(values).max() <= bound
    np.testing.assert_allclose(values.std(), bound / math.sqrt(3), rtol=0.1)
    np.testing.assert_allclose(values.mean(), 0, atol=0.1 * bound)


def draw(initializer, shape):
    return keras.ops.convert_to_numpy(initializer(shape))


def test_fan_in_uniform(rng):
    assert_uniform(draw(FanInUniform(400), (2000,)), 2.4 / 400)
    assert_uniform(draw(FanInUniform(3, gain=1.0), (40, 50)), 1 / 3)


def test_fan_in_uniform_by_entry(rng):
    values = draw(FanInUniform([1, 10, 100]), (2000, 3))
    for column, fan_in in enumerate([1, 10, 100]):
        assert_uniform(values[:, column], 2.4 / fan_in)


def test_fan_in_uniform_seeds(rng):
    seeded, free = FanInUniform(4, seed=1), FanInUniform(4)
    assert (draw(seeded, (9,)) == draw(seeded, (9,))).all()
    assert (draw(seeded, (9,)) != draw(FanInUniform(4, seed=2), (9,))).any()
    assert (draw(free, (9,)) != draw(free, (9,))).any()


def test_fan_in_uniform_config():
    start = FanInUniform([3, 4], gain=2.0, seed=7)
    copy = keras.initializers.deserialize(json.loads(json.dumps(keras.initializers.serialize(start))))
    assert copy.get_config() == {"fan_in": [3, 4], "gain": 2.0, "seed": 7}
    assert (draw(copy, (5, 2)) == draw(start, (5, 2))).all()


def test_subsampling_starts_from_the_inputs_of_a_window(rng):
    layer = TrainableSubsampling(2)
    layer.build((None, 2, 2, 2000))
    for weight in layer.get_weights():
        assert_uniform(weight, 2.4 / 4)


def test_masked_convolution_starts_from_the_connected_inputs_of_each_map(rng):
    """Not from those of the layer: a map that sees one input starts wider than one that sees six."""
    table = [[0]] * 1000 + [[0, 1, 2, 3, 4, 5]] * 1000
    layer = MaskedConv2D(table, 1)
    layer.build((None, 4, 4, 6))
    kernel, bias = layer.get_weights()
    assert_uniform(kernel[..., :1000], 2.4 / 1)
    assert_uniform(kernel[..., 1000:], 2.4 / 6)
    assert_uniform(bias[:1000], 2.4 / 1)
    assert_uniform(bias[1000:], 2.4 / 6)


def test_c3_starts_as_the_paper_says(rng):
    kernel, bias = c3().get_weights()
    ends = list(itertools.accumulate(len(seen) for seen in C3_TABLE))
    for output, (seen, end) in enumerate(zip(C3_TABLE, ends, strict=True)):
        bound = 2.4 / (25 * len(seen))
        own = kernel[..., end - len(seen) : end]
        assert 0.9 * bound < np.abs(own).max() <= bound
        assert abs(bias[output]) <= bound
