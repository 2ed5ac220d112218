"""Affine sinking: move scales and offsets down, across other nodes, to a layer that can fold them into its weights."""

import numpy as np
import onnx_ir as ir

from exporters.onnx.graph.affine import offset_of, per_channel, quotient, reaches_product, scale_of
from exporters.onnx.graph.edit import (
    attributes,
    constant,
    constant_like,
    dims,
    has_single_reader,
    insert,
    new_constant,
    pads_with_zeros,
    rank,
    replace,
)

# Operators that commute with a positive scale per channel (all but MaxPool, GlobalMaxPool and Relu: with any scale).
COMMUTES_WITH_SCALE = {"AveragePool", "GlobalAveragePool", "MaxPool", "GlobalMaxPool", "Relu", "Unsqueeze", "Squeeze"}
MONOTONE = ("Relu", "MaxPool", "GlobalMaxPool")


def fuse(node: ir.Node) -> bool:
    """Fuse two scales into one and two offsets into one; swap a scale and an offset, because only a scale can sink on."""
    scale, offset = scale_of(node), offset_of(node)
    if not scale and not offset:
        return False
    middle = (scale or offset)[0]
    above = middle.producer()
    if not has_single_reader(middle):
        return False
    if scale and (first := scale_of(above)):
        replace(node, "Mul", [first[0], new_constant(node.graph, np.asarray(first[1] * scale[1]))])
    elif offset and (first := offset_of(above)):
        replace(node, "Add", [first[0], new_constant(node.graph, np.asarray(first[1] + offset[1]))])
    elif (
        offset
        and (first := scale_of(above))
        and np.isfinite(unscaled := quotient(offset[1], first[1])).all()
        and reaches_product(node.outputs[0])
    ):
        # x·a + b = (x + b/a)·a
        unscaled = new_constant(node.graph, np.asarray(unscaled))
        shifted = insert(node, "Add", [first[0], unscaled], None, first[0].shape, middle.dtype)
        replace(node, "Mul", [shifted, new_constant(node.graph, np.asarray(first[1]))])
    else:
        return False
    return True


def sink(node: ir.Node) -> bool:
    """Move a scale, or an offset before a flatten, from the input of a node to its output."""
    if not node.inputs or len(node.outputs) != 1 or node.domain:
        return False
    value = node.inputs[0]
    if value is None or not has_single_reader(value):
        return False
    scale, offset = scale_of(value.producer()), offset_of(value.producer())
    if not scale and not offset:
        return False
    source, array = scale or offset
    if array.size == 1:
        array = array.reshape(())  # broadcasts over a result with fewer axes, too
    if node.op_type == "Reshape":
        return _sink_below_reshape(node, source, "Mul" if scale else "Add", array)
    return bool(scale) and _sink_scale(node, source, array)


def _sink_below_reshape(node, source, op_type, array):
    reshaped = _reshape_constant(node, array, source)
    if reshaped is None or not reaches_product(node.outputs[0]):
        return False
    return _replace_with_constant_after(node, source, op_type, reshaped)


def _sink_scale(node, source, array):
    """Move a scale below a node that is not a Reshape; `array` has shape () if the scale is a scalar."""
    is_scalar = array.ndim == 0
    if node.op_type in COMMUTES_WITH_SCALE and (node.op_type not in MONOTONE or (array > 0).all()):
        if node.op_type in ("Squeeze", "Unsqueeze") and not is_scalar:
            return False
        if not is_scalar and (rank(source) < 2 or per_channel(array, rank(source), dims(source)[1]) is None):
            return False
        return _replace_with_constant_after(node, source, "Mul", array)
    if node.op_type == "Pad" and is_scalar:
        return pads_with_zeros(node) and _replace_with_constant_after(node, source, "Mul", array)
    if node.op_type in ("Add", "Sub") and is_scalar and _sink_below_offset(node, source, array):
        return True
    if node.op_type == "ReduceSumSquare" and is_scalar:
        return _replace_with_constant_after(node, source, "Mul", array * array)
    return False


def _sink_below_offset(node, source, array):
    """Rewrite x·a - b as (x - b/a)·a if a sum of squares follows, from which a² can be factored out."""
    other = constant(node.inputs[1])
    if other is None or not np.isfinite(unscaled := quotient(other, array)).all():
        return False
    readers = [use.node for use in node.outputs[0].uses()]
    if len(readers) != 1 or readers[0].op_type != "ReduceSumSquare":
        return False
    inputs = [source, constant_like(node.inputs[1], unscaled)]
    shifted = insert(node, node.op_type, inputs, None, node.outputs[0].shape, source.dtype)
    replace(node, "Mul", [shifted, new_constant(node.graph, np.asarray(array))])
    return True


def _replace_with_constant_after(node, source, op_type, array):
    """Apply a node to the value before a scale or offset, and the scale or offset to its output."""
    (old,) = node.outputs
    result = insert(node, node.op_type, [source, *node.inputs[1:]], attributes(node), old.shape, old.dtype)
    replace(node, op_type, [result, new_constant(node.graph, np.asarray(array))])
    return True


def _reshape_constant(node, array, source):
    """Return a constant that broadcasts over the input of a flattening Reshape as one for its output, or None."""
    if array.size == 1:
        return array.reshape(())
    before, after = dims(source), dims(node.outputs[0])
    if not before or not after or None in before[1:] or len(after) != 2 or array.reshape(-1).shape[0] != array.size:
        return None
    expanded = array.reshape((1,) * (len(before) - array.ndim) + array.shape)
    if expanded.shape[0] != 1 or None in after[1:] or np.prod(before[1:]) != after[1]:
        return None
    return np.broadcast_to(expanded, (1, *before[1:])).reshape(1, -1).copy()
