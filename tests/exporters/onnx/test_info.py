"""`zoo info` for ONNX files."""

import collections
import json
import math
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import exporters
import zoo

QUICK = """
import sys
from pathlib import Path
from zoo.commands.info import info
info(sys.argv[1], False)
heavy = {"tensorflow", "keras", "onnxruntime", "tf2onnx", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.fixture(scope="module")
def lenet(tmp_path_factory):
    path = tmp_path_factory.mktemp("lenet") / "lenet5.onnx"
    exporters.to_onnx("lenet5.mnist", path)
    return path


@pytest.fixture
def foreign(tmp_path):
    """Return a file that the zoo did not export, with terminal control characters in names."""
    tensors = [numpy_helper.from_array(np.zeros((2, 3), "float32"), "w")]
    sizes = [None, "\x1b[2J", 3]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes) for name in ("a\nb", "y")]
    nodes = [helper.make_node("Relu", ["a\nb"], ["r"]), helper.make_node("Relu", ["r"], ["s"])]
    nodes.append(helper.make_node("Neg", ["s"], ["y"]))
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    proto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 3)], ir_version=8
    )
    onnx.save(proto, tmp_path / "foreign.onnx")
    return tmp_path / "foreign.onnx"


def test_info_of_an_exported_file(lenet, zoo_in_process):
    result = zoo_in_process("info", lenet)
    assert (result.returncode, result.stderr) == (0, "")
    convolutions = [node for node in onnx.load(lenet).graph.node if node.op_type == "Conv"]
    for words in (
        f"lenet5.onnx: {lenet.stat().st_size:,} bytes",
        "LeNet-5 (1998), fp32, exported from lenet5.mnist",
        "pictures: uint8 (batch, ",
        "scores: float32 (batch, 10)",
        "raw 0-255 pixels of 28x28x1",
        "is resized without distortion and padded with black",
        "classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
        "trained by the recipe lenet5-mnist",
        "test error 0.86 %, measured: zoo evaluate lenet5.mnist --data mnist",
        "Apache-2.0",
        f"Conv {len(convolutions)}",
        f"onnx {onnx.__version__}",
    ):
        assert words in result.stdout
    assert result.stdout.splitlines()[-1] == f"next: zoo verify {lenet}"


def test_json_matches_the_file(lenet, zoo_in_process):
    facts = json.loads(zoo_in_process("info", lenet, "--json").stdout)
    proto = onnx.load(lenet)
    assert facts["operators"] == collections.Counter(node.op_type for node in proto.graph.node)
    assert facts["weights"] == sum(math.prod(tensor.dims) for tensor in proto.graph.initializer)
    assert (facts["opset"], facts["ir_version"]) == ({"": 13}, 8)
    assert [end["name"] for end in facts["inputs"] + facts["outputs"]] == ["pictures", "scores"]
    assert facts["about"] == json.loads(proto.metadata_props[0].value)
    assert facts["about"]["class_names"] == list(zoo.card("lenet5.mnist").weights["mnist"].class_names)


def test_info_of_a_foreign_file(foreign, zoo_in_process):
    result = zoo_in_process("info", foreign)
    assert (result.returncode, result.stderr) == (0, "")
    assert "not exported by the zoo" in result.stdout and "next:" not in result.stdout
    assert "6 numbers in weights; 3 nodes: Relu 2, Neg 1" in result.stdout
    assert "opset 17, own 3, IR 8" in result.stdout
    assert r"input   a\nb: float32 (?, \x1b[2J, 3)" in result.stdout.splitlines()
    assert result.stdout.replace("\n", "").isprintable()
    facts = json.loads(zoo_in_process("info", foreign, "--json").stdout)
    assert facts["about"] is None and facts["inputs"] == [
        {"name": "a\nb", "dtype": "float32", "shape": [None, "\x1b[2J", 3]}
    ]


def test_damaged_file_is_an_error_of_one_line(lenet, tmp_path, zoo_in_process):
    (tmp_path / "half.onnx").write_bytes(lenet.read_bytes()[:100_000])
    for name, reason in {"half.onnx": "is truncated", "missing.onnx": "no file missing.onnx"}.items():
        result = zoo_in_process("info", name, cwd=tmp_path)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.startswith("zoo: ") and reason in result.stderr and result.stderr.count("\n") == 1


def test_info_does_not_import_keras(foreign):
    subprocess.run([sys.executable, "-c", QUICK, str(foreign)], check=True, stdout=subprocess.DEVNULL)
