"""What NVIDIA's own parser and builder make of all that the zoo exports."""

import itertools
import platform
import sys

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

import exports
import zoo
from exporters import samples, source
from exporters.onnx import convert, files, half, metadata
from exporters.quantization import calibrate, insert
from exporters.tensorrt import rtx
from zoo.errors import ZooError

# Where there is a wheel, one that is not installed fails here.
pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="TensorRT-RTX is for Linux on x86_64"
)
# Pretrained ones that have another graph than the untrained model of their name.
OTHERS = ("adaline.tgf", "linear.mnist-deskewed", "mlp.mnist-300-100", "neocognitron.glyphs", "neocognitron.mnist")
TOO_LARGE = "nearest-neighbor.mnist"  # sums of squares, which float16 does not hold
SQUARES = (
    "norm1/conv",
    "norm2/conv",
    "norm2_within/conv",
    "s1/conv_2",
    "s2/conv_2",
    "s3/conv_2",
)  # what has not the range of fewer bits
PRODUCTS = ("Conv", "Gemm", "MatMul")
STATIC = 8  # pictures at a time


def nets():
    """Every model of the zoo, for any number of images at a time and for a fixed number."""
    for name in (*zoo.list_models(), *OTHERS, TOO_LARGE):
        for batch in (None, STATIC):
            marks = []
            if name == TOO_LARGE:
                marks += [pytest.mark.mnist, pytest.mark.slow("builds engines with a memory of 190 MB")]
            elif batch:
                marks.append(pytest.mark.slow("builds engines that differ in the batch alone"))
            yield pytest.param((name, batch), marks=marks, id=f"{name}-{batch or 'any'}")


@pytest.fixture(scope="module", params=nets())
def built(request, shared_folder, tmp_path_factory):
    """The graphs of a model and what the builder made of them: dict of precision -> (`onnx_ir.Model`, `rtx.Check`)."""
    name, batch = request.param
    path = tmp_path_factory.mktemp("rtx") / "model.onnx"
    full = exports.graph(name, shared_folder)
    images = samples.shipped(metadata.find(full)["picture"])[:8]
    ranges = calibrate.ranges(full, insert.tensors(full), images, "minmax")
    if batch:
        full = convert.convert(source.find(exports.load(name)), batch=batch)
    graphs = {"fp32": full, "int8": insert.quantize(full, ranges)}
    if name != TOO_LARGE:
        graphs["fp16"] = half.to_half(full)
    checks = {}
    for precision, graph in graphs.items():
        files.save(graph, path)
        checks[precision] = graph, rtx.check(path, None if batch else (1, 8, 64))
        path.unlink()
    return checks


def products(graph):
    """The nodes of a graph that multiply with weights or with each other."""
    return [node for node in graph.graph if node.op_type in PRODUCTS]


def types(layer):
    return {*layer.inputs, *layer.constants, *layer.outputs}


def test_every_file_is_accepted(built):
    for graph, check in built.values():
        assert check.engine_bytes > 0 and check.version.startswith("1.7.")
        computed = {node for layer in check.layers for node in layer.nodes}
        assert computed >= {node.name for node in products(graph)}
        assert "UInt8" in {each for layer in check.layers for each in layer.inputs}  # the pictures


def test_float32_layers_are_float32(built):
    _, check = built["fp32"]
    assert not {"Half", "BFloat16", "Int8", "FP8"} & {each for layer in check.layers for each in types(layer)}


def test_float16_layers_multiply_float16(built):
    if "fp16" not in built:
        pytest.skip("its sums of squares are beyond float16")
    graph, check = built["fp16"]
    for node in products(graph):
        layers = [layer for layer in check.layers if node.name in layer.nodes]
        assert "Half" in {each for layer in layers for each in types(layer)} or node.name in SQUARES
    for layer in check.layers:
        assert not layer.multiplies or layer.inputs[0] == "Half" or set(SQUARES) & set(layer.nodes)


def test_int8_layers_multiply_int8(built):
    """But those of squares, which stay float32."""
    graph, check = built["int8"]
    expected = {node.name for node in products(graph) if has_weights(node)} - set(SQUARES)
    quantized = [layer for layer in check.layers if layer.multiplies and layer.inputs[0] == layer.constants[0] == "Int8"]
    assert {layer.nodes[0] for layer in quantized} == expected and len(quantized) == len(expected) > 0


def has_weights(node):
    above = node.inputs[1].producer()
    return node.inputs[1].const_value or (above and above.op_type == "DequantizeLinear")


def test_large_engines_are_smaller_in_lower_precision(built):
    """Their size is that of the weights."""
    bytes_of = {precision: check.engine_bytes for precision, (_, check) in built.items()}
    if bytes_of["fp32"] > 50e6:
        assert bytes_of["int8"] < 0.3 * bytes_of["fp32"]
        assert bytes_of.get("fp16", 0) < 0.55 * bytes_of["fp32"]


def test_parser_supports_the_whole_graph(built):
    """Asked another way: it is one part, which holds every node."""
    import tensorrt_rtx as trt

    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    for graph, _ in built.values():
        network = builder.create_network(0)  # the parser does not keep it
        parser = trt.OnnxParser(network, logger)
        assert parser.supports_model_v2(ir.to_proto(graph).SerializeToString())
        assert parser.num_subgraphs == 1 and parser.is_subgraph_supported(0)
        assert len(parser.get_subgraph_nodes(0)) == len(graph.graph)


def test_float32_pixels_are_accepted(tmp_path):
    """As TensorRT wants them that knows no input in UINT8."""
    original = source.find(zoo.load("lenet5"), pixels="float32")
    full = convert.convert(original)
    ranges = calibrate.ranges(full, insert.tensors(full), samples.shipped(original.classifier.image_spec)[:8], "minmax")
    for graph, kind in ((full, "Float"), (half.to_half(full), "Half"), (insert.quantize(full, ranges), "Int8")):
        files.save(graph, tmp_path / "model.onnx")
        check = rtx.check(tmp_path / "model.onnx")
        assert [layer.inputs[0] for layer in check.layers if layer.multiplies] == [kind] * 6  # five convolutions and a Gemm
        assert check.line().endswith(f"types of the layers with weights: 6 {kind}")


def write(path, *nodes, opset=13, batch="batch", weights=((4, 4), "float32"), **constants):
    """Write a graph from x, (batch, 4) float32, to y."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    tensors.append(numpy_helper.from_array(np.ones(*weights), "w"))
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 4])] for name in "xy"]
    graph = helper.make_graph(nodes, "graph", *ends, tensors)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)
    return path


DENSE = helper.make_node("Gemm", ["x", "w"], ["y"], "dense")


def rounded(*zero):
    """Nodes from x to y that quantize on the way; the zero point may be left out."""
    return (
        helper.make_node("QuantizeLinear", ["x", "scale", *zero], ["q"], "rounding"),
        helper.make_node("DequantizeLinear", ["q", "scale", *zero], ["d"], "back"),
        helper.make_node("Gemm", ["d", "w"], ["y"], "dense"),
    )


@pytest.mark.parametrize(
    ("nodes", "options", "message"),
    [
        pytest.param(
            (DENSE, helper.make_node("Folded", ["y"], ["z"], "strange", domain="own")), {}, "strange .Folded", id="unknown"
        ),
        pytest.param((DENSE, helper.make_node("Unique", ["y"], ["z"], "once")), {}, "once .Unique", id="not supported"),
        pytest.param((DENSE,), {"weights": ((5, 4), "float32")}, "dense .Gemm.* = 4 .* = 5", id="shapes"),
        pytest.param(rounded("zero"), {"zero": np.int8(3)}, "rounding .QuantizeLinear.*zero point", id="asymmetric"),
        pytest.param(rounded("zero"), {"zero": np.uint8(128)}, "QuantizeLinear rounding .*UINT8", id="uint8"),
        # The parser takes these, and computes in INT8, which has half of the values.
        pytest.param(rounded("zero"), {"zero": np.uint8(0)}, "QuantizeLinear rounding .*UINT8", id="uint8 about 0"),
        pytest.param(rounded(), {}, "QuantizeLinear rounding .*UINT8", id="uint8 by default"),
        pytest.param((DENSE,), {"opset": 25}, "opset 25; .* up to 24.* --opset 13", id="opset"),
    ],
)
def test_unsupported_nodes_are_errors_that_name_them(tmp_path, nodes, options, message):
    path = write(tmp_path / "model.onnx", *nodes, scale=np.float32(0.1), **options)
    with pytest.raises(ZooError, match=message):
        rtx.check(path)


def test_supported_variants_of_the_same_graphs_are_accepted(tmp_path):
    for nodes, zero, opset in (((DENSE,), 0, 24), (rounded("zero"), 0, 13)):
        rtx.check(write(tmp_path / "model.onnx", *nodes, opset=opset, scale=np.float32(0.1), zero=np.int8(zero)))


def test_dynamic_batch_needs_a_profile(tmp_path):
    path = write(tmp_path / "any.onnx", DENSE)
    with pytest.raises(ZooError, match=r"the input x of .* has a dynamic batch; give a profile"):
        rtx.check(path, None)
    assert rtx.check(path, (1, 2, 3)).layers
    assert rtx.check(write(tmp_path / "four.onnx", DENSE, batch=4), None).layers


def test_missing_and_truncated_files_are_errors(tmp_path):
    with pytest.raises(ZooError, match=r"no file .*missing\.onnx"):
        rtx.check(tmp_path / "missing.onnx")
    path = write(tmp_path / "cut.onnx", DENSE)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ZooError, match=r"cut\.onnx is truncated"):
        rtx.check(path)


def test_parser_crash_is_an_error(tmp_path):
    """NVIDIA's parser does not notice that the body of this loop gives nothing."""
    body = helper.make_graph([], "body", [], [])
    path = write(tmp_path / "loop.onnx", helper.make_node("Loop", ["", "", "x"], ["y"], "loop", body=body))
    with pytest.raises(ZooError, match=r"loop\.onnx stops NVIDIA's parser or builder: it crashes with SIGSEGV"):
        rtx.check(path)


def test_parser_memory_is_limited(tmp_path, monkeypatch):
    path = write(tmp_path / "model.onnx", DENSE)
    monkeypatch.setattr(rtx, "MEMORY", 2**28)  # less than its library is long
    with pytest.raises(ZooError, match="stops NVIDIA's parser or builder"):
        rtx.check(path)


def test_builder_time_is_limited(tmp_path, monkeypatch):
    """It takes 300 layers of one product each some seconds."""
    tensors = ["x", *(f"t{number}" for number in range(599)), "y"]
    nodes = [
        helper.make_node(*(("Gemm", [input, "w"]) if number % 2 else ("Tanh", [input])), [output], f"node{number}")
        for number, (input, output) in enumerate(itertools.pairwise(tensors))
    ]
    path = write(tmp_path / "deep.onnx", *nodes)
    monkeypatch.setattr(rtx, "SECONDS", 1)
    with pytest.raises(
        ZooError, match=r"deep\.onnx stops NVIDIA's parser or builder: it was stopped after 1 seconds of CPU time"
    ):
        rtx.check(path)


def test_missing_package_names_the_install_command(tmp_path, monkeypatch):
    assert rtx.available()
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    assert not rtx.available()
    with pytest.raises(ZooError, match=r"not installed; .*pip install '\.\[rtx\]'"):
        rtx.check(write(tmp_path / "model.onnx", DENSE))
