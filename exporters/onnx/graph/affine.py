"""Affine folding: constant scales and offsets move into the weights of a neighboring convolution or dense layer.

A scaling x·a, an offset x + b and a batch normalization are constants per channel. After a Conv or Gemm they change its
weights and bias. Before one, too, except that an offset cannot cross zero padding. Every rule applies only where it is
exact. `affine_sinking.py` moves scales and offsets down to such a layer.
"""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from exporters.onnx.graph.edit import (
    FLOATS,
    attribute,
    attributes,
    cast_like,
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

LINEAR = ("Conv", "Gemm")


def scale_of(node: ir.Node | None) -> tuple[ir.Value, np.ndarray] | None:
    """Return (input, factor) of a node that multiplies by a constant, else None."""
    if node is None or node.domain:
        return None
    if node.op_type == "Neg" and node.inputs[0].dtype in FLOATS:
        return node.inputs[0], cast_like(node.inputs[0], -1)
    return _split_constant(node, "Mul", "Div", lambda array: quotient(1, array))


def offset_of(node: ir.Node | None) -> tuple[ir.Value, np.ndarray] | None:
    """Return (input, offset) of a node that adds a constant, else None."""
    return None if node is None or node.domain else _split_constant(node, "Add", "Sub", lambda array: -array)


def _split_constant(
    node: ir.Node, commutative: str, inverse: str, invert: Callable[[np.ndarray], np.ndarray]
) -> tuple[ir.Value, np.ndarray] | None:
    """Return the computed input of a binary node and its constant one, inverted for the inverse operator."""
    if node.op_type not in (commutative, inverse):
        return None
    source, other = node.inputs
    array = constant(other)
    if array is None and node.op_type == commutative:
        source, other, array = other, source, constant(source)
    if array is None or constant(source) is not None or array.dtype.kind != "f":
        return None
    axes = rank(source)
    if axes is None or array.ndim > axes or (array.ndim and array.size > 1 and dims(node.outputs[0]) != dims(source)):
        return None  # the constant would broadcast the value
    if node.op_type == commutative:
        return source, array
    inverted = invert(array)
    if commutative == "Mul" and not np.isfinite(inverted).all():
        return None  # the reciprocal of zero or of a subnormal number
    return source, inverted


def quotient(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide two arrays without warnings. Overflow and division by zero give values that are not finite."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return numerator / denominator


def per_channel(array: np.ndarray, axes: int, channels: int) -> np.ndarray | None:
    """Return a constant as a vector with one value per channel.

    Args:
        array: constant that broadcasts over a tensor with the channels on axis 1.
        axes: rank of that tensor.
        channels: size of its axis 1.

    Returns:
        (channels,) array, or None if the constant varies along another axis.
    """
    if array.size == 1:
        return np.full(channels, array.reshape(()), array.dtype)
    if axes < 2:
        return None
    expanded = array.reshape((1,) * (axes - array.ndim) + array.shape)
    if expanded.shape[1] != channels or expanded.size != channels:
        return None
    return expanded.reshape(channels)


def channel_count(value: ir.Value) -> int | None:
    """Return the size of axis 1 of a value, or None if it is unknown."""
    sizes = dims(value)
    return sizes[1] if sizes and len(sizes) > 1 else None


def _weights(node):
    """Return (kernel, bias) of a Conv or Gemm as arrays, bias None if absent; None if they are not constant."""
    kernel = constant(node.inputs[1])
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if kernel is None or (bias is not None and (constant(bias) is None or constant(bias).ndim != 1)):
        return None
    if node.op_type == "Gemm":
        plain = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
        if any(attribute(node, name, value) != value for name, value in plain.items()):
            return None
    return kernel, None if bias is None else constant(bias)


def fold_into_producer(node: ir.Node) -> bool:
    """Fold a scale or offset into the weights of the Conv or Gemm before it."""
    scale, offset = scale_of(node), offset_of(node)
    source = (scale or offset or [None])[0]
    product = producer_of_type(source, *LINEAR)
    if not product or not has_single_reader(source) or not (weights := _weights(product)):
        return False
    kernel, bias = weights
    channels = kernel.shape[0 if product.op_type == "Conv" else 1]
    array = per_channel((scale or offset)[1], rank(source), channels)
    if array is None:
        return False
    inputs = [*product.inputs[:3]]
    if scale:
        factors = array.reshape(-1, *(1,) * (kernel.ndim - 1)) if product.op_type == "Conv" else array
        inputs[1] = constant_like(inputs[1], kernel * factors)
        if bias is not None:
            inputs[2] = constant_like(inputs[2], bias * array)
    elif bias is not None:
        inputs[2] = constant_like(inputs[2], bias + array)
    else:
        inputs[2:] = [_constant_like_operand(node, array)]
    replace(node, product.op_type, inputs, attributes(product), layer_of=product)
    return True


def fold_into_consumer(node: ir.Node) -> bool:
    """Fold a scale or offset into the weights of the Conv or Gemm after it, which is `node`."""
    if node.op_type not in LINEAR or not (weights := _weights(node)):
        return False
    above = node.inputs[0].producer()
    scale, offset = scale_of(above), offset_of(above)
    if not scale and not offset:
        return False
    kernel, bias = weights
    source, array = scale or offset
    groups = attribute(node, "group", 1)
    channels = kernel.shape[1] * groups if node.op_type == "Conv" else kernel.shape[0]
    array = per_channel(array, rank(source), channels)
    padded = any(attribute(node, "pads", [0])) or attribute(node, "auto_pad", "NOTSET") != "NOTSET"
    if array is None or (offset and padded):
        return False
    if node.op_type == "Gemm":
        factors, added = array[:, None], array.astype("float64") @ kernel
    else:
        # Kernel (out, in per group, ...): each output channel reads the input channels of its own group.
        read = np.repeat(array.reshape(groups, -1), kernel.shape[0] // groups, axis=0)
        factors = read.reshape(*read.shape, *(1,) * (kernel.ndim - 2))
        added = (kernel.reshape(*kernel.shape[:2], -1).sum(axis=2, dtype="float64") * read).sum(axis=1)
    inputs = [source, *node.inputs[1:3]]
    if scale:
        inputs[1] = constant_like(inputs[1], kernel * factors)
    elif bias is not None:
        inputs[2] = constant_like(inputs[2], bias + added)
    else:
        inputs[2:] = [new_constant(node.graph, added.astype(kernel.dtype))]
    replace(node, node.op_type, inputs, attributes(node))
    return True


def fold_into_where(node: ir.Node) -> bool:
    """Fold a scalar scale or offset into the two constants of a Where; a scale, also across a ReduceSum between them."""
    scale, offset = scale_of(node), offset_of(node)
    source = (scale or offset or [None])[0]
    total = producer_of_type(source, "ReduceSum") if scale else None
    where = producer_of_type(total.inputs[0] if total else source, "Where")
    array = (scale or offset)[1] if where else None
    if array is None or array.size != 1 or not has_single_reader(source):
        return False
    if any(constant(each) is None for each in where.inputs[1:]) or (total and not has_single_reader(where.outputs[0])):
        return False
    arrays = [constant(each) * array if scale else constant(each) + array for each in where.inputs[1:]]
    inputs = [where.inputs[0], *(new_constant(node.graph, np.asarray(each)) for each in arrays)]
    if total:
        (old,) = where.outputs
        inputs = [insert(node, "Where", inputs, None, old.shape, old.dtype, layer_of=where), *total.inputs[1:]]
        replace(node, total.op_type, inputs, attributes(total), layer_of=total)
    else:
        replace(node, "Where", inputs, layer_of=where)
    return True


def move_constant_last(node: ir.Node) -> bool:
    """Make the constant of a product or sum its second operand."""
    if node.op_type not in ("Add", "Mul") or constant(node.inputs[0]) is None or constant(node.inputs[1]) is not None:
        return False
    replace(node, node.op_type, node.inputs[::-1])
    return True


def reaches_product(value: ir.Value) -> bool:
    """Return whether all readers of a value can eventually fold a scale or offset into their weights."""
    readers = [use.node for use in value.uses()]
    if not readers or value.is_graph_output():
        return False
    for reader in readers:
        passes = reader.op_type in ("Reshape", "Mul", "Add") and reaches_product(reader.outputs[0])
        if reader.inputs[0] is not value or not (reader.op_type in (*LINEAR, "MatMul") or passes):
            return False
    return True


def batch_normalization_to_affine(node: ir.Node) -> bool:
    """Replace a BatchNormalization next to a product by a scale and an offset, which the product can fold."""
    if node.op_type != "BatchNormalization" or len([value for value in node.outputs if value.uses()]) > 1:
        return False
    arrays = [constant(value) for value in node.inputs[1:]]
    source = node.inputs[0]
    after_product = producer_of_type(source, *LINEAR) and has_single_reader(source)
    if any(array is None for array in arrays) or not (after_product or reaches_product(node.outputs[0])):
        return False
    if rank(source) is None or source.dtype not in FLOATS:
        return False
    gamma, beta, mean, variance = (array.astype("float64") for array in arrays)
    factor = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    shape = (1, -1, *(1,) * (rank(source) - 2))
    scale, offset = (cast_like(source, array.reshape(shape)) for array in (factor, beta - mean * factor))
    scaled = insert(node, "Mul", [source, new_constant(node.graph, scale)], None, source.shape, source.dtype)
    replace(node, "Add", [scaled, new_constant(node.graph, offset)])
    return True


def pool_to_convolution(node: ir.Node) -> bool:
    """Replace an AveragePool followed by a scale and an offset per channel by a depthwise convolution."""
    if not (offset := offset_of(node)) or not (scale := scale_of(offset[0].producer())):
        return False
    pool = producer_of_type(scale[0], "AveragePool")
    if not pool or not has_single_reader(scale[0]) or not has_single_reader(offset[0]):
        return False
    if set(pool.attributes) - {"kernel_shape", "strides"} or not (channels := channel_count(pool.inputs[0])):
        return False
    window = list(attribute(pool, "kernel_shape"))
    factor, bias = (per_channel(array, rank(scale[0]), channels) for array in (scale[1], offset[1]))
    if factor is None or bias is None:
        return False
    kernel = (factor / np.prod(window)).reshape(-1, *(1,) * (len(window) + 1))
    kernel = np.broadcast_to(kernel, (channels, 1, *window))
    weights = [_constant_like_operand(offset[0].producer(), kernel), _constant_like_operand(node, bias)]
    replace(node, "Conv", [pool.inputs[0], *weights], {**attributes(pool), "group": channels}, layer_of=pool)
    return True


def _constant_like_operand(node, array):
    """Return a new constant in place of the constant operand of a scale or offset. Neg has none."""
    operand = next((value for value in node.inputs if constant(value) is not None), None)
    if operand is None:
        return new_constant(node.graph, array.astype(node.outputs[0].dtype.numpy()))
    return constant_like(operand, array)
