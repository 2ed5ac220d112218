"""Channels first throughout: a Transpose to channels last moves down until it meets its inverse, one back moves up.

Keras has its channels last, and Conv and the pools of ONNX have them first. What lies between two convolutions may be
computed either way, so all of it is turned.
"""

import math

import numpy as np

from exporters.onnx.graph.edit import (
    LAYER,
    attribute,
    attributes,
    axes_of,
    changed,
    constant,
    dims,
    insert,
    made_by,
    new_constant,
    rank,
    read_once,
    replace,
)

ELEMENTWISE = frozenset({
    "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Greater",
    "GreaterOrEqual", "HardSigmoid", "HardSwish", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Min", "Mul",
    "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Softplus",
    "Softsign", "Sqrt", "Sub", "Tanh", "ThresholdedRelu", "Where",
})  # fmt: skip
REDUCTIONS = {f"Reduce{what}" for what in ("L1", "L2", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")}
ALONG_AN_AXIS = {"Softmax", "LogSoftmax", "Hardmax"}


def to_last(axes):
    """Return the permutation that moves the channels of so many axes from the second place to the last."""
    return (0, *range(2, axes), 1)


def to_first(axes):
    """Return the permutation that moves the channels of so many axes from the last place to the second."""
    return (0, axes - 1, *range(1, axes - 1))


def perm(node):
    """Return the permutation of a Transpose; without one it reverses the axes."""
    return tuple(attribute(node, "perm", range(rank(node.inputs[0]) or 0)[::-1]))


def turned(value):
    """Return the Transpose to channels last that makes a value, if one does."""
    node = made_by(value, "Transpose")
    return node if node and len(perm(node)) > 3 and perm(node) == to_last(len(perm(node))) else None


def see_transpose(node):
    """See a Reshape that moves a single channel as the Transpose that it is, so that it can be moved."""
    if node.op_type != "Reshape":
        return False
    before, after = dims(node.inputs[0]), dims(node.outputs[0])
    if not before or not after or len(before) != len(after) or len(before) < 4 or before == after:
        return False
    if None in before[1:] or before[0] != after[0]:
        return False
    for order in (to_last(len(before)), to_first(len(before))):
        if [before[axis] for axis in order] == after and _moves_nothing(before, order):
            replace(node, "Transpose", [node.inputs[0]], {"perm": order})
            return True
    return False


def single_channel(node):
    """Write a Transpose that moves nothing but axes of size 1 as a Reshape, which costs nothing."""
    sizes = dims(node.inputs[0]) if node.op_type == "Transpose" else None
    if not sizes or None in sizes[1:] or not _moves_nothing(sizes, perm(node)):
        return False
    shape = [-1 if sizes[0] is None else sizes[0], *(sizes[axis] for axis in perm(node)[1:])]
    replace(node, "Reshape", [node.inputs[0], new_constant(node.graph, np.array(shape, "int64"))])
    return True


def _moves_nothing(sizes, order):
    """Tell whether the values lie in memory as before: the axes that are longer than 1 keep their order."""
    long = [axis for axis in order if sizes[axis] != 1]
    return order[0] == 0 and long == sorted(long)


def name_before(node):
    """Let the value before a Transpose to channels last be what stands for the output of a Keras layer."""
    if node.op_type != "Transpose" or not turned(node.outputs[0]):
        return False
    given, result = node.inputs[0], node.outputs[0]
    if LAYER not in result.meta or LAYER in given.meta or given.is_graph_input():
        return False
    given.meta[LAYER] = result.meta.pop(LAYER)
    return True


def join(node):
    """Transpose once instead of twice."""
    if node.op_type != "Transpose" or not (first := made_by(node.inputs[0], "Transpose")):
        return False
    if len(perm(first)) != len(perm(node)):  # how many axes there are is not known
        return False
    order = [perm(first)[axis] for axis in perm(node)]
    given = first.inputs[0]
    if order == sorted(order) and not node.outputs[0].is_graph_output():
        node.outputs[0].replace_all_uses_with(given)
        if LAYER in node.outputs[0].meta and not given.is_graph_input():
            given.meta.setdefault(LAYER, node.outputs[0].meta[LAYER])
    else:
        replace(node, "Transpose", [given], {"perm": order})
    return True


def sink(node):
    """Move a Transpose to channels last from the inputs of a node to its output."""
    rule = (
        _sink_elementwise
        if node.op_type in ELEMENTWISE
        else _sink_reduction
        if node.op_type in REDUCTIONS or node.op_type == "Squeeze"
        else _sink_along
        if node.op_type in ALONG_AN_AXIS
        else {"Pad": _sink_pad, "Concat": _sink_concat, "Slice": _sink_slice, "Einsum": _sink_einsum}.get(node.op_type)
    )
    return bool(rule and any(turned(value) for value in node.inputs) and rule(node))


def _sink_elementwise(node):
    axes = next(rank(value) for value in node.inputs if turned(value))
    inputs = []
    for value in node.inputs:
        array = constant(value)
        if turned(value) and rank(value) == axes:
            inputs.append(turned(value).inputs[0])
        elif value is None or (array is not None and (array.ndim == 0 or node.op_type == "Clip")) or _one_value(value, axes):
            inputs.append(value)
        elif array is not None and array.ndim <= axes:
            wide = array.reshape((1,) * (axes - array.ndim) + array.shape)
            inputs.append(changed(value, wide.transpose(to_first(axes))))
        else:
            return False
    return _turn_after(node, inputs, attributes(node), axes)


def _one_value(value, axes):
    """Tell whether a value of so many axes has one number a picture, so that there is nothing to turn."""
    return rank(value) == axes and set(dims(value)[1:]) == {1}


def _sink_reduction(node):
    axes, order = axes_of(node), perm(turned(node.inputs[0]))
    if axes is None:
        return False
    moved = sorted(order[axis] for axis in axes)
    keep = attribute(node, "keepdims", 1) and node.op_type != "Squeeze"
    left = [order[axis] for axis in range(len(order)) if axis not in axes]
    if not keep and left != sorted(left):
        return False
    inputs, others = [turned(node.inputs[0]).inputs[0]], attributes(node)
    if "axes" in others:
        others["axes"] = moved
    else:
        inputs.append(new_constant(node.graph, np.array(moved, "int64")))
    if keep:
        return _turn_after(node, inputs, others, len(order))
    replace(node, node.op_type, inputs, others)
    return True


def _sink_along(node):
    if node.graph.opset_imports[""] < 13:  # over its axis and all that follow
        return False
    order = perm(turned(node.inputs[0]))
    axis = attribute(node, "axis", -1) % len(order)
    return _turn_after(node, [turned(node.inputs[0]).inputs[0]], attributes(node, axis=order[axis]), len(order))


def _sink_pad(node):
    pads = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    axes = rank(node.inputs[0])
    if pads is None or len(pads) != 2 * axes or len(node.inputs) > 3:  # the fourth say which axes the pads are of
        return False
    moved = np.concatenate([half[list(to_first(axes))] for half in (pads[:axes], pads[axes:])])
    inputs = [turned(node.inputs[0]).inputs[0], new_constant(node.graph, moved), *node.inputs[2:]]
    return _turn_after(node, inputs, attributes(node), axes)


def _sink_concat(node):
    axes = rank(node.outputs[0])
    if not all(turned(value) for value in node.inputs):
        return False
    axis = to_last(axes)[attribute(node, "axis") % axes]
    return _turn_after(node, [turned(value).inputs[0] for value in node.inputs], {"axis": axis}, axes)


def _sink_slice(node):
    order = perm(turned(node.inputs[0]))
    if len(node.inputs) < 4 or constant(node.inputs[3]) is None:
        return False
    axes = np.array([order[axis] for axis in constant(node.inputs[3])], "int64")
    inputs = [turned(node.inputs[0]).inputs[0], *node.inputs[1:3], new_constant(node.graph, axes), *node.inputs[4:]]
    return _turn_after(node, inputs, attributes(node), len(order))


def _letters(node):
    """Return (letters of each input, letters of the result) of an Einsum, None where some are not written out."""
    equation = attribute(node, "equation").replace(" ", "")
    if "." in equation or "->" not in equation:
        return None
    left, right = equation.split("->")
    return left.split(","), right


def _sink_einsum(node):
    """Write the letters of the equation in another order instead of turning what they stand for."""
    if not (letters := _letters(node)):
        return False
    (terms, right), inputs = letters, list(node.inputs)
    for place, value in enumerate(node.inputs):
        if turned(value):
            terms[place] = "".join(terms[place][axis] for axis in to_first(len(terms[place])))
            inputs[place] = turned(value).inputs[0]
    if len(right) < 4:
        replace(node, "Einsum", inputs, {"equation": f"{','.join(terms)}->{right}"})
        return True
    right = "".join(right[axis] for axis in to_first(len(right)))
    return _turn_after(node, inputs, {"equation": f"{','.join(terms)}->{right}"}, len(right))


def into_letters(node):
    """Let an Einsum write its result in the order that a Transpose behind it makes."""
    if node.op_type != "Transpose" or not (product := made_by(node.inputs[0], "Einsum")) or not read_once(node.inputs[0]):
        return False
    letters = _letters(product)
    if not letters or len(letters[1]) != len(perm(node)):
        return False
    terms, right = letters
    equation = f"{','.join(terms)}->{''.join(right[axis] for axis in perm(node))}"
    replace(node, "Einsum", product.inputs, {"equation": equation}, of=product)
    return True


def _turn_after(node, inputs, others, axes):
    """Put in the place of a node one that computes on channels first, and a Transpose after it."""
    (old,) = node.outputs
    sizes = dims(old)
    shape = sizes and [old.shape[axis] for axis in to_first(axes)]
    result = insert(node, node.op_type, inputs, others, shape, old.dtype)
    if LAYER in old.meta:
        result.meta[LAYER] = old.meta.pop(LAYER)
    replace(node, "Transpose", [result], {"perm": to_last(axes)})
    return True


def lift(node):
    """Move a Transpose to channels first up, over a node with one input that is computed."""
    if node.op_type != "Transpose" or len(perm(node)) < 4 or perm(node) != to_first(len(perm(node))):
        return False
    above = made_by(node.inputs[0], *ELEMENTWISE)
    if not above or not read_once(above.outputs[0]):
        return False
    computed = [value for value in above.inputs if value is not None and constant(value) is None]
    axes = len(perm(node))
    if len(computed) != 1 or rank(computed[0]) != axes:
        return False
    first = insert(
        node,
        "Transpose",
        computed,
        {"perm": perm(node)},
        [computed[0].shape[axis] for axis in perm(node)],
        computed[0].dtype,
    )
    inputs = []
    for value in above.inputs:
        array = constant(value)
        if value is computed[0]:
            inputs.append(first)
        elif array is None or array.ndim == 0:
            inputs.append(value)
        else:
            wide = array.reshape((1,) * (axes - array.ndim) + array.shape)
            inputs.append(changed(value, wide.transpose(perm(node))))
    if LAYER in above.outputs[0].meta:
        node.outputs[0].meta.setdefault(LAYER, above.outputs[0].meta[LAYER])
    replace(node, above.op_type, inputs, attributes(above))
    return True


def flatten(node):
    """Drop the Transpose before a flatten: the rows of the dense kernel behind it come in another order instead."""
    if node.op_type not in ("Gemm", "MatMul") or not (reshape := made_by(node.inputs[0], "Reshape")):
        return False
    transpose = turned(reshape.inputs[0])
    kernel = constant(node.inputs[1])
    if not transpose or kernel is None or kernel.ndim != 2 or attribute(node, "transB", 0):
        return False
    sizes = dims(transpose.inputs[0])
    if None in sizes[1:] or math.prod(sizes[1:]) != len(kernel) or rank(node.inputs[0]) != 2:
        return False
    rows = np.arange(len(kernel)).reshape([sizes[axis] for axis in to_last(len(sizes))[1:]])
    moved = kernel[np.moveaxis(rows, -1, 0).ravel()]
    shape = list(reshape.outputs[0].shape)
    flat = insert(node, "Reshape", [transpose.inputs[0], reshape.inputs[1]], None, shape, node.inputs[0].dtype, of=reshape)
    replace(node, node.op_type, [flat, changed(node.inputs[1], moved), *node.inputs[2:]], attributes(node))
    return True


def flatten_single(node):
    """Drop a Transpose that moves nothing in memory before a Reshape, which looks at nothing else."""
    if node.op_type != "Reshape" or not (transpose := made_by(node.inputs[0], "Transpose")):
        return False
    sizes = dims(transpose.inputs[0])
    if not sizes or None in sizes[1:] or not _moves_nothing(sizes, perm(transpose)) or constant(node.inputs[1]) is None:
        return False
    if 0 in constant(node.inputs[1]):  # it stands for the size that the input has there
        return False
    replace(node, "Reshape", [transpose.inputs[0], node.inputs[1]])
    return True
