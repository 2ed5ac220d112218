"""Layout transformation to channels-first throughout.

Keras computes channels-last, while ONNX' Conv and pooling operators take channels-first. A Transpose to channels-last moves
down (`transpose_sinking.py`) and one to channels-first moves up, until the two meet and cancel.
"""

import math

import numpy as np
import onnx_ir as ir

from exporters.onnx.graph.edit import (
    LAYER,
    attribute,
    attributes,
    constant,
    constant_like,
    dims,
    has_single_reader,
    insert,
    new_constant,
    producer_of_type,
    rank,
    replace,
)

ELEMENTWISE = frozenset({
    "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Greater",
    "GreaterOrEqual", "HardSigmoid", "HardSwish", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Min", "Mul",
    "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Softplus",
    "Softsign", "Sqrt", "Sub", "Tanh", "ThresholdedRelu", "Where",
})  # fmt: skip


def to_channels_last(axes: int) -> tuple[int, ...]:
    """Return the permutation from channels-first to channels-last for a number of axes, such as (0, 2, 3, 1)."""
    return (0, *range(2, axes), 1)


def to_channels_first(axes: int) -> tuple[int, ...]:
    """Return the permutation from channels-last to channels-first for a number of axes, such as (0, 3, 1, 2)."""
    return (0, axes - 1, *range(1, axes - 1))


def permutation(node: ir.Node) -> tuple[int, ...]:
    """Return the permutation of a Transpose. The default reverses the axes."""
    return tuple(attribute(node, "perm", range(rank(node.inputs[0]) or 0)[::-1]))


def channels_last_transpose(value: ir.Value | None) -> ir.Node | None:
    """Return the Transpose from channels-first to channels-last that produces a value, if there is one."""
    node = producer_of_type(value, "Transpose")
    axes = len(permutation(node)) if node else 0
    return node if axes > 3 and permutation(node) == to_channels_last(axes) else None


def reshape_to_transpose(node: ir.Node) -> bool:
    """Replace a Reshape that moves a channel axis of size 1 by the equivalent Transpose, which the other rules can move."""
    if node.op_type != "Reshape":
        return False
    before, after = dims(node.inputs[0]), dims(node.outputs[0])
    if not before or not after or len(before) != len(after) or len(before) < 4 or before == after:
        return False
    if None in before[1:] or before[0] != after[0]:
        return False
    for order in (to_channels_last(len(before)), to_channels_first(len(before))):
        if [before[axis] for axis in order] == after and _preserves_memory_order(before, order):
            replace(node, "Transpose", [node.inputs[0]], {"perm": order})
            return True
    return False


def transpose_to_reshape(node: ir.Node) -> bool:
    """Replace a Transpose that only moves axes of size 1 by a Reshape, which copies nothing."""
    sizes = dims(node.inputs[0]) if node.op_type == "Transpose" else None
    if not sizes or None in sizes[1:] or not _preserves_memory_order(sizes, permutation(node)):
        return False
    shape = [-1 if sizes[0] is None else sizes[0], *(sizes[axis] for axis in permutation(node)[1:])]
    replace(node, "Reshape", [node.inputs[0], new_constant(node.graph, np.array(shape, "int64"))])
    return True


def _preserves_memory_order(sizes, order):
    """Return whether a permutation keeps the order of all axes longer than 1, so that no value moves in memory."""
    long_axes = [axis for axis in order if sizes[axis] != 1]
    return order[0] == 0 and long_axes == sorted(long_axes)


def move_layer_name_above_transpose(node: ir.Node) -> bool:
    """Let the value before a Transpose to channels-last carry the name of the Keras layer."""
    if node.op_type != "Transpose" or not channels_last_transpose(node.outputs[0]):
        return False
    source, result = node.inputs[0], node.outputs[0]
    if LAYER not in result.meta or LAYER in source.meta or source.is_graph_input():
        return False
    source.meta[LAYER] = result.meta.pop(LAYER)
    return True


def fuse_transposes(node: ir.Node) -> bool:
    """Fuse two consecutive Transposes into one, or remove both if they cancel."""
    if node.op_type != "Transpose" or not (first := producer_of_type(node.inputs[0], "Transpose")):
        return False
    if len(permutation(first)) != len(permutation(node)):  # unknown rank
        return False
    order = [permutation(first)[axis] for axis in permutation(node)]
    source = first.inputs[0]
    if order == sorted(order) and not node.outputs[0].is_graph_output():
        node.outputs[0].replace_all_uses_with(source)
        if LAYER in node.outputs[0].meta and not source.is_graph_input():
            source.meta.setdefault(LAYER, node.outputs[0].meta[LAYER])
    else:
        replace(node, "Transpose", [source], {"perm": order})
    return True


def lift_transpose(node: ir.Node) -> bool:
    """Move a Transpose to channels-first above an element-wise node that has one computed input."""
    order = permutation(node) if node.op_type == "Transpose" else ()
    if len(order) < 4 or order != to_channels_first(len(order)):
        return False
    above = producer_of_type(node.inputs[0], *ELEMENTWISE)
    if not above or not has_single_reader(above.outputs[0]):
        return False
    computed = [value for value in above.inputs if value is not None and constant(value) is None]
    axes = len(order)
    if len(computed) != 1 or rank(computed[0]) != axes:
        return False
    shape = [computed[0].shape[axis] for axis in order]
    transposed = insert(node, "Transpose", computed, {"perm": order}, shape, computed[0].dtype)
    inputs = []
    for value in above.inputs:
        array = constant(value)
        if value is computed[0]:
            inputs.append(transposed)
        elif array is None or array.ndim == 0:
            inputs.append(value)
        else:
            expanded = array.reshape((1,) * (axes - array.ndim) + array.shape)
            inputs.append(constant_like(value, expanded.transpose(order)))
    if LAYER in above.outputs[0].meta:
        node.outputs[0].meta.setdefault(LAYER, above.outputs[0].meta[LAYER])
    replace(node, above.op_type, inputs, attributes(above))
    return True


def fuse_transpose_into_dense(node: ir.Node) -> bool:
    """Remove the Transpose before a flatten by permuting the rows of the following dense kernel."""
    if node.op_type not in ("Gemm", "MatMul") or not (reshape := producer_of_type(node.inputs[0], "Reshape")):
        return False
    transpose = channels_last_transpose(reshape.inputs[0])
    kernel = constant(node.inputs[1])
    if not transpose or kernel is None or kernel.ndim != 2 or attribute(node, "transB", 0):
        return False
    sizes = dims(transpose.inputs[0])
    if not sizes or None in sizes[1:] or math.prod(sizes[1:]) != len(kernel) or rank(node.inputs[0]) != 2:
        return False
    rows = np.arange(len(kernel)).reshape([sizes[axis] for axis in to_channels_last(len(sizes))[1:]])
    permuted = kernel[np.moveaxis(rows, -1, 0).ravel()]
    shape, dtype = list(reshape.outputs[0].shape), node.inputs[0].dtype
    flat = insert(node, "Reshape", [transpose.inputs[0], reshape.inputs[1]], None, shape, dtype, layer_of=reshape)
    replace(node, node.op_type, [flat, constant_like(node.inputs[1], permuted), *node.inputs[2:]], attributes(node))
    return True


def drop_transpose_before_reshape(node: ir.Node) -> bool:
    """Remove a Transpose that moves no value in memory before a Reshape, which only depends on the memory order."""
    if node.op_type != "Reshape" or not (transpose := producer_of_type(node.inputs[0], "Transpose")):
        return False
    sizes, shape = dims(transpose.inputs[0]), constant(node.inputs[1])
    if not sizes or None in sizes[1:] or not _preserves_memory_order(sizes, permutation(transpose)) or shape is None:
        return False
    if 0 in shape:  # 0 copies the size of that input axis
        return False
    replace(node, "Reshape", [transpose.inputs[0], node.inputs[1]])
    return True
