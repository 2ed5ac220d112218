import itertools

import keras
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import zoo
from exporters import source
from exporters.onnx import convert
from exporters.quantization import calibrate, insert, run
from zoo.errors import ZooError


def weights(seed=1):
    generator = np.random.default_rng(seed)
    shapes = {
        "conv1/kernel": (4, 1, 3, 3),
        "conv1/bias": (4,),
        "conv2/kernel": (6, 2, 3, 3),
        "fc/kernel": (24, 5),
        "fc/bias": (5,),
        "out/kernel": (3, 5),
    }
    arrays = {name: generator.normal(0, 0.3, shape).astype("float32") for name, shape in shapes.items()}
    return {**arrays, "conv1/kernel": arrays["conv1/kernel"] / 128}  # of raw pixels


def net(changed=None, opset=13):
    """Return two convolutions (one grouped), a pool, a Gemm and a transposed Gemm, for 8x8 gray images."""
    arrays = {**weights(), **(changed or {}), "flat/shape": np.array([-1, 24], "int64")}
    nodes = [
        helper.make_node("Cast", ["pictures"], ["cast"], "cast", to=1),
        helper.make_node("Conv", ["cast", "conv1/kernel", "conv1/bias"], ["conv1/conv"], "conv1/conv"),
        helper.make_node("Relu", ["conv1/conv"], ["conv1"], "conv1"),
        helper.make_node("Conv", ["conv1", "conv2/kernel"], ["conv2"], "conv2", group=2),
        helper.make_node("MaxPool", ["conv2"], ["pool"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Reshape", ["pool", "flat/shape"], ["flat"], "flat"),
        helper.make_node("Gemm", ["flat", "fc/kernel", "fc/bias"], ["fc/gemm"], "fc/gemm"),
        helper.make_node("Tanh", ["fc/gemm"], ["fc"], "fc"),
        helper.make_node(
            "Gemm", ["fc", "out/kernel", *(["out/bias"] if "out/bias" in arrays else [])], ["scores"], "out", transB=1
        ),
    ]
    ends = [
        helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["batch", 1, 8, 8]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 3]),
    ]
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    model.metadata_props.add(key="zoo", value='{"layout": "NCHW"}')
    return ir.from_proto(model)


@pytest.fixture
def pictures():
    return np.random.default_rng(3).integers(0, 256, (40, 8, 8, 1), "uint8")


@pytest.fixture
def ranges(pictures):
    return calibrate.ranges(net(), insert.tensors(net()), pictures, "minmax")


def constants(model):
    return {name: value.const_value.numpy() for name, value in model.graph.initializers.items()}


def operators(model, kind):
    return [node for node in model.graph if node.op_type == kind]


def fake(x, largest, levels=127):
    """Round float32 values to multiples of largest / levels, in float64."""
    step = np.float64(np.float32(largest) / np.float32(levels))
    return np.clip(np.rint(x / step), -128, 127) * step


def fake_rows(weight, axis, levels):
    """Round each output channel of a weight to multiples of its largest magnitude / levels."""
    rows = np.moveaxis(weight, axis, 0)
    return np.moveaxis(np.stack([fake(row.astype("float64"), np.abs(row).max(), levels) for row in rows]), 0, axis)


def convolved(x, kernel, bias=0.0, groups=1):
    inside, outside = kernel.shape[1], kernel.shape[0] // groups
    result = np.zeros((len(x), kernel.shape[0], x.shape[2] - 2, x.shape[3] - 2))
    for channel in range(kernel.shape[0]):
        first = channel // outside * inside
        for row in range(result.shape[2]):
            for column in range(result.shape[3]):
                window = x[:, first : first + inside, row : row + 3, column : column + 3]
                result[:, channel, row, column] = (window * kernel[channel]).sum(axis=(1, 2, 3))
    return result + np.reshape(bias, (1, -1, 1, 1))


def simulated(pictures, ranges, arrays, levels):
    """The INT8 model in NumPy, with weights of that many positive levels."""
    x = fake(pictures.transpose(0, 3, 1, 2).astype("float64"), ranges["cast"])
    x = convolved(x, fake_rows(arrays["conv1/kernel"], 0, levels), arrays["conv1/bias"])
    x = fake(np.maximum(x, 0), ranges["conv1"])
    x = fake(convolved(x, fake_rows(arrays["conv2/kernel"], 0, levels), groups=2), ranges["conv2"])
    x = x.reshape(len(x), 6, 2, 2, 2, 2).max(axis=(3, 5)).reshape(len(x), 24)
    x = fake(x @ fake_rows(arrays["fc/kernel"], 1, levels) + arrays["fc/bias"], ranges["fc/gemm"])
    x = fake(np.tanh(x), ranges["fc"])
    return x @ fake_rows(arrays["out/kernel"], 0, levels).T


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("bias", [None, np.array([0.5, -1, 2], "float32")])
def test_result_equals_a_naive_simulation(pictures, ranges, bias, full_range):
    model = net() if bias is None else net({"out/bias": bias})
    output = run.scores(run.session(insert.quantize(model, ranges, full_range=full_range)), pictures)
    expected = simulated(pictures, ranges, weights(), 127 if full_range else 64) + (0 if bias is None else bias)
    full = run.scores(run.session(model), pictures)
    # Where a sum lies between two multiples, another order of the additions may round it the other way, and few do.
    apart = np.abs(output - expected).max(axis=1)
    assert np.median(apart) < 1e-5
    assert apart.max() < np.abs(full - expected).max()
    assert np.abs(full - expected).max() < 0.1 * np.abs(full).max()


def test_structure_is_the_one_that_tensorrt_requires(ranges):
    model = insert.quantize(net(), ranges)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert (model.ir_version, dict(model.opset_imports)) == (8, {"": 13})
    arrays = constants(model)
    for node in operators(model, "QuantizeLinear"):
        assert arrays[node.inputs[2].name].dtype == np.int8
        assert arrays[node.inputs[2].name].shape == ()
        assert [use.node.op_type for use in node.outputs[0].uses()] == ["DequantizeLinear"]
    for node in operators(model, "QuantizeLinear") + operators(model, "DequantizeLinear"):
        scale, zero = (arrays[value.name] for value in node.inputs[1:])
        assert (scale > 0).all()
        assert (scale.dtype, zero.dtype, zero.shape) == (np.float32, np.int8, scale.shape)
        assert not zero.any()
    axes = {
        node.inputs[0].name: node.attributes.get_int("axis")
        for node in operators(model, "DequantizeLinear")
        if "axis" in node.attributes
    }
    assert axes == {
        "conv1/kernel_quantized": 0,
        "conv2/kernel_quantized": 0,
        "fc/kernel_quantized": 1,
        "out/kernel_quantized": 0,
    }
    assert {name: arrays[name].dtype for name in ("conv1/bias", "fc/bias")} == {"conv1/bias": "f4", "fc/bias": "f4"}
    for name, array in weights().items():
        if name.endswith("kernel"):
            assert name not in arrays
            assert arrays[f"{name}_quantized"].shape == array.shape
            assert np.abs(arrays[f"{name}_quantized"].astype(int)).max() == 64
    assert arrays["conv1/kernel_scale"].shape == (4,)


def test_data_movement_keeps_the_scale(ranges):
    model = insert.quantize(net(), ranges)
    quantized = {node.inputs[0].name: node.inputs[1].name for node in operators(model, "QuantizeLinear")}
    assert quantized == {
        "cast": "cast/scale",
        "conv1/conv": "conv1/scale",
        "conv1": "conv1/scale",
        "conv2": "conv2/scale",
        "pool": "conv2/scale",
        "flat": "conv2/scale",
        "fc/gemm": "fc/gemm/scale",
        "fc": "fc/scale",
    }
    for node in (
        operators(model, "MaxPool") + operators(model, "Reshape") + operators(model, "Gemm") + operators(model, "Conv")
    ):
        assert node.inputs[0].producer().op_type == "DequantizeLinear"
    assert set(ranges) == {"cast", "conv1", "conv2", "fc/gemm", "fc"}


def test_conversion_is_deterministic_and_does_not_modify_the_model(ranges):
    model = net()
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    files = {ir.to_proto(insert.quantize(model, ranges)).SerializeToString(deterministic=True) for _ in range(3)}
    assert len(files) == 1
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def optimize(model, folder):
    """Write the graph that onnxruntime optimizes a model to, and return its path."""
    ir.save(model, folder / "model.onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    return folder / "optimized.onnx"


def test_onnxruntime_computes_in_integers(ranges, tmp_path):
    """Also the last layer, which has a bias and float32 output."""
    bias = {"out/bias": np.array([1, -2, 3], "float32")}
    operators = [node.op_type for node in onnx.load(optimize(insert.quantize(net(bias), ranges), tmp_path)).graph.node]
    assert [operators.count(name) for name in ("QLinearConv", "QGemm", "Conv", "FusedConv", "Gemm")] == [2, 2, 0, 0, 0]


def test_zero_channels_and_activations_have_a_scale(pictures, ranges):
    kernel = weights()["conv1/kernel"]
    kernel[2] = 0
    model = insert.quantize(net({"conv1/kernel": kernel}), {**ranges, "fc": 0.0})
    assert constants(model)["conv1/kernel_scale"][2] == np.float32(1 / 127)
    assert constants(model)["fc/scale"] == np.float32(1 / 127)
    assert np.isfinite(run.scores(run.session(model), pictures)).all()


def test_excluded_layers_keep_their_weights(ranges):
    model = insert.quantize(net(), ranges, ["conv2", "out"])
    arrays = constants(model)
    for name in ("conv2/kernel", "out/kernel"):
        np.testing.assert_array_equal(arrays[name], weights()[name])
    assert {"conv1/kernel_quantized", "fc/kernel_quantized"} <= set(arrays)
    assert "fc" not in {node.inputs[0].name for node in operators(model, "QuantizeLinear")}


def test_invalid_exclusions_and_opsets_are_errors(ranges):
    with pytest.raises(ZooError, match=r"no layer 'conv'.*did you mean 'conv2' or 'conv1'"):
        insert.quantize(net(), ranges, ["conv"])
    with pytest.raises(ZooError, match="no layer with constant weights remains"):
        insert.quantize(net(), ranges, list(insert.layers(net())))
    with pytest.raises(ZooError, match="opset 13 or later; given was 12"):
        insert.quantize(net(opset=12), ranges)


def test_a_model_without_a_layer_to_quantize_is_an_error_that_names_its_products():
    transposed = keras.Sequential([keras.Input((6, 6, 3)), keras.layers.Conv2DTranspose(2, 2)])
    with pytest.raises(ZooError, match=r"no convolution or dense layer to quantize; ConvTranspose cannot be quantized"):
        insert.quantize(convert.convert(source.find(transposed)), {})


def test_shared_weight_is_duplicated():
    """onnxruntime does not support a shared weight with exact sums, which the verification uses."""
    nodes = [
        helper.make_node("Gemm", ["x", "twice/kernel"], ["first"], "first"),
        helper.make_node("Gemm", ["first", "twice/kernel"], ["scores"], "second"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("x", "scores")]
    kernel = numpy_helper.from_array(np.random.default_rng(2).normal(size=(4, 4)).astype("float32"), "twice/kernel")
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], [kernel])
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8))
    assert insert.tensors(model) == ["x", "first"]
    quantized = insert.quantize(model, {"x": 1.0, "first": 4.0})
    onnx.checker.check_model(ir.to_proto(quantized), full_check=True)
    arrays = {name: array for name, array in constants(quantized).items() if name.endswith("_quantized")}
    first, second = arrays.pop("twice/kernel_quantized"), arrays.pop("twice/kernel_2_quantized")
    np.testing.assert_array_equal(first, second)
    assert not arrays and "twice/kernel" not in constants(quantized)
    x = np.eye(4, dtype="float32")
    expected = x @ numpy_helper.to_array(kernel) @ numpy_helper.to_array(kernel)
    np.testing.assert_allclose(run.session(quantized).run(None, {"x": x})[0], expected, atol=0.1)


def test_float32_pool_stays_float32_in_onnxruntime(pictures, tmp_path):
    nodes = [
        helper.make_node("Cast", ["pictures"], ["cast"], "cast", to=1),
        helper.make_node("Conv", ["cast", "conv1/kernel"], ["conv1"], "conv1"),
        helper.make_node("LRN", ["conv1"], ["norm"], "norm", size=3),
        helper.make_node("MaxPool", ["norm"], ["pool"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["pool", "conv2/kernel"], ["scores"], "conv2", group=2),
    ]
    ends = [
        helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["batch", 1, 8, 8]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 6, 1, 1]),
    ]
    constants = [numpy_helper.from_array(weights()[name], name) for name in ("conv1/kernel", "conv2/kernel")]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], constants)
    full = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8))
    full.metadata_props["zoo"] = '{"layout": "NCHW"}'
    ranges = calibrate.ranges(full, insert.tensors(full), pictures, "minmax")
    quantized = insert.quantize(full, ranges)
    clipped = next(node for node in quantized.graph if node.op_type == "Clip")
    assert clipped.inputs[0].name == "pool"
    optimized = onnx.load(optimize(quantized, tmp_path))
    pool = next(node for node in optimized.graph.node if node.op_type == "MaxPool")
    (before,) = [node for node in optimized.graph.node if pool.input[0] in node.output]
    assert before.op_type != "QuantizeLinear"
    output, expected = (run.scores(run.session(model), pictures) for model in (quantized, full))
    np.testing.assert_allclose(output, expected, atol=0.05 * np.abs(expected).max())


def test_layer_that_reads_squares_is_not_quantized():
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["square"], "square"),
        helper.make_node("Reshape", ["square", "shape"], ["moved"], "moved"),
        helper.make_node("Gemm", ["moved", "norm/band"], ["norm"], "norm"),
        helper.make_node("Gemm", ["norm", "fc/kernel"], ["scores"], "fc"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("x", "scores")]
    eye = np.eye(4, dtype="float32")
    arrays = {"shape": np.array([-1, 4], "int64"), "norm/band": eye, "fc/kernel": eye}
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], constants)
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8))
    assert list(insert.layers(model)) == ["fc"]


def test_exclusions_need_no_additional_ranges(ranges):
    layers = list(insert.layers(net()))
    for count in range(len(layers)):
        for left_out in itertools.combinations(layers, count):
            assert set(insert.tensors(net(), left_out)) <= set(ranges)
            onnx.checker.check_model(ir.to_proto(insert.quantize(net(), ranges, left_out)), full_check=True)


def test_scales_and_integers_are_those_of_the_formula():
    weight = np.array([[-1.0, 0.5, 0.25], [0, 0, 0], [254, -127, 1]], "float32")
    scales = insert.scale(np.abs(weight).max(axis=1))
    np.testing.assert_array_equal(scales, np.array([1 / 127, 1 / 127, 2], "float32"))
    expected = [[-127, 64, 32], [0, 0, 0], [127, -64, 0]]  # 63.5 and -63.5 and 0.5 are halfway: to the even
    np.testing.assert_array_equal(insert.to_int8(weight, scales, 0), expected)


@pytest.mark.slow("quantizes AlexNet at full size")
@pytest.mark.parametrize(("exclude", "full_range"), [((), True), (("local3", "local4"), False)])
def test_model_of_the_zoo_keeps_names_and_values(exclude, full_range):
    keras.utils.set_random_seed(4)
    full = convert.convert(source.find(zoo.load("alexnet-cifar")))
    pictures = np.random.default_rng(7).integers(0, 256, (16, 24, 24, 3), "uint8")
    ranges = calibrate.ranges(full, insert.tensors(full), pictures, "minmax")
    quantized = insert.quantize(full, ranges, exclude, full_range)
    named = {value.name for node in full.graph for value in node.outputs}
    assert named <= {value.name for node in quantized.graph for value in node.outputs}
    expected, output = (run.scores(run.session(model), pictures) for model in (full, quantized))
    assert np.abs(output - expected).mean() < 0.05 * np.abs(expected).mean()
