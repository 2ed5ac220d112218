"""engine.build with a real builder of NVIDIA's: TensorRT-RTX, which parses and builds on the CPU, and whose engines no board
runs."""

import platform

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from exporters.runner.board import engine
from exporters.runner.board.files import BundleError

pytestmark = pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="tensorrt_rtx has no wheel for this machine"
)

BUNDLE = {
    "precision": "fp32",
    "input": {"name": "pictures", "dtype": "uint8", "shape": [1, 4, 4]},
    "profile": {"min": 1, "opt": 2, "max": 5},
    "workspace_mb": 16,
}


def write(path, operator="Relu", batch="batch"):
    """Write a small net: raw pixels, a cast, an operator, a matrix."""
    weights = numpy_helper.from_array(np.random.default_rng(0).normal(size=(16, 3)).astype("float32"), "weights")
    nodes = [
        helper.make_node("Cast", ["pictures"], ["values"], name="to float", to=TensorProto.FLOAT),
        helper.make_node(operator, ["values"], ["active"], name="strange one"),
        helper.make_node("Flatten", ["active"], ["row"], name="row"),
        helper.make_node("MatMul", ["row", "weights"], ["scores"], name="matrix"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("pictures", TensorProto.UINT8, [batch, 1, 4, 4])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 3])],
        [weights],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def trt():
    import tensorrt_rtx

    return tensorrt_rtx


@pytest.mark.parametrize("batch", ["batch", 2])
def test_builder_returns_an_engine(trt, tmp_path, batch):
    messages = []
    log = engine.logger(trt, lambda severity, message: messages.append(message))
    content = engine.build(trt, write(tmp_path / "m.onnx", batch=batch), BUNDLE, log=log)
    assert type(content) is bytes and len(content) > 1000
    assert messages and not log.errors


def test_error_names_the_unsupported_node(trt, tmp_path):
    with pytest.raises(BundleError, match=r"cannot read .*m.onnx: .*strange one \(Unheard\)"):
        engine.build(trt, write(tmp_path / "m.onnx", "Unheard"), BUNDLE)


def test_invalid_model_is_an_error(trt, tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(BundleError, match=r"cannot read .*m\.onnx: .*arse"):
        engine.build(trt, tmp_path / "m.onnx", BUNDLE)


def test_failed_build_raises_with_the_message_of_the_builder(trt, tmp_path):
    """Of a net whose batch is free the builder needs a profile; one that excludes itself is as good as none."""
    with pytest.raises(BundleError, match=r"makes no engine of .*m\.onnx: .*smaller --workspace than 16"):
        engine.build(trt, write(tmp_path / "m.onnx"), BUNDLE, {"min": 4, "opt": 2, "max": 1})


def test_missing_dla_is_an_error(trt, tmp_path):
    with pytest.raises(BundleError, match="there is no DLA core 0"):
        engine.build(trt, write(tmp_path / "m.onnx"), BUNDLE, dla_core=0)


def test_calibration_table_is_an_error_with_strong_typing(trt, tmp_path):
    with pytest.raises(BundleError, match="takes no calibration table"):
        engine.build(trt, write(tmp_path / "m.onnx"), BUNDLE, ranges={"active": 3.0})


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({}, (1, 8, 64)),
        ({"most": 4}, (1, 4, 4)),
        ({"most": 100}, (1, 8, 100)),
        ({"least": 16}, (16, 16, 64)),
        ({"best": 128}, (1, 128, 128)),
        ({"least": 2, "best": 3, "most": 4}, (2, 3, 4)),
        ({"dla": True}, (8, 8, 8)),
        ({"dla": True, "best": 2}, (2, 2, 2)),
        ({"dla": True, "most": 8}, (8, 8, 8)),
        ({"dla": True, "most": 4}, (4, 4, 4)),
        ({"dla": True, "least": 100, "most": 100}, (100, 100, 100)),
    ],
)
def test_given_batch_sizes_adjust_the_others(sizes, expected):
    result = engine.shapes({"profile": {"min": 1, "opt": 8, "max": 64}}, **sizes)
    assert (result["min"], result["opt"], result["max"]) == expected


def test_two_batch_sizes_on_dla_are_an_error():
    with pytest.raises(BundleError, match="one batch size; given were 4 and 8"):
        engine.shapes({"profile": {"min": 1, "opt": 8, "max": 64}}, dla=True, least=4, best=8)


@pytest.mark.parametrize("sizes", [{"least": 9, "best": 8}, {"best": 9, "most": 8}, {"least": 9, "most": 8}])
def test_unordered_batch_sizes_are_an_error(sizes):
    with pytest.raises(BundleError, match="the smallest first"):
        engine.shapes({"profile": {"min": 1, "opt": 8, "max": 64}}, **sizes)
