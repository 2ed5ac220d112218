"""Transpose sinking: move a Transpose to channels-last from the inputs of a node to its output."""

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
    reduction_axes,
    replace,
)
from exporters.onnx.graph.layout import (
    ELEMENTWISE,
    channels_last_transpose,
    permutation,
    to_channels_first,
    to_channels_last,
)

REDUCTIONS = {f"Reduce{kind}" for kind in ("L1", "L2", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")}
ALONG_AN_AXIS = {"Softmax", "LogSoftmax", "Hardmax"}


def sink(node: ir.Node) -> bool:
    """Move a Transpose to channels-last from the inputs of a node to its output."""
    if node.op_type in ELEMENTWISE:
        rule = _sink_below_elementwise
    elif node.op_type in REDUCTIONS or node.op_type == "Squeeze":
        rule = _sink_below_reduction
    elif node.op_type in ALONG_AN_AXIS:
        rule = _sink_below_softmax
    else:
        rule = OTHER_RULES.get(node.op_type)
    return bool(rule and any(channels_last_transpose(value) for value in node.inputs) and rule(node))


def _sink_below_elementwise(node):
    axes = next(len(permutation(each)) for each in map(channels_last_transpose, node.inputs) if each)
    inputs, vectors = [], []  # vectors: positions of inputs with one number per channel
    for value in node.inputs:
        array = constant(value)
        transpose = channels_last_transpose(value)
        if transpose and len(permutation(transpose)) == axes:
            inputs.append(transpose.inputs[0])
        elif (
            value is None
            or (array is not None and (array.ndim == 0 or node.op_type == "Clip"))
            or _is_scalar_per_image(value, axes)
        ):
            inputs.append(value)
        elif array is not None and array.ndim <= axes:
            expanded = array.reshape((1,) * (axes - array.ndim) + array.shape)
            inputs.append(constant_like(value, expanded.transpose(to_channels_first(axes))))
        elif _is_vector_per_image(value, axes):
            vectors.append(len(inputs))
            inputs.append(value)
        else:
            return False
    for index in vectors:
        value, order = inputs[index], to_channels_first(axes)
        shape = [value.shape[axis] for axis in order]
        inputs[index] = insert(node, "Transpose", [value], {"perm": order}, shape, value.dtype)
    return _replace_with_transpose_after(node, inputs, attributes(node), axes)


def _is_scalar_per_image(value, axes):
    """Return whether a value of this rank has one number per image, so that a Transpose does not change it."""
    return rank(value) == axes and set(dims(value)[1:]) == {1}


def _is_vector_per_image(value, axes):
    """Return whether a value of this rank has one number per channel of an image, so that a Transpose costs nothing."""
    return rank(value) == axes and set(dims(value)[1:-1]) == {1} and dims(value)[-1] is not None


def _sink_below_reduction(node):
    axes, order = reduction_axes(node), permutation(channels_last_transpose(node.inputs[0]))
    if axes is None:
        return False
    permuted = sorted(order[axis] for axis in axes)
    keepdims = attribute(node, "keepdims", 1) and node.op_type != "Squeeze"
    remaining = [order[axis] for axis in range(len(order)) if axis not in axes]
    if not keepdims and remaining != sorted(remaining):
        return False
    inputs, node_attributes = [channels_last_transpose(node.inputs[0]).inputs[0]], attributes(node)
    if "axes" in node_attributes:
        node_attributes["axes"] = permuted
    else:
        inputs.append(new_constant(node.graph, np.array(permuted, "int64")))
    if keepdims:
        return _replace_with_transpose_after(node, inputs, node_attributes, len(order))
    replace(node, node.op_type, inputs, node_attributes)
    return True


def _sink_below_softmax(node):
    if node.graph.opset_imports[""] < 13:  # computed over the axis and all following axes
        return False
    transpose = channels_last_transpose(node.inputs[0])
    order = permutation(transpose)
    axis = attribute(node, "axis", -1) % len(order)
    return _replace_with_transpose_after(node, [transpose.inputs[0]], attributes(node, axis=order[axis]), len(order))


def _sink_below_pad(node):
    pads = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    transpose = channels_last_transpose(node.inputs[0])
    axes = len(permutation(transpose)) if transpose else 0
    if pads is None or len(pads) != 2 * axes or len(node.inputs) > 3:  # the fourth input selects axes
        return False
    permuted = np.concatenate([half[list(to_channels_first(axes))] for half in (pads[:axes], pads[axes:])])
    source = transpose.inputs[0]
    inputs = [source, new_constant(node.graph, permuted), *node.inputs[2:]]
    return _replace_with_transpose_after(node, inputs, attributes(node), axes)


def _sink_below_concat(node):
    transposes = [channels_last_transpose(value) for value in node.inputs]
    if not all(transposes):
        return False
    axes = len(permutation(transposes[0]))
    axis = to_channels_last(axes)[attribute(node, "axis") % axes]
    return _replace_with_transpose_after(node, [each.inputs[0] for each in transposes], {"axis": axis}, axes)


def _sink_below_slice(node):
    transpose = channels_last_transpose(node.inputs[0])
    order = permutation(transpose)
    axes = constant(node.inputs[3]) if len(node.inputs) > 3 else None
    if axes is None:
        return False
    axes = np.array([order[axis] for axis in axes], axes.dtype)  # ONNX wants one type for starts, ends and axes
    inputs = [transpose.inputs[0], *node.inputs[1:3], new_constant(node.graph, axes), *node.inputs[4:]]
    return _replace_with_transpose_after(node, inputs, attributes(node), len(order))


def _parse_equation(node):
    """Return the subscripts of an Einsum as (list of inputs, output), or None if some of them are implicit."""
    equation = attribute(node, "equation").replace(" ", "")
    if "." in equation or "->" not in equation:
        return None
    inputs, output = equation.split("->")
    return inputs.split(","), output


def _sink_below_einsum(node):
    """Permute the subscripts of the equation in place of the tensors."""
    if not (parsed := _parse_equation(node)):
        return False
    (terms, output), inputs = parsed, list(node.inputs)
    for position, value in enumerate(node.inputs):
        if transpose := channels_last_transpose(value):
            terms[position] = "".join(terms[position][axis] for axis in to_channels_first(len(terms[position])))
            inputs[position] = transpose.inputs[0]
    if len(output) < 4:
        replace(node, "Einsum", inputs, {"equation": f"{','.join(terms)}->{output}"})
        return True
    output = "".join(output[axis] for axis in to_channels_first(len(output)))
    return _replace_with_transpose_after(node, inputs, {"equation": f"{','.join(terms)}->{output}"}, len(output))


OTHER_RULES = {
    "Pad": _sink_below_pad,
    "Concat": _sink_below_concat,
    "Slice": _sink_below_slice,
    "Einsum": _sink_below_einsum,
}


def fuse_into_einsum(node: ir.Node) -> bool:
    """Fuse a Transpose into the Einsum before it, by permuting the output subscripts."""
    if node.op_type != "Transpose":
        return False
    product = producer_of_type(node.inputs[0], "Einsum")
    parsed = _parse_equation(product) if product and has_single_reader(node.inputs[0]) else None
    if not parsed or len(parsed[1]) != len(permutation(node)):
        return False
    terms, output = parsed
    equation = f"{','.join(terms)}->{''.join(output[axis] for axis in permutation(node))}"
    replace(node, "Einsum", product.inputs, {"equation": equation}, layer_of=product)
    return True


def _replace_with_transpose_after(node, inputs, node_attributes, axes):
    """Replace a node by the same operator on channels-first inputs, followed by a Transpose to channels-last."""
    (old,) = node.outputs
    shape = dims(old) and [old.shape[axis] for axis in to_channels_first(axes)]
    result = insert(node, node.op_type, inputs, node_attributes, shape, old.dtype)
    if LAYER in old.meta:
        result.meta[LAYER] = old.meta.pop(LAYER)
    replace(node, "Transpose", [result], {"perm": to_channels_last(axes)})
    return True
