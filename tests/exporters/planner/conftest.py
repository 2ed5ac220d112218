"""Exported and synthetic graphs, and a board."""

import dataclasses
import functools

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import exports
from exporters import targets
from exporters.onnx import half
from exporters.quantization import insert


@pytest.fixture(scope="session")
def board():
    """Return a function: changed facts -> a Jetson Nano with these facts."""
    return functools.partial(dataclasses.replace, targets.target("nano"))


@pytest.fixture(scope="module")
def exported(shared_folder):
    """Return a function: name of a model and precision -> its graph. The last models are read once a module."""

    @functools.lru_cache(2)  # AlexNet has 244 MB
    def full(name):
        return exports.graph(name, shared_folder)

    def graph(name, precision="fp32"):
        if precision == "fp16":
            return half.to_half(full(name))
        if precision == "int8":
            return insert.quantize(full(name), dict.fromkeys(insert.tensors(full(name)), 1.0))
        return full(name)

    return graph


@pytest.fixture(scope="session")
def graph_of():
    """Return a function: (operator, inputs, output, attributes) for each node, shape of the input, weights -> a graph.

    The input is `x` and the last output is the graph's; constants are arrays by name; the batch is open.
    """

    def make(nodes, shape, weights=(), dtype="float32"):
        kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        operators = [
            onnx.helper.make_node(operator, inputs, [output], name=output, **attributes)
            for operator, inputs, output, attributes in nodes
        ]
        input = onnx.helper.make_tensor_value_info("x", kind, ["batch", *shape])
        result = onnx.helper.make_tensor_value_info(nodes[-1][2], kind, None)
        constants = [onnx.numpy_helper.from_array(array, name) for name, array in dict(weights).items()]
        graph = onnx.helper.make_graph(operators, "net", [input], [result], constants)
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
        return ir.from_proto(model)

    return make
