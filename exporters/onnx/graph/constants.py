"""Constant folding, elimination of identities, and constant shapes in place of shapes computed from the batch size."""

import math
from collections.abc import Sequence

import numpy as np
import onnx
import onnx.reference
import onnx_ir as ir

from exporters.onnx.graph.edit import (
    WEIGHT,
    attribute,
    attributes,
    constant,
    dims,
    new_constant,
    producer_of_type,
    rank,
    reduction_axes,
    replace,
    replace_value,
)

SLICE_TO_END = 2**31 - 1  # an end of a Slice from this on means "to the end"
# Values by which a folded result may exceed its inputs: a small file could otherwise expand to a huge constant.
MAX_GROWTH = 1_000_000


def fold(node: ir.Node) -> bool:
    """Evaluate a node whose inputs are all constant (constant folding)."""
    if not node.inputs or node.op_type in ("QuantizeLinear", "DequantizeLinear") or node.graph is None:
        return False
    if any(value is not None and constant(value) is None for value in node.inputs):
        return False
    if any(value.is_graph_output() for value in node.outputs):
        return False  # a graph output stays the output of a node
    if any(each.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for each in node.attributes.values()):
        return False
    sizes = [math.prod(dims(value) or [MAX_GROWTH]) if None not in (dims(value) or [None]) else 0 for value in node.outputs]
    if sum(sizes) > sum(constant(value).size for value in node.inputs if value is not None) + MAX_GROWTH:
        return False
    weights = {value.meta[WEIGHT] for value in node.inputs if value is not None and WEIGHT in value.meta}
    weight = weights.pop() if len(weights) == 1 else None
    arrays = evaluate(node, [value and constant(value) for value in node.inputs])
    for value, array in zip(node.outputs, arrays, strict=True):
        result = new_constant(node.graph, np.asarray(array), weight)
        ir.convenience.replace_all_uses_with(value, result)
    return True


def evaluate(node: ir.Node, arrays: Sequence[np.ndarray | None]) -> Sequence[np.ndarray]:
    """Return the outputs of a node for the given input arrays, None for an omitted input. A Transpose returns a view."""
    if node.op_type == "Transpose":
        return [arrays[0].transpose(attribute(node, "perm"))]
    names = [f"input{index}" for index in range(len(arrays))]
    proto = ir.to_proto(node)
    del proto.input[:]
    proto.input.extend("" if array is None else name for name, array in zip(names, arrays, strict=True))
    feeds = {name: array for name, array in zip(names, arrays, strict=True) if array is not None}
    inputs = [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in feeds]
    outputs = [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in proto.output]
    model = onnx.helper.make_model(
        onnx.helper.make_graph([proto], "constant", inputs, outputs),
        opset_imports=[onnx.helper.make_opsetid(node.domain, node.graph.opset_imports[node.domain])],
    )
    return onnx.reference.ReferenceEvaluator(model).run(None, feeds)


def fold_batch_shape(node: ir.Node) -> bool:
    """Replace the target shape of a Reshape that is computed from the batch size by the constant (-1, ...)."""
    sizes = dims(node.outputs[0]) if node.op_type == "Reshape" and constant(node.inputs[1]) is None else None
    if not sizes or None in sizes[1:] or 0 in sizes:  # only one size of a Reshape can be inferred, and 0 would copy one
        return False
    shape = [-1 if sizes[0] is None else sizes[0], *sizes[1:]]
    replace(node, "Reshape", [node.inputs[0], new_constant(node.graph, np.array(shape, "int64"))], attributes(node))
    return True


def fuse_reshapes(node: ir.Node) -> bool:
    """Fuse two consecutive reshapes into one."""
    if node.op_type not in ("Reshape", "Squeeze", "Unsqueeze"):
        return False
    first, sizes = producer_of_type(node.inputs[0], "Reshape"), dims(node.outputs[0])
    if not first or not sizes or None in sizes[1:]:
        return False
    shape = [-1 if sizes[0] is None else sizes[0], *sizes[1:]]
    replace(node, "Reshape", [first.inputs[0], new_constant(node.graph, np.array(shape, "int64"))])
    return True


def eliminate_identity(node: ir.Node) -> bool:
    """Remove a node whose output equals its input."""
    if len([value for value in node.outputs if value.uses() or value.is_graph_output()]) != 1 or not node.inputs:
        return False
    source, result = node.inputs[0], node.outputs[0]
    if source is None or (result.is_graph_output() and (source.producer() is None or source.is_graph_output())):
        return False
    if not _is_identity(node, source, result):
        return False
    replace_value(result, source)
    return True


def _is_identity(node, source, result):
    """Return whether the first output of a node equals its first input."""
    other = constant(node.inputs[1]) if len(node.inputs) == 2 else None
    same_shape = result.shape is not None and dims(source) == dims(result)  # no broadcasting
    match node.op_type:
        case "Identity" | "Dropout":
            return True
        case "Cast":
            return source.dtype is not None and source.dtype == attribute(node, "to")
        case "Transpose":
            permutation = attribute(node, "perm")  # without it, all axes are reversed
            return permutation is not None and list(permutation) == sorted(permutation)
        case "Reshape":
            return same_shape and None not in dims(source)[1:] and rank(source) == rank(result)
        case "Pad":
            return other is not None and not other.any()
        case "Slice":
            if len(node.inputs) < 3:  # before opset 10, starts and ends are attributes
                return False
            starts, ends = (constant(each) for each in node.inputs[1:3])
            steps = constant(node.inputs[4]) if len(node.inputs) > 4 else np.ones(1)
            known = all(each is not None for each in (starts, ends, steps))
            return known and not starts.any() and bool((ends >= SLICE_TO_END).all() and (steps == 1).all())
        case "Mul" | "Div":
            return same_shape and other is not None and bool((other == 1).all()) and WEIGHT not in node.inputs[1].meta
        case "Add" | "Sub":
            return same_shape and other is not None and bool((other == 0).all()) and WEIGHT not in node.inputs[1].meta
    return False


def drop_default_attributes(node: ir.Node) -> bool:
    """Remove attributes whose value is the default."""
    is_default = {
        "auto_pad": lambda value: value == "NOTSET",
        "noop_with_empty_axes": lambda value: value == 0 or bool(reduction_axes(node)),
        "dilations": lambda value: set(value) == {1},
        "strides": lambda value: set(value) == {1},
        "pads": lambda value: not any(value),
        "group": lambda value: value == 1,
        "ceil_mode": lambda value: value == 0,
        "storage_order": lambda value: value == 0,
    }
    redundant = [
        name for name, attribute in node.attributes.items() if name in is_default and is_default[name](attribute.value)
    ]
    if not redundant or node.op_type == "Pad":
        return False
    for name in redundant:
        del node.attributes[name]
    return True
