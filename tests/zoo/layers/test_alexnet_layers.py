"""AlexNet's parts against naive loops that follow the papers and the authors' code, on whatever backend runs."""

import keras
import numpy as np
import pytest

from zoo.layers import GroupedConv2D, LocallyConnected2D, LocalResponseNormalization, WithinMapNormalization
from zoo.layers.local_response_normalization import DIVIDES_ALPHA

VECTOR = [100.0, -50.0, 20.0, 0.0, 10.0, 200.0]  # the activity of six maps at one place


@pytest.fixture
def rng():
    keras.utils.set_random_seed(3)
    return np.random.default_rng(3)


def run(layer, x):
    return keras.ops.convert_to_numpy(layer(np.asarray(x, "float32")))


def normalized(x, size, alpha, beta, k, groups=1):
    """Normalize across maps, in loops."""
    y = np.zeros(x.shape)
    maps = x.shape[-1] // groups
    for *place, i in np.ndindex(x.shape):
        first = i // maps * maps
        window = range(max(first, i - size // 2), min(first + maps, i + size // 2 + 1))
        activity = sum(x[(*place, j)] ** 2 for j in window)
        y[(*place, i)] = x[(*place, i)] / (k + alpha * activity) ** beta
    return y


@pytest.mark.parametrize(
    "convention, k, expected",
    [("paper", 2.0, 40.936), ("cuda-convnet", 2.0, 54.288), ("caffe", 1.0, 84.186)],
)
def test_three_readings_of_one_formula(convention, k, expected):
    """With the same n, alpha and beta the paper's text, its authors' code and Caffe give three numbers."""
    layer = LocalResponseNormalization.of(convention, 5, 1e-4, 0.75, k)
    assert run(layer, [[[VECTOR]]])[0, 0, 0, 0] == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"size": 3, "alpha": 0.3},
        {"size": 9, "beta": 0.5, "k": 1.0},
        {"alpha": 0.1, "groups": 2},
        {"size": 1, "alpha": 2.0},
    ],
    ids=str,
)
def test_normalization_across_maps(options, rng):
    x = rng.normal(size=(2, 3, 4, 8)) * 10
    settings = {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 2.0, **options}
    np.testing.assert_allclose(run(LocalResponseNormalization(**options), x), normalized(x, **settings), rtol=2e-5)


def test_two_groups_are_two_layers(rng):
    """A window does not reach into the maps of the other group: each is normalized as if it were alone."""
    x = rng.normal(size=(2, 3, 3, 6)) * 50
    together = run(LocalResponseNormalization(groups=2), x)
    apart = [run(LocalResponseNormalization(), part) for part in np.split(x, 2, axis=-1)]
    np.testing.assert_allclose(together, np.concatenate(apart, axis=-1), rtol=1e-6)
    assert np.abs(together - run(LocalResponseNormalization(), x)).max() > 1


def test_convention_of_onnx(rng):
    """onnxruntime computes it; the reference evaluator of ONNX does not get beyond as many maps as there are pictures."""
    import onnxruntime
    from onnx import TensorProto, helper

    x = rng.normal(size=(2, 3, 4, 8)).astype("float32") * 10
    node = helper.make_node("LRN", ["x"], ["y"], size=5, alpha=0.02, beta=0.75, bias=1.5)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, 8, 3, 4)) for name in "xy"]
    model = helper.make_model(
        helper.make_graph([node], "g", ends[:1], ends[1:]), opset_imports=[helper.make_opsetid("", 13)]
    )
    model.ir_version = 8
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x.transpose(0, 3, 1, 2)})
    layer = LocalResponseNormalization.of("onnx", 5, 0.02, 0.75, 1.5)
    np.testing.assert_allclose(run(layer, x).transpose(0, 3, 1, 2), expected, rtol=1e-5)


def test_all_conventions_are_tried():
    assert set(DIVIDES_ALPHA) == {"paper", "cuda-convnet", "caffe", "onnx", "tensorflow", "pytorch"}
    with pytest.raises(ValueError, match="paper, cuda-convnet, caffe"):
        LocalResponseNormalization.of("theano", 5, 1e-4, 0.75, 2.0)


def test_half_precision_does_not_overflow():
    """300² is more than float16 holds."""
    x = np.full((1, 1, 1, 8), 300.0, "float16")
    found = run(LocalResponseNormalization(dtype="float16"), x)
    np.testing.assert_allclose(found, normalized(x.astype("float64"), 5, 1e-4, 0.75, 2.0), rtol=2e-3)
    within = run(WithinMapNormalization(dtype="float16"), x)
    np.testing.assert_allclose(within, 300 / (1 + 0.001 / 25 * 300**2) ** 0.75, rtol=2e-3)


@pytest.mark.parametrize("options", [{}, {"size": 3, "alpha": 0.2, "k": 2.0}, {"beta": 0.5, "alpha": 0.1}], ids=str)
def test_normalization_within_maps(options, rng):
    x = rng.normal(size=(2, 6, 7, 3)) * 30
    settings = {"size": 5, "alpha": 0.001 / 25, "beta": 0.75, "k": 1.0, **options}
    reach = settings["size"] // 2
    expected = np.zeros(x.shape)
    for b, i, j, m in np.ndindex(x.shape):
        rows, columns = range(max(0, i - reach), min(6, i + reach + 1)), range(max(0, j - reach), min(7, j + reach + 1))
        activity = sum(x[b, u, v, m] ** 2 for u in rows for v in columns)
        expected[b, i, j, m] = x[b, i, j, m] / (settings["k"] + settings["alpha"] * activity) ** settings["beta"]
    np.testing.assert_allclose(run(WithinMapNormalization(**options), x), expected, rtol=2e-5)


def test_grouped_convolution(rng):
    """Each group of output maps sees its own group of input maps and no other."""
    layer = GroupedConv2D(6, 3, groups=2, padding="same", activation="relu")
    x = rng.normal(size=(2, 4, 5, 8))
    layer.build(x.shape)
    kernel, bias = rng.normal(size=(3, 3, 4, 6)), rng.normal(size=6)
    layer.set_weights([kernel, bias])
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = np.zeros((2, 4, 5, 6))
    for b, i, j, o in np.ndindex(expected.shape):
        seen = slice(4 * (o // 3), 4 * (o // 3) + 4)
        expected[b, i, j, o] = max(0, np.sum(padded[b, i : i + 3, j : j + 3, seen] * kernel[..., o]) + bias[o])
    np.testing.assert_allclose(run(layer, x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"strides": 2}, {"padding": "same"}, {"dilation_rate": 2}], ids=str)
def test_grouped_convolution_is_that_of_keras(options, rng):
    x = rng.normal(size=(2, 9, 9, 4)).astype("float32")
    ours, theirs = GroupedConv2D(8, 3, groups=4, **options), keras.layers.Conv2D(8, 3, groups=4, **options)
    ours.build(x.shape), theirs.build(x.shape)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(run(ours, x), run(theirs, x), rtol=1e-4, atol=1e-5)
    again = GroupedConv2D.from_config(ours.get_config())
    assert (again.groups, again.filters) == (4, 8)


def test_layer_without_shared_kernels(rng):
    layer = LocallyConnected2D(3, 3, "relu")
    x = rng.normal(size=(2, 4, 5, 2))
    layer.build(x.shape)
    kernel, bias = rng.normal(size=(4, 5, 18, 3)), rng.normal(size=(4, 5, 3))
    layer.set_weights([kernel, bias])
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = np.zeros((2, 4, 5, 3))
    for b, i, j, o in np.ndindex(expected.shape):
        window = padded[b, i : i + 3, j : j + 3].ravel()  # row, column, map
        expected[b, i, j, o] = max(0, window @ kernel[i, j, :, o] + bias[i, j, o])
    np.testing.assert_allclose(run(layer, x), expected, rtol=1e-4, atol=1e-5)
    net = keras.Sequential([keras.Input(x.shape[1:]), layer])
    assert net.layers[0].connections() == (4 * 5 * 3 * 19, 4 * 5 * 3 * 18)


@pytest.mark.parametrize("kind", [LocalResponseNormalization, WithinMapNormalization, LocallyConnected2D])
def test_a_window_has_a_middle(kind):
    with pytest.raises(ValueError, match="middle"):
        kind(3, 4) if kind is LocallyConnected2D else kind(4)


def test_maps_that_are_no_groups():
    with pytest.raises(ValueError, match="7 maps cannot be divided into 2 equal groups"):
        LocalResponseNormalization(groups=2).build((None, 3, 3, 7))


@pytest.mark.parametrize(
    "layer",
    [
        LocalResponseNormalization(3, 0.1, 0.5, 1.5, 2),
        WithinMapNormalization(3, 0.1, 0.5, 2.0),
        GroupedConv2D(4, 3, groups=2, padding="same", activation="tanh"),
        LocallyConnected2D(3, 3, "tanh", "he_normal"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_saved_and_loaded(layer, tmp_path, rng):
    x = rng.normal(size=(2, 5, 5, 4)).astype("float32")
    image = keras.Input(x.shape[1:])
    model = keras.Model(image, type(layer).from_config(layer.get_config())(image))
    model.save(tmp_path / "layer.keras")
    np.testing.assert_array_equal(run(keras.saving.load_model(tmp_path / "layer.keras"), x), run(model, x))
