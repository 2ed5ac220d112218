"""LocalResponseNormalization agrees with loops over the maps, in each convention for its parameters."""

import numpy as np
import pytest

from numeric import run
from zoo.layers import LocalResponseNormalization
from zoo.layers.local_response_normalization import DIVIDES_ALPHA

VECTOR = [100.0, -50.0, 20.0, 0.0, 10.0, 200.0]  # activity of six maps at one position


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
def test_conventions_of_the_paper_its_code_and_caffe_differ(convention, k, expected):
    """With the same n, alpha and beta they give three results."""
    layer = LocalResponseNormalization.of(convention, 5, 1e-4, 0.75, k)
    assert run(layer, np.float32([[[VECTOR]]]))[0, 0, 0, 0] == pytest.approx(expected, abs=5e-4)


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


def test_two_groups_are_normalized_separately(rng):
    """A window does not reach into the maps of the other group."""
    x = rng.normal(size=(2, 3, 3, 6)) * 50
    together = run(LocalResponseNormalization(groups=2), x)
    apart = [run(LocalResponseNormalization(), part) for part in np.split(x, 2, axis=-1)]
    np.testing.assert_allclose(together, np.concatenate(apart, axis=-1), rtol=1e-6)
    assert np.abs(together - run(LocalResponseNormalization(), x)).max() > 1


def test_convention_of_onnx(rng):
    """onnxruntime is the reference: ONNX' reference evaluator fails with more maps than images."""
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


def test_conventions():
    assert set(DIVIDES_ALPHA) == {"paper", "cuda-convnet", "caffe", "onnx", "tensorflow", "pytorch"}
    with pytest.raises(ValueError, match="paper, cuda-convnet, caffe"):
        LocalResponseNormalization.of("theano", 5, 1e-4, 0.75, 2.0)


def test_half_precision_does_not_overflow():
    """300² exceeds float16."""
    x = np.full((1, 1, 1, 8), 300.0, "float16")
    found = run(LocalResponseNormalization(dtype="float16"), x)
    np.testing.assert_allclose(found, normalized(x.astype("float64"), 5, 1e-4, 0.75, 2.0), rtol=2e-3)


def test_size_must_be_odd():
    with pytest.raises(ValueError, match="middle"):
        LocalResponseNormalization(4)


def test_maps_must_be_divisible_into_groups():
    with pytest.raises(ValueError, match="7 maps cannot be divided into 2 equal groups"):
        LocalResponseNormalization(groups=2).build((None, 3, 3, 7))
