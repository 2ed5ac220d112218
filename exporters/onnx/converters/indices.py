"""Conversion of one_hot. The OneHot of ONNX counts a negative index from the end, that of TensorFlow ignores it."""

from typing import Any

import numpy as np
import onnx
from tf2onnx.graph_builder import GraphBuilder

from exporters.onnx.converters.nodes import NotConvertible, constant, dtype, insert, new_constant, replace


def one_hot(ctx: Any, node: Any) -> None:
    """Convert the comparison of indices with each index below a depth.

    Raises:
        NotConvertible: if the depth is not a constant, or the axis is not the last.
    """
    depth, on, off = (constant(node, index) for index in (1, 2, 3))
    shape, axis = ctx.get_shape(node.input[0]), node.get_attr_int("axis")
    if depth is None or (axis != -1 and (shape is None or axis != len(shape))):
        raise NotConvertible(node, "one_hot needs a constant number of classes, on the last axis; write it with axis=-1")
    places = new_constant(ctx, np.arange(int(depth), dtype=dtype(ctx, node.input[0])))
    indices = GraphBuilder(ctx).make_unsqueeze({"data": node.input[0], "axes": [-1] if shape is None else [len(shape)]})
    equal = insert(ctx, node, "Equal", [indices, places])
    kind = ctx.get_dtype(node.output[0])
    if on is not None and off is not None and on == 1 and off == 0 and kind != onnx.TensorProto.BOOL:
        replace(ctx, node, "Cast", [equal], {"to": kind})
    else:
        replace(ctx, node, "Where", [equal, *node.input[2:4]])
