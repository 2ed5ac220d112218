"""Conversion of divisions: quotients are rounded down, and remainders have the sign of the divisor.

The Div of ONNX rounds integers toward zero.
"""

from typing import Any

import numpy as np
import onnx

from exporters.onnx.converters.nodes import NotConvertible, constant, dtype, insert, new_constant, replace

WIDE = {"int32": "int32", "int64": "int64", "uint32": "int64", "float32": "float32", "float64": "float64"}
# Runtimes divide few types. Narrow integers are computed in int32, which holds all their values, float16 in float32.
COMPUTED_IN = {**dict.fromkeys(("int8", "uint8", "int16", "uint16"), "int32"), "float16": "float32", **WIDE}
MOD_SINCE = 10  # opset


def floor_divide(ctx: Any, node: Any) -> None:
    """Convert a quotient that is rounded down."""
    x, y, computed = _operands(ctx, node)
    quotient = insert(ctx, node, "Div", [x, y])
    if computed.startswith("float"):
        _finish(ctx, node, "Floor", [quotient], computed)
        return
    # The quotient is rounded toward zero. It is one too large where the remainder and the divisor differ in sign.
    remainder = insert(ctx, node, "Sub", [x, insert(ctx, node, "Mul", [quotient, y])])
    excess = insert(ctx, node, "Cast", [_wrong_sign(ctx, node, remainder, y, computed)], {"to": _type(computed)})
    _finish(ctx, node, "Sub", [quotient, excess], computed)


def floor_modulo(ctx: Any, node: Any) -> None:
    """Convert a remainder that has the sign of the divisor."""
    x, y, computed = _operands(ctx, node)
    remainder = _truncated_remainder(ctx, node, x, y, computed)
    wrong = _wrong_sign(ctx, node, remainder, y, computed)
    _finish(ctx, node, "Where", [wrong, insert(ctx, node, "Add", [remainder, y]), remainder], computed)


def truncate_divide(ctx: Any, node: Any) -> None:
    """Convert a quotient of integers that is rounded toward zero."""
    x, y, computed = _operands(ctx, node)
    _finish(ctx, node, "Div", [x, y], computed)


def truncate_modulo(ctx: Any, node: Any) -> None:
    """Convert a remainder that has the sign of the dividend."""
    x, y, computed = _operands(ctx, node)
    remainder = _truncated_remainder(ctx, node, x, y, computed)
    _finish(ctx, node, "Identity", [remainder], computed)


def _operands(ctx, node):
    """Return the operands in the type that they are computed in, and that type."""
    given = dtype(ctx, node.input[0])
    if given not in COMPUTED_IN:
        raise NotConvertible(node, f"no runtime divides {given}; cast its inputs to int32, int64 or float32")
    computed = COMPUTED_IN[given]
    if computed == given:
        return *node.input, computed
    return *(insert(ctx, node, "Cast", [each], {"to": _type(computed)}) for each in node.input), computed


def _truncated_remainder(ctx, node, x, y, computed):
    """Return the remainder that has the sign of the dividend."""
    if not computed.startswith("float"):
        return insert(ctx, node, "Sub", [x, insert(ctx, node, "Mul", [insert(ctx, node, "Div", [x, y]), y])])
    if ctx.opset < MOD_SINCE:
        raise NotConvertible(node, f"ONNX has no remainder of {computed} at opset {ctx.opset}; give --opset {MOD_SINCE}")
    return insert(ctx, node, "Mod", [x, y], {"fmod": 1})


def _wrong_sign(ctx, node, remainder, y, computed):
    """Return whether a remainder is not 0 and differs from the divisor in sign."""
    zero = new_constant(ctx, np.zeros((), computed))
    divisor = constant(node, 1)
    if divisor is not None and (divisor > 0).all():
        return insert(ctx, node, "Less", [remainder, zero])
    if divisor is not None and (divisor < 0).all():
        return insert(ctx, node, "Greater", [remainder, zero])
    # Equal takes no floats before opset 11.
    negative = [insert(ctx, node, "Less", [each, zero]) for each in (remainder, y)]
    positive = [insert(ctx, node, "Greater", [each, zero]) for each in (y, remainder)]
    pairs = [insert(ctx, node, "And", [each, other]) for each, other in zip(negative, positive, strict=True)]
    return insert(ctx, node, "Or", pairs)


def _finish(ctx, node, operator, inputs, computed):
    """Replace a node by an operator, cast back to the type of the node."""
    given = ctx.get_dtype(node.output[0])
    if given == _type(computed):
        replace(ctx, node, operator, inputs)
    else:
        replace(ctx, node, "Cast", [insert(ctx, node, operator, inputs)], {"to": given})


def _type(name):
    return onnx.helper.np_dtype_to_tensor_dtype(np.dtype(name))
