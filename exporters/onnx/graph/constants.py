"""What can be computed once and for all, and what only repeats the batch size."""

import math

import numpy as np
import onnx
import onnx.reference
import onnx_ir as ir

from exporters.onnx.graph.edit import (
    WEIGHT,
    attribute,
    attributes,
    axes_of,
    constant,
    dims,
    made_by,
    new_constant,
    rank,
    replace,
    take_over,
)

LARGEST_END = 2**31 - 1  # by which a Slice says to the end
GROWTH = (
    1_000_000  # values by which a result may be larger than what it is computed from: a small file may hold a large constant
)


def fold(node):
    """Compute a node whose inputs are constants."""
    if not node.inputs or node.op_type in ("QuantizeLinear", "DequantizeLinear") or node.graph is None:
        return False
    if any(value is not None and constant(value) is None for value in node.inputs):
        return False
    if any(value.is_graph_output() for value in node.outputs):
        return False  # an output is computed by a node
    if any(each.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for each in node.attributes.values()):
        return False
    sizes = [math.prod(dims(value) or [GROWTH]) if None not in (dims(value) or [None]) else 0 for value in node.outputs]
    if sum(sizes) > sum(constant(value).size for value in node.inputs if value is not None) + GROWTH:
        return False
    weights = {value.meta[WEIGHT] for value in node.inputs if value is not None and WEIGHT in value.meta}
    weight = weights.pop() if len(weights) == 1 else None
    for value, array in zip(
        node.outputs, _computed(node, [value and constant(value) for value in node.inputs]), strict=True
    ):
        result = new_constant(node.graph, np.asarray(array), weight)
        ir.convenience.replace_all_uses_with(value, result)
    return True


def _computed(node, arrays):
    """Return the outputs of a node for arrays as its inputs, None for one that it has not; a Transpose is a view."""
    if node.op_type == "Transpose":
        return [arrays[0].transpose(attribute(node, "perm"))]
    names = [f"input{number}" for number in range(len(arrays))]
    proto = ir.to_proto(node)
    del proto.input[:]
    proto.input.extend("" if array is None else name for name, array in zip(names, arrays, strict=True))
    given = {name: array for name, array in zip(names, arrays, strict=True) if array is not None}
    ends = [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in given]
    results = [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in proto.output]
    model = onnx.helper.make_model(
        onnx.helper.make_graph([proto], "constant", ends, results),
        opset_imports=[onnx.helper.make_opsetid(node.domain, node.graph.opset_imports[node.domain])],
    )
    return onnx.reference.ReferenceEvaluator(model).run(None, given)


def write_shape(node):
    """Write the shape that a Reshape makes as a constant, the batch first, instead of computing it from the batch."""
    if node.op_type != "Reshape" or constant(node.inputs[1]) is not None:
        return False
    one, other = (_at_batch(node.inputs[1], batch) for batch in (2, 3))
    if one is None or (one[1:] != other[1:]).any() or one[0] not in (2, -1) or other[0] not in (3, -1):
        return False
    if (one[1:] == -1).any():  # the batch cannot be left to be inferred, too
        return False
    shape = new_constant(node.graph, np.array([-1, *one[1:]], "int64"))
    replace(node, "Reshape", [node.inputs[0], shape], attributes(node))
    return True


def _at_batch(value, batch):
    """Return what a value computed from shapes alone is for a number of pictures, or None where more goes into it."""
    node = value.producer()
    if constant(value) is not None or node is None:
        return constant(value)
    if node.op_type == "Shape":
        sizes = dims(node.inputs[0])
        if not sizes or None in sizes[1:]:
            return None
        return np.array([sizes[0] or batch, *sizes[1:]])[attribute(node, "start", 0) : attribute(node, "end")]
    arrays = [_at_batch(each, batch) for each in node.inputs]
    return None if any(array is None for array in arrays) else np.asarray(_computed(node, arrays)[value.index()])


def join_reshapes(node):
    """Reshape once instead of twice."""
    if node.op_type not in ("Reshape", "Squeeze", "Unsqueeze") or not (first := made_by(node.inputs[0], "Reshape")):
        return False
    sizes = dims(node.outputs[0])
    if not sizes or None in sizes[1:]:
        return False
    shape = [-1 if sizes[0] is None else sizes[0], *sizes[1:]]
    replace(node, "Reshape", [first.inputs[0], new_constant(node.graph, np.array(shape, "int64"))])
    return True


def drop_idle(node):
    """Drop a node that gives what it is given."""
    if len([value for value in node.outputs if value.uses() or value.is_graph_output()]) != 1 or not node.inputs:
        return False
    given, result = node.inputs[0], node.outputs[0]
    if given is None or (result.is_graph_output() and (given.producer() is None or given.is_graph_output())):
        return False
    if not _idle(node, given, result):
        return False
    take_over(result, given)
    return True


def _idle(node, given, result):
    """Tell whether the first output of a node is its first input."""
    other = constant(node.inputs[1]) if len(node.inputs) == 2 else None
    whole = result.shape is not None and dims(given) == dims(result)  # nothing is broadcast
    match node.op_type:
        case "Identity" | "Dropout":
            return True
        case "Cast":
            return given.dtype is not None and given.dtype == attribute(node, "to")
        case "Transpose":
            order = attribute(node, "perm")  # without it all axes are reversed
            return order is not None and list(order) == sorted(order)
        case "Reshape":
            return whole and None not in dims(given)[1:] and rank(given) == rank(result)
        case "Pad":
            return other is not None and not other.any()
        case "Slice":
            if len(node.inputs) < 3:  # before operator set 10 they are attributes
                return False
            starts, ends = (constant(each) for each in node.inputs[1:3])
            steps = constant(node.inputs[4]) if len(node.inputs) > 4 else np.ones(1)
            every = all(each is not None for each in (starts, ends, steps))
            return every and not starts.any() and bool((ends >= LARGEST_END).all() and (steps == 1).all())
        case "Mul" | "Div":
            return whole and other is not None and bool((other == 1).all()) and WEIGHT not in node.inputs[1].meta
        case "Add" | "Sub":
            return whole and other is not None and bool((other == 0).all()) and WEIGHT not in node.inputs[1].meta
    return False


def plain_attributes(node):
    """Leave out attributes that say what would hold without them."""
    idle = {
        "auto_pad": lambda value: value == "NOTSET",
        "noop_with_empty_axes": lambda value: value == 0 or bool(axes_of(node)),
        "dilations": lambda value: set(value) == {1},
        "strides": lambda value: set(value) == {1},
        "pads": lambda value: not any(value),
        "group": lambda value: value == 1,
        "ceil_mode": lambda value: value == 0,
        "storage_order": lambda value: value == 0,
    }
    found = [name for name, given in node.attributes.items() if name in idle and idle[name](given.value)]
    if not found or node.op_type == "Pad":
        return False
    for name in found:
        del node.attributes[name]
    return True
