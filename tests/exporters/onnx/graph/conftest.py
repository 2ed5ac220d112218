"""Small graphs in ONNX' text format, simplified and compared in onnxruntime."""

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest

from exporters.onnx import graph
from exporters.onnx.graph.edit import LAYER, WEIGHT


def parse_model(text, opset=13):
    """Parse a graph in ONNX' text format; a weight declared without a value is filled with fixed random numbers."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> g {text}')
    generator = np.random.default_rng(3)
    for declared in proto.graph.value_info:
        sizes = [dim.dim_value for dim in declared.type.tensor_type.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(declared.type.tensor_type.elem_type)
        values = generator.normal(size=sizes).astype(dtype)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values, declared.name))
    del proto.graph.value_info[:]
    return proto


def random_inputs(proto, batch):
    """Return a random array for each input of a graph."""
    generator = np.random.default_rng(4)
    inputs = {}
    for value in proto.graph.input:
        sizes = [dim.dim_value or batch for dim in value.type.tensor_type.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        inputs[value.name] = (generator.normal(size=sizes) * 3).astype(dtype)
    return inputs


def run(proto, inputs):
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def simplify_and_compare(text, opset=13, **layers):
    """Simplify a graph and check that its outputs stay the same at two batch sizes.

    Args:
        text: graph; an initializer whose name begins with w counts as a Keras weight.
        opset: ONNX operator set.
        layers: name of a value -> path of the Keras layer whose output it is.

    Returns:
        (list of the remaining operators, simplified `onnx_ir.Graph`).
    """
    before = parse_model(text, opset)
    after = ir.from_proto(parse_model(text, opset))  # parsed again: onnx_ir keeps references to the proto
    for value in after.graph.initializers.values():
        if value.name.startswith("w"):
            value.meta[WEIGHT] = f"layer/{value.name}"
    for node in after.graph:
        for value in node.outputs:
            if value.name in layers:
                value.meta[LAYER] = layers[value.name]
    graph.simplify(after)
    onnx.checker.check_model(ir.to_proto(after), full_check=True)
    for batch in (1, 3):
        inputs = random_inputs(before, batch)
        for expected, actual in zip(run(before, inputs), run(ir.to_proto(after), inputs), strict=True):
            np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=2e-5)
    return [node.op_type for node in after.graph], after.graph


@pytest.fixture
def parse():
    """Return `parse_model`."""
    return parse_model


@pytest.fixture
def simplify():
    """Return `simplify_and_compare`."""
    return simplify_and_compare
