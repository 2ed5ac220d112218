"""Graphs whose cost depends on pixel values: cheap on one image, endless on another."""

import keras
import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from exporters import source
from exporters.onnx import convert
from exporters.onnx.untrusted import limits, sandbox, taint_analysis
from zoo.errors import ZooError

F32, I64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
NUMBERS = {
    "shape": np.array([3, 4]),
    "two": np.array([2]),
    "five": np.array(5),
    "rare": np.float32(77.5),
    "many": np.float32(1e12),
    "yes": np.array(True),
    "scalar": np.array([], "int64"),
    "all": np.array([0, 1]),
    "one": np.array([1]),
    "values": np.float32([0, 1]),
}
# `times` (float), `count` (integer) and `counts` (shape (1,)): 10^12 if the largest pixel has one rare value, else 0.
COUNT = [
    helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
    helper.make_node("Equal", ["most", "rare"], ["met"]),
    helper.make_node("Cast", ["met"], ["part"], to=F32),
    helper.make_node("Mul", ["part", "many"], ["times"]),
    helper.make_node("Cast", ["times"], ["count"], to=I64),
    helper.make_node("Unsqueeze", ["count", "first"], ["counts"]),
]


def end(name, kind, sizes):
    return helper.make_tensor_value_info(name, kind, sizes)


def loop(count="five", go="yes", on="go", state="a"):
    """Return a Loop that doubles its state and continues while the value named `on` is true."""
    body = helper.make_graph(
        [
            helper.make_node("ReduceMax", [state], ["high"], keepdims=0),
            helper.make_node("Equal", ["high", "rare"], ["by_state"]),
            helper.make_node("Identity", [on], ["on"]),
            helper.make_node("Add", ["a", "a"], ["b"]),
            helper.make_node("Add", ["c", "a"], ["d"]),
        ],
        "body",
        [end("i", I64, []), end("go", BOOL, []), end("a", F32, ["n", 4]), end("c", F32, ["n", 4])],
        [end("on", BOOL, []), end("b", F32, ["n", 4]), end("d", F32, ["n", 4])],
    )
    return helper.make_node("Loop", [count, go, "x", "zeros"], ["y", "z"], body=body)


def branches(condition):
    graphs = [helper.make_graph([helper.make_node(name, ["x"], ["r"])], "g", [], [end("r", F32, None)]) for name in SIGNS]
    return helper.make_node("If", [condition], ["y"], then_branch=graphs[0], else_branch=graphs[1])


SIGNS = ("Neg", "Abs")
ZEROS = helper.make_node("Sub", ["x", "x"], ["zeros"])
FILLED = helper.make_node("ConstantOfShape", ["counts"], ["filled"])
SCAN = helper.make_graph([helper.make_node("Neg", ["a"], ["b"])], "body", [end("a", F32, [4])], [end("b", F32, [4])])
REJECTED = {
    "iteration count": [ZEROS, loop("count")],
    "initial condition": [ZEROS, loop(go="met")],
    "condition": [ZEROS, loop(on="met")],
    "condition from the state": [ZEROS, loop(on="by_state")],
    "condition tainted in a later iteration": [
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        loop(on="by_state", state="c"),
    ],
    "branch condition": [branches("met")],
    "fill": [FILLED],
    "expand": [helper.make_node("Expand", ["x", "counts"], ["y"])],
    "tile": [helper.make_node("Tile", ["x", "counts"], ["y"])],
    "range": [helper.make_node("Range", ["zero", "count", "zero"], ["y"])],
    "resize": [helper.make_node("Resize", ["x", "", "scales", "counts"], ["y"])],
    "pad": [helper.make_node("Pad", ["x", "counts"], ["y"])],
    "one-hot": [helper.make_node("OneHot", ["one", "count", "values"], ["y"])],
    "slice": [helper.make_node("Slice", ["x", "counts", "counts"], ["y"])],
    "non-zero": [helper.make_node("NonZero", ["x"], ["y"])],
    "scan": [helper.make_node("Scan", ["x"], ["y"], body=SCAN, num_scan_inputs=1)],
    "foreign operator": [helper.make_node("BiasGelu", ["x", "x"], ["y"], domain="com.microsoft")],
    "through a branch": [
        branches("yes"),
        helper.make_node("Cast", ["y"], ["wide"], to=I64),
        helper.make_node("Tile", ["x", "wide"], ["z"]),
    ],
}
SHAPED = helper.make_node("Shape", ["x"], ["sizes"])
ACCEPTED = {
    "loop": [ZEROS, loop()],
    "branch": [branches("yes")],
    "shape": [SHAPED, helper.make_node("ConstantOfShape", ["sizes"], ["y"])],
    "condition from an untainted state": [
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("Loop", ["five", "yes", "zeros", "zeros"], ["y", "z"], body=loop(on="by_state").attribute[0].g),
    ],
}


def model(nodes, output="y"):
    tensors = [numpy_helper.from_array(array, name) for name, array in {**NUMBERS, "first": np.array([0])}.items()]
    tensors += [numpy_helper.from_array(np.array(0), "zero"), numpy_helper.from_array(np.float32([1, 1]), "scales")]
    graph = helper.make_graph([*COUNT, *nodes], "g", [end("x", F32, ["n", 4])], [end(output, F32, [None, None])], tensors)
    sets = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=sets, ir_version=8)


@pytest.mark.parametrize("case", REJECTED)
def test_cost_that_depends_on_pixel_values_is_rejected(case):
    proto = model(REJECTED[case], REJECTED[case][-1].output[0])
    with pytest.raises(limits.RejectedFileError, match=r"cost depends on the pixel values|which is not run"):
        taint_analysis.check(ir.from_proto(proto))


@pytest.mark.parametrize("case", ACCEPTED)
def test_cost_that_depends_on_shapes_is_accepted(case):
    taint_analysis.check(ir.from_proto(model(ACCEPTED[case])))


def test_model_local_functions_are_rejected():
    proto = model([helper.make_node("Neg", ["x"], ["y"])])
    proto.functions.append(
        helper.make_function("own", "f", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], proto.opset_import)
    )
    with pytest.raises(limits.RejectedFileError, match="model-local functions"):
        taint_analysis.check(ir.from_proto(proto))


def test_loop_that_no_trial_run_triggers_is_rejected(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(model([ZEROS, loop("count")]).SerializeToString())
    with pytest.raises(ZooError, match=r"model\.onnx has a Loop whose cost depends on the pixel values") as caught:
        sandbox.load(path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "layer", [keras.layers.LSTM(4), keras.layers.Bidirectional(keras.layers.GRU(4))], ids=["lstm", "gru"]
)
def test_recurrent_layers_of_keras_are_accepted(layer):
    steps = keras.Input((6, 3))
    taint_analysis.check(convert.convert(source.find(keras.Model(steps, layer(steps)))))
    masked = convert.convert(source.find(keras.Model(steps, layer(keras.layers.Masking()(steps)))))
    assert "Loop" in {node.op_type for node in masked.graph}
    taint_analysis.check(masked)
