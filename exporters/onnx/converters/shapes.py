"""Conversion of operators that change only the shape."""

from typing import Any

from tf2onnx.onnx_opset.tensor import Squeeze


def squeeze(ctx: Any, node: Any) -> None:
    """Convert the removal of axes of size 1. If none are named, a batch of 1 keeps its axis, as the shape of Keras says."""
    shape = ctx.get_shape(node.input[0])
    if shape and not node.get_attr_value("squeeze_dims"):
        node.set_attr("squeeze_dims", [axis for axis, size in enumerate(shape) if size == 1])
    Squeeze.version_1(ctx, node)
