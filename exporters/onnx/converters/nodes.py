"""Operations on a graph of tf2onnx that the converters are built from."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from tf2onnx import utils


class NotConvertible(Exception):
    """A node that no ONNX operator computes.

    Attributes:
        node: name of the node.
        reason: what is missing, and what to do about it.
    """

    def __init__(self, node: Any, reason: str):
        super().__init__(reason)
        self.node, self.reason = node.name, reason


def insert(ctx: Any, node: Any, operator: str, inputs: Sequence[str], attributes: Mapping[str, Any] | None = None) -> str:
    """Add an ONNX node with one output that belongs to the layer of another node; return the name of its output."""
    return ctx.make_node(operator, list(inputs), attributes, op_name_scope=node.name).output[0]


def replace(ctx: Any, node: Any, operator: str, inputs: Sequence[str], attributes: Mapping[str, Any] | None = None) -> None:
    """Replace a node with one output by an ONNX node that computes the same."""
    shapes, dtypes = node.output_shapes, node.output_dtypes
    ctx.remove_node(node.name)
    ctx.make_node(operator, list(inputs), attributes, name=node.name, outputs=node.output, shapes=shapes, dtypes=dtypes)


def new_constant(ctx: Any, array: np.ndarray) -> str:
    """Add a constant to a graph and return its name."""
    return ctx.make_const(utils.make_name("constant"), array).output[0]


def constant(node: Any, index: int) -> np.ndarray | None:
    """Return the value of an input that is constant, else None."""
    return node.inputs[index].get_tensor_value(as_list=False) if node.inputs[index].is_const() else None


def flag(node: Any, name: str) -> bool:
    """Return an attribute that is true or false, false if the node does not have it."""
    return bool(node.get_attr_int(name)) if name in node.attr else False


def dtype(ctx: Any, value: str) -> str:
    """Return the data type of a value, such as "float32"."""
    return onnx.helper.tensor_dtype_to_np_dtype(ctx.get_dtype(value)).name
