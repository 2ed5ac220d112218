"""Conversion to float16."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import zoo
from exporters import source
from exporters.onnx import convert, half
from zoo.errors import ZooError


def graph(nodes, constants, shape=(4,), pixels=TensorProto.UINT8):
    """Return a graph from (batch, *shape) images to scores."""
    ends = [
        helper.make_tensor_value_info("pictures", pixels, ["batch", *shape]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, None),
    ]
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    proto = helper.make_graph(nodes, "net", ends[:1], ends[1:], tensors)
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return ir.from_proto(onnx.shape_inference.infer_shapes(model))


def dense(weight, pixels=TensorProto.UINT8):
    """Return a graph: pictures -> / 255 -> Gemm -> Relu -> / 2."""
    source = "cast" if pixels == TensorProto.UINT8 else "pictures"
    nodes = [
        *([helper.make_node("Cast", ["pictures"], ["cast"], "cast", to=1)] if source == "cast" else []),
        helper.make_node("Mul", [source, "scale/factor"], ["scale"], "scale"),
        helper.make_node("Gemm", ["scale", "fc/kernel", "fc/bias"], ["fc/gemm"], "fc/gemm"),
        helper.make_node("Relu", ["fc/gemm"], ["fc"], "fc"),
        helper.make_node("Mul", ["fc", "halve/factor"], ["scores"], "halve"),
    ]
    constants = {
        "scale/factor": np.float32(1 / 255),
        "fc/kernel": weight,
        "fc/bias": np.array([0.1, -0.2, 0.3], "float32"),
        "halve/factor": np.float32(0.5),
    }
    return graph(nodes, constants, pixels=pixels)


def run(model, pictures):
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"pictures": pictures})[0]


def casts(model):
    return {node.outputs[0].name: node.inputs[0].name for node in model.graph if node.op_type == "Cast"}


def dtypes(model):
    return {name: value.const_value.dtype.numpy() for name, value in model.graph.initializers.items()}


@pytest.fixture
def weight():
    return np.random.default_rng(1).normal(size=(4, 3)).astype("float32")


@pytest.fixture
def pictures():
    return np.random.default_rng(2).integers(0, 256, (20, 4), "uint8")


def test_result_equals_numpy_in_float16(weight, pictures):
    def rounded(array):
        return np.asarray(array, "float64").astype("float16").astype("float64")

    x = rounded(pictures * rounded(1 / 255))
    x = rounded(x @ rounded(weight) + rounded([0.1, -0.2, 0.3]))
    expected = rounded(np.maximum(x, 0) * 0.5)
    output = run(half.to_half(dense(weight)), pictures)
    # What lies halfway may be rounded either way, once: by a unit in the last of 11 digits.
    np.testing.assert_allclose(output, expected, rtol=2**-9, atol=1e-4)
    assert (output != run(dense(weight), pictures)).any()


def test_everything_except_input_and_output_is_float16(weight):
    model = half.to_half(dense(weight))
    assert {str(dtype) for dtype in dtypes(model).values()} == {"float16"}
    assert set(dtypes(model)) == {"scale/factor", "fc/kernel", "fc/bias", "halve/factor"}
    assert casts(model) == {"cast": "pictures", "scores": "scores/half"}
    assert model.graph.inputs[0].dtype == ir.DataType.UINT8
    assert model.graph.outputs[0].dtype == ir.DataType.FLOAT
    inner = {value.name: value.dtype for node in model.graph for value in node.outputs}
    assert inner["fc"] == inner["fc/gemm"] == ir.DataType.FLOAT16


def test_scores_can_be_float16(weight, pictures):
    model = half.to_half(dense(weight), "float16")
    assert casts(model) == {"cast": "pictures"}
    output = run(model, pictures)
    assert output.dtype == np.float16
    np.testing.assert_array_equal(output, run(half.to_half(dense(weight)), pictures).astype("float16"))
    with pytest.raises(ZooError, match="float32 or float16; given was 'bfloat16'"):
        half.to_half(dense(weight), "bfloat16")


def test_pixels_in_float32_are_cast_once(weight, pictures):
    model = half.to_half(dense(weight, TensorProto.FLOAT))
    assert casts(model) == {"pictures/half": "pictures", "scores": "scores/half"}
    assert model.graph.inputs[0].dtype == ir.DataType.FLOAT
    np.testing.assert_array_equal(run(model, pictures.astype("float32")), run(half.to_half(dense(weight)), pictures))


@pytest.mark.parametrize("name", ["mlp", "neocognitron"])
def test_float32_pixels_are_as_precise_as_uint8(name):
    """In untrained models the weights for raw pixels are below the range of float16 without rescaled pixels."""
    classifier = zoo.load(name)
    small, large = (half.to_half(convert.convert(source.find(classifier, pixels=each))) for each in ("uint8", "float32"))
    shape = classifier.input_image_shape
    pictures = np.random.default_rng(0).integers(0, 256, (8, shape[2], *shape[:2]), "uint8")
    np.testing.assert_array_equal(run(large, pictures.astype("float32")), run(small, pictures))


def test_conversion_is_deterministic_and_does_not_modify_the_model(weight):
    model = dense(weight)
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    assert len({ir.to_proto(half.to_half(model)).SerializeToString(deterministic=True) for _ in range(3)}) == 1
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("value", [65505, -1e6, np.finfo("float32").max])
def test_weight_above_the_range_is_an_error(weight, value):
    weight[1, 2] = value
    with pytest.raises(ZooError, match="float16 cannot hold fc/kernel, which fc/gemm reads"):
        half.to_half(dense(weight))


def test_weight_entirely_below_the_range_is_an_error(weight):
    with pytest.raises(ZooError, match="float16 cannot hold fc/kernel"):
        half.to_half(dense(weight * 1e-6))


def test_weight_partly_below_the_range_is_accepted(weight, pictures):
    weight[0] *= 1e-9
    output, expected = run(half.to_half(dense(weight)), pictures), run(dense(weight), pictures)
    np.testing.assert_allclose(output, expected, atol=2e-3)


def test_largest_weight_and_zeros_are_accepted(pictures):
    weight = np.zeros((4, 3), "float32")
    assert run(half.to_half(dense(weight)), pictures).shape == (20, 3)
    weight[0, 0] = 65504
    half.to_half(dense(weight))


def test_squares_of_raw_pixels_are_summed_in_float32(pictures):
    nodes = [
        helper.make_node("Cast", ["pictures"], ["cast"], "cast", to=1),
        helper.make_node("ReduceSumSquare", ["cast"], ["squares"], "squares", axes=[1]),
        helper.make_node("Mul", ["squares", "scale/factor"], ["scale"], "scale"),
        helper.make_node("Relu", ["scale"], ["relu"], "relu"),
        helper.make_node("MatMul", ["relu", "fc/kernel"], ["scores"], "fc"),
    ]
    constants = {"scale/factor": np.float32(1e-5), "fc/kernel": np.ones((1, 1), "float32")}
    model = half.to_half(graph(nodes, constants))
    assert {name: str(dtype) for name, dtype in dtypes(model).items()} == {
        "scale/factor": "float32",
        "fc/kernel": "float16",
    }
    # The pixels go to float32 at once, not over float16; and back only before the next layer.
    assert casts(model) == {"cast/single": "pictures", "relu/half": "relu", "scores": "scores/half"}
    expected = (pictures.astype("float64") ** 2).sum(axis=1, keepdims=True) * 1e-5
    np.testing.assert_allclose(run(model, pictures), expected, rtol=2**-10)


def test_normalization_stays_float32():
    nodes = [
        helper.make_node("Cast", ["pictures"], ["cast"], "cast", to=1),
        helper.make_node("LRN", ["cast"], ["norm"], "norm", size=5, alpha=1.0, beta=0.75, bias=1.0),
        helper.make_node("MaxPool", ["norm"], ["pool"], "pool", kernel_shape=[2, 2]),
        helper.make_node("LRN", ["pool"], ["scores"], "again", size=5, alpha=1.0, beta=0.75, bias=1.0),
    ]
    model = graph(nodes, {}, (6, 3, 3))
    pictures = np.full((1, 6, 3, 3), 255, "uint8")
    converted = half.to_half(model)
    assert casts(converted) == {"cast/single": "pictures", "norm/half": "norm", "pool/single": "pool"}
    output = run(converted, pictures)
    assert np.isfinite(output).all()
    np.testing.assert_allclose(output, run(model, pictures), rtol=2**-10)


def test_layer_that_reads_squares_stays_float32():
    """As in LRN that is replaced by a convolution of squares."""
    nodes = [
        helper.make_node("Cast", ["pictures"], ["cast"], "cast", to=1),
        helper.make_node("Mul", ["cast", "cast"], ["square"], "square"),
        helper.make_node("Conv", ["square", "band"], ["activity"], "activity"),
        helper.make_node("Sqrt", ["activity"], ["root"], "root"),
        helper.make_node("Div", ["cast", "root"], ["scores"], "norm"),
    ]
    model = graph(nodes, {"band": np.ones((3, 3, 1, 1), "float32")}, (3, 2, 2))
    pictures = np.full((1, 3, 2, 2), 255, "uint8")
    converted = half.to_half(model)
    assert casts(converted) == {"cast/single": "pictures"}
    np.testing.assert_allclose(run(converted, pictures), np.full((1, 3, 2, 2), 3**-0.5), rtol=1e-6)


def test_arithmetic_with_a_constant_that_float16_cannot_hold_stays_float32(pictures):
    nodes = [
        helper.make_node("Cast", ["pictures"], ["cast"], "cast", to=1),
        helper.make_node("Add", ["cast", "epsilon/value"], ["epsilon"], "epsilon"),
        helper.make_node("Div", ["cast", "epsilon"], ["scores"], "ratio"),
    ]
    pictures[:, 0] = 0
    model = half.to_half(graph(nodes, {"epsilon/value": np.float32(1e-9)}))
    output = run(model, pictures)
    assert np.isfinite(output).all()  # with 1e-9 rounded to 0 it would be 0 / 0
    np.testing.assert_allclose(output, pictures / (pictures + 1e-9), rtol=1e-3)


def test_constant_read_in_both_precisions_exists_in_both():
    nodes = [
        helper.make_node("Cast", ["pictures"], ["cast"], "cast", to=1),
        helper.make_node("Add", ["cast", "shared"], ["first"], "first"),
        helper.make_node("Pow", ["cast", "shared"], ["second"], "second"),
        helper.make_node("Concat", ["first", "second"], ["scores"], "both", axis=1),
    ]
    model = half.to_half(graph(nodes, {"shared": np.float32(2)}))
    assert {name: str(dtype) for name, dtype in dtypes(model).items()} == {"shared": "float32", "shared/half": "float16"}
    np.testing.assert_array_equal(run(model, np.array([[1, 2, 3, 4]], "uint8")), [[3, 4, 5, 6, 1, 4, 9, 16]])


NETS = ("lenet5.mnist", "lenet5-modern.mnist", "linear.mnist-deskewed", "neocognitron.glyphs", "mark1.letters")


@pytest.mark.parametrize("name", NETS)
def test_models_of_the_zoo_give_the_same_result_at_half_the_size(name):
    full = convert.convert(source.find(zoo.load(name)))
    converted = half.to_half(full)
    pictures = source.find(zoo.load(name)).inputs()[0][:64]
    pictures = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
    expected, output = run(full, pictures), run(converted, pictures)
    np.testing.assert_allclose(output, expected, rtol=0.02, atol=0.01 * np.abs(expected).max() + 1e-6)
    sizes = [sum(value.const_value.nbytes for value in model.graph.initializers.values()) for model in (full, converted)]
    assert sizes[1] < 0.6 * sizes[0]
    assert {value.name for node in full.graph for value in node.outputs} <= {
        value.name for node in converted.graph for value in node.outputs
    }


@pytest.mark.mnist
def test_model_that_needs_the_range_of_float32_is_an_error():
    with pytest.raises(ZooError, match="float16 cannot hold"):
        half.to_half(convert.convert(source.find("nearest-neighbor.mnist")))


def test_subgraph_is_an_error():
    branch = helper.make_graph(
        [helper.make_node("Abs", ["cast"], ["inner"])],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("Cast", ["pictures"], ["cast"], "cast", to=1),
        helper.make_node("If", ["always"], ["scores"], "choice", then_branch=branch, else_branch=branch),
    ]
    with pytest.raises(ZooError, match="choice has a subgraph"):
        half.to_half(graph(nodes, {"always": np.array(True)}))
