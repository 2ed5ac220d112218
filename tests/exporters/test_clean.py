"""The clean-up against graphs that ONNX's own reference evaluator runs before and after."""

import keras
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import exporters
import zoo
from exporters.onnx import clean


def flatten_graph(permutation=(0, 2, 3, 1), shared=False):
    """Transpose, Reshape by a shape that the graph computes, MatMul: what tf2onnx writes for Flatten and Dense."""
    generator = np.random.default_rng(0)
    constants = {
        "kernel": generator.normal(size=(2 * 3 * 4, 5)).astype("float32"),
        "first": np.array([0], "int64"),
        "rest": np.array([2 * 3 * 4], "int64"),
    }
    nodes = [
        helper.make_node("Transpose", ["x"], ["moved"], perm=permutation),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["batch"]),
        helper.make_node("Concat", ["batch", "rest"], ["flat"], axis=0),
        helper.make_node("Reshape", ["moved", "flat"], ["rows"], name="flatten"),
        helper.make_node("MatMul", ["rows", "kernel"], ["y"]),
    ]
    if shared:
        nodes.append(helper.make_node("MatMul", ["rows", "kernel"], ["z"]))
    graph = helper.make_graph(
        nodes,
        "flatten",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4, 2, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 5]) for name in ("y", "z")[: 1 + shared]],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def operators(proto):
    return [node.op_type for node in proto.graph.node]


def cleaned(proto):
    result = onnx.ModelProto.FromString(proto.SerializeToString())
    clean.fold_flatten(result)
    clean.fix_flatten_shapes(result)
    onnx.checker.check_model(result, full_check=True)
    return result


def test_the_flatten_of_a_convolution_needs_no_transpose_and_no_computed_shape():
    proto = flatten_graph()
    after = cleaned(proto)
    assert operators(after) == ["Reshape", "MatMul"]
    assert {tensor.name for tensor in after.graph.initializer} == {"kernel", "flatten/shape"}
    for batch in (1, 3):
        x = np.random.default_rng(batch).normal(size=(batch, 4, 2, 3)).astype("float32")
        (expected,), (given,) = (ReferenceEvaluator(each).run(None, {"x": x}) for each in (proto, after))
        np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{"permutation": (0, 3, 2, 1)}, {"shared": True}], ids=str)
def test_what_is_no_such_flatten_keeps_its_transpose_and_its_values(options):
    proto = flatten_graph(**options)
    after = cleaned(proto)
    assert "Transpose" in operators(after)
    x = np.random.default_rng(1).normal(size=(2, 4, 2, 3)).astype("float32")
    for expected, given in zip(*(ReferenceEvaluator(each).run(None, {"x": x}) for each in (proto, after)), strict=True):
        np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5)


def test_a_reshape_to_three_axes_keeps_its_shape():
    proto = flatten_graph(permutation=(0, 3, 2, 1))
    rows, two = (next(each for each in proto.graph.initializer if each.name == name) for name in ("kernel", "rest"))
    rows.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(rows)[:12], "kernel"))
    two.CopyFrom(numpy_helper.from_array(np.array([2, 12], "int64"), "rest"))
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 2
    proto.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 5
    after = cleaned(proto)
    assert operators(after) == operators(proto)
    x = np.random.default_rng(1).normal(size=(3, 4, 2, 3)).astype("float32")
    assert ReferenceEvaluator(after).run(None, {"x": x})[0].shape == (3, 2, 5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="export is TensorFlow's")
def test_lenet5_modern_has_the_nodes_of_a_drawing_by_hand(tmp_path):
    exporters.to_onnx(zoo.load("lenet5-modern"), tmp_path / "modern.onnx")
    found = operators(onnx.load(tmp_path / "modern.onnx"))
    assert not {"Shape", "Gather", "Slice", "Concat", "Transpose"} & set(found)
    assert [name for name in found if name in ("Conv", "MaxPool", "MatMul")] == ["Conv", "MaxPool"] * 2 + ["MatMul"] * 3
