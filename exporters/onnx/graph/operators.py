"""Operator fusion: one ONNX operator in place of several from tf2onnx."""

import numpy as np
import onnx_ir as ir

from exporters.onnx.graph.edit import (
    FLOATS,
    attribute,
    attributes,
    cast_like,
    constant,
    insert,
    new_constant,
    pads_with_zeros,
    producer_of_type,
    rank,
    reduction_axes,
    replace,
)

GEMM_BIAS_OPTIONAL = 11  # opset from which a Gemm may have no bias
REDUCTION_AXES_AS_INPUT = 18  # opset from which ReduceMean and ReduceSumSquare take their axes as an input


def matmul_to_gemm(node: ir.Node) -> bool:
    """Replace a MatMul with a constant float matrix by a Gemm, which can also take a bias."""
    matrix = constant(node.inputs[1]) if node.op_type == "MatMul" else None
    if matrix is None or matrix.ndim != 2 or matrix.dtype.kind != "f" or rank(node.inputs[0]) != 2:
        return False
    replace(node, "Gemm", node.inputs)
    return True


def add_gemm_bias(node: ir.Node) -> bool:
    """Give a Gemm without a bias one of zeros before opset 11, where the bias is required."""
    if node.op_type != "Gemm" or len(node.inputs) > 2 or node.graph.opset_imports[""] >= GEMM_BIAS_OPTIONAL:
        return False
    zero = new_constant(node.graph, np.zeros(1, node.inputs[1].dtype.numpy()))
    replace(node, "Gemm", [*node.inputs, zero], attributes(node))
    return True


def expand_expm1(node: ir.Node) -> bool:
    """Replace Expm1, which Keras' CELU uses and ONNX does not have, by Exp(x) - 1."""
    if node.op_type != "Expm1" or node.inputs[0].dtype not in FLOATS:
        return False
    power = insert(node, "Exp", node.inputs, None, node.inputs[0].shape, node.inputs[0].dtype)
    replace(node, "Sub", [power, new_constant(node.graph, cast_like(node.inputs[0], 1))])
    return True


def crop_to_output_padding(node: ir.Node) -> bool:
    """Replace the negative padding of a ConvTranspose, which ONNX does not allow, by output padding.

    tf2onnx writes it where the stride is larger than the kernel: the last pixels of the output are read by no input.
    """
    pads = np.array(attribute(node, "pads", [0]) if node.op_type == "ConvTranspose" else [0])
    if not (pads < 0).any():
        return False
    begins, ends = pads.reshape(2, -1)
    added = np.array(attribute(node, "output_padding", [0] * len(begins))) + np.maximum(-(begins + ends), 0)
    kept = np.where(begins + ends < 0, 0, pads.reshape(2, -1))
    replaced = {"pads": kept.ravel().tolist(), "output_padding": added.tolist()}
    replace(node, "ConvTranspose", node.inputs, attributes(node, **replaced))
    return True


def products_to_where(node: ir.Node) -> bool:
    """Replace cast(c)·a + cast(not c)·b by Where(c, a, b). A factor of 1 may be omitted."""
    if node.op_type != "Add":
        return False
    branches = {}  # whether the condition holds -> (condition, value)
    for value in node.inputs:
        product = producer_of_type(value, "Mul")
        for mask, factor in ((*product.inputs,), (*product.inputs[::-1],)) if product else ((value, None),):
            cast = producer_of_type(mask, "Cast")
            if cast and cast.inputs[0].dtype == ir.DataType.BOOL and value.dtype in FLOATS:
                negation = producer_of_type(cast.inputs[0], "Not")
                factor = factor or new_constant(node.graph, cast_like(value, 1))
                branches[negation is None] = (negation or cast).inputs[0], factor
                break
    if len(branches) != 2 or branches[True][0] is not branches[False][0]:
        return False
    replace(node, "Where", [branches[True][0], branches[True][1], branches[False][1]])
    return True


def fuse_sum_of_squares(node: ir.Node) -> bool:
    """Replace ReduceSum(x·x) by ReduceSumSquare(x)."""
    square = producer_of_type(node.inputs[0], "Mul") if node.op_type == "ReduceSum" else None
    if not square or square.inputs[0] is not square.inputs[1]:
        return False
    axes = constant(node.inputs[1]) if len(node.inputs) > 1 else attribute(node, "axes")
    if axes is None or not len(axes):  # no axes may mean all axes or none
        return False
    axes_as_input = node.graph.opset_imports[""] >= REDUCTION_AXES_AS_INPUT
    axes = [int(axis) for axis in axes]
    inputs = [square.inputs[0], *([new_constant(node.graph, np.array(axes, "int64"))] if axes_as_input else [])]
    replaced = {"keepdims": attribute(node, "keepdims", 1), **({} if axes_as_input else {"axes": axes})}
    replace(node, "ReduceSumSquare", inputs, replaced)
    return True


def expand_erfc(node: ir.Node) -> bool:
    """Replace Erfc, which Keras' GELU uses and ONNX does not have, by 1 - Erf(x)."""
    if node.op_type != "Erfc" or node.inputs[0].dtype not in FLOATS:
        return False
    error = insert(node, "Erf", node.inputs, None, node.inputs[0].shape, node.inputs[0].dtype)
    replace(node, "Sub", [new_constant(node.graph, cast_like(node.inputs[0], 1)), error])
    return True


def fuse_mean(node: ir.Node) -> bool:
    """Replace GlobalAveragePool followed by Squeeze by ReduceMean without keepdims."""
    if node.op_type != "Squeeze" or not (pool := producer_of_type(node.inputs[0], "GlobalAveragePool")):
        return False
    axes = reduction_axes(node)
    if axes is None or sorted(axes) != list(range(2, rank(pool.inputs[0]) or 0)):
        return False
    axes_as_input = node.graph.opset_imports[""] >= REDUCTION_AXES_AS_INPUT
    inputs = [pool.inputs[0], *([new_constant(node.graph, np.array(axes, "int64"))] if axes_as_input else [])]
    replace(node, "ReduceMean", inputs, {"keepdims": 0, **({} if axes_as_input else {"axes": axes})}, layer_of=pool)
    return True


def fuse_pad(node: ir.Node) -> bool:
    """Fuse a Pad with zeros into the padding of the Conv or AveragePool that reads it."""
    if node.op_type not in ("Conv", "AveragePool") or not (pad := producer_of_type(node.inputs[0], "Pad")):
        return False
    if attribute(node, "auto_pad", "NOTSET") != "NOTSET" or not _is_spatial_zero_pad(pad):
        return False
    axes = rank(pad.inputs[0])
    added = constant(pad.inputs[1]).reshape(2, axes)
    existing = np.array(attribute(node, "pads", [0] * 2 * (axes - 2))).reshape(2, axes - 2)
    if node.op_type == "AveragePool" and existing.any():
        return False
    replaced = {"pads": [int(each) for each in (added[:, 2:] + existing).ravel()]}
    if node.op_type == "AveragePool":
        window = attribute(node, "kernel_shape")
        if attribute(node, "ceil_mode", 0) or any(
            side >= size for side, size in zip(replaced["pads"], [*window, *window], strict=True)
        ):
            return False
        replaced["count_include_pad"] = 1
    replace(node, node.op_type, [pad.inputs[0], *node.inputs[1:]], attributes(node, **replaced))
    return True


def sink_pad_below_sum_of_squares(node: ir.Node) -> bool:
    """Move a Pad with zeros below a sum of squares over the channels, where `fuse_pad` can reach it."""
    if (
        node.op_type != "ReduceSumSquare"
        or not (pad := producer_of_type(node.inputs[0], "Pad"))
        or not attribute(node, "keepdims", 1)
    ):
        return False
    if reduction_axes(node) != [1] or not _is_spatial_zero_pad(pad):
        return False
    source, (old,) = pad.inputs[0], node.outputs
    shape = [source.shape[0], 1, *source.shape[2:]]
    summed = insert(node, node.op_type, [source, *node.inputs[1:]], attributes(node), shape, old.dtype)
    replace(node, "Pad", [summed, *pad.inputs[1:]], attributes(pad))
    return True


def _is_spatial_zero_pad(pad):
    """Return whether a Pad adds zeros, and only along the axes after batch and channels."""
    widths, axes = constant(pad.inputs[1]) if len(pad.inputs) > 1 else None, rank(pad.inputs[0])
    # The fourth input selects and reorders axes.
    if widths is None or axes is None or not pads_with_zeros(pad) or len(pad.inputs) > 3:
        return False
    return len(widths) == 2 * axes and widths.min() >= 0 and not widths.reshape(2, axes)[:, :2].any()
