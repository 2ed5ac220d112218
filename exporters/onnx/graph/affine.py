"""Factors and offsets that go into the weights of the convolution or dense layer beside them, where that is exact.

A scaling x·a, an offset x + b, a batch normalization: each is a constant a channel. Behind a product they change its
weights and its bias. Before one, too, an offset only where no border of zeros comes between. Where no product is beside them
they move down, over what does not mind.
"""

import numpy as np

from exporters.onnx.graph.edit import (
    FLOATS,
    attribute,
    attributes,
    changed,
    constant,
    dims,
    fills_with_zeros,
    insert,
    made_by,
    new_constant,
    rank,
    read_once,
    replace,
    typed,
)

LINEAR = ("Conv", "Gemm")


def scale_of(node):
    """Return (value, factor) of a node that multiplies by a constant, else None."""
    if node is None or node.domain:
        return None
    if node.op_type == "Neg" and node.inputs[0].dtype in FLOATS:
        return node.inputs[0], typed(node.inputs[0], -1)
    return _with_constant(node, "Mul", "Div", lambda array: _quotient(1, array))


def offset_of(node):
    """Return (value, offset) of a node that adds a constant, else None."""
    return None if node is None or node.domain else _with_constant(node, "Add", "Sub", lambda array: -array)


def _with_constant(node, commuting, inverse, invert):
    if node.op_type not in (commuting, inverse):
        return None
    one, other = node.inputs
    array = constant(other)
    if array is None and node.op_type == commuting:
        one, other, array = other, one, constant(one)
    if array is None or constant(one) is not None or array.dtype.kind != "f":
        return None
    if rank(one) is None or array.ndim > rank(one) or (array.ndim and array.size > 1 and dims(node.outputs[0]) != dims(one)):
        return None  # it would broadcast the value
    if node.op_type == commuting:
        return one, array
    inverted = invert(array)
    if commuting == "Mul" and not np.isfinite(inverted).all():
        return None  # one by 0, or by next to nothing
    return one, inverted


def _by_channel(array, axes, channels):
    """Return a constant that broadcasts over so many axes as a vector of one value a channel; None if it is not that."""
    if array.size == 1:
        return np.full(channels, array.reshape(()), array.dtype)
    if axes < 2:
        return None
    wide = array.reshape((1,) * (axes - array.ndim) + array.shape)
    if wide.shape[1] != channels or wide.size != channels:
        return None
    return wide.reshape(channels)


def _weights(node):
    """Return kernel and bias of a Conv or Gemm as arrays, a bias that it has not as None; None if they are not constant."""
    kernel = constant(node.inputs[1])
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if kernel is None or (bias is not None and (constant(bias) is None or constant(bias).ndim != 1)):
        return None
    if node.op_type == "Gemm":
        plain = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
        if any(attribute(node, name, value) != value for name, value in plain.items()):
            return None
    return kernel, None if bias is None else constant(bias)


def after_product(node):
    """Take a factor or offset behind a Conv or Gemm into its weights."""
    scale, offset = scale_of(node), offset_of(node)
    given = (scale or offset or [None])[0]
    product = made_by(given, *LINEAR)
    if not product or not read_once(given) or not (weights := _weights(product)):
        return False
    kernel, bias = weights
    channels = kernel.shape[0 if product.op_type == "Conv" else 1]
    array = _by_channel((scale or offset)[1], rank(given), channels)
    if array is None:
        return False
    inputs = [*product.inputs[:3]]
    if scale:
        inputs[1] = changed(
            inputs[1], kernel * (array.reshape(-1, *(1,) * (kernel.ndim - 1)) if product.op_type == "Conv" else array)
        )
        if bias is not None:
            inputs[2] = changed(inputs[2], bias * array)
    elif bias is not None:
        inputs[2] = changed(inputs[2], bias + array)
    else:
        inputs[2:] = [_in_place_of(node, array)]
    replace(node, product.op_type, inputs, attributes(product), of=product)
    return True


def before_product(node):
    """Take a factor or offset before a Conv or Gemm into its weights."""
    if node.op_type not in LINEAR or not (weights := _weights(node)):
        return False
    above = node.inputs[0].producer()
    scale, offset = scale_of(above), offset_of(above)
    if not scale and not offset:
        return False
    kernel, bias = weights
    given, array = scale or offset
    groups = attribute(node, "group", 1)
    channels = kernel.shape[1] * groups if node.op_type == "Conv" else kernel.shape[0]
    array = _by_channel(array, rank(given), channels)
    if array is None or (
        offset and (any(attribute(node, "pads", [0])) or attribute(node, "auto_pad", "NOTSET") != "NOTSET")
    ):
        return False
    if node.op_type == "Gemm":
        factors, added = array[:, None], array.astype("float64") @ kernel
    else:
        # Kernel [out, in of a group, ...]: outputs of group g see the channels from g times their number on.
        seen = np.repeat(array.reshape(groups, -1), kernel.shape[0] // groups, axis=0)
        factors = seen.reshape(*seen.shape, *(1,) * (kernel.ndim - 2))
        added = (kernel.reshape(*kernel.shape[:2], -1).sum(axis=2, dtype="float64") * seen).sum(axis=1)
    inputs = [given, *node.inputs[1:3]]
    if scale:
        inputs[1] = changed(inputs[1], kernel * factors)
    elif bias is not None:
        inputs[2] = changed(inputs[2], bias + added)
    else:
        inputs[2:] = [new_constant(node.graph, added.astype(kernel.dtype))]
    replace(node, node.op_type, inputs, attributes(node))
    return True


def into_choice(node):
    """Take a factor or offset behind a choice between two constants into these; a factor, behind a sum of such, too."""
    scale, offset = scale_of(node), offset_of(node)
    given = (scale or offset or [None])[0]
    total = made_by(given, "ReduceSum") if scale else None
    choice = made_by(total.inputs[0] if total else given, "Where")
    array = (scale or offset)[1] if choice else None
    if array is None or array.size != 1 or not read_once(given) or any(constant(each) is None for each in choice.inputs[1:]):
        return False
    if total and not read_once(choice.outputs[0]):
        return False
    arrays = [constant(each) * array if scale else constant(each) + array for each in choice.inputs[1:]]
    inputs = [choice.inputs[0], *(new_constant(node.graph, np.asarray(each)) for each in arrays)]
    if total:
        (summed,) = choice.outputs
        inputs = [insert(node, "Where", inputs, None, summed.shape, summed.dtype, of=choice), *total.inputs[1:]]
    replace(node, total.op_type if total else "Where", inputs, attributes(total) if total else None, of=total or choice)
    return True


def constant_last(node):
    """Write the constant of a product or sum behind what it is applied to."""
    if node.op_type not in ("Add", "Mul") or constant(node.inputs[0]) is None or constant(node.inputs[1]) is not None:
        return False
    replace(node, node.op_type, node.inputs[::-1])
    return True


def join(node):
    """Multiply once instead of twice; add once instead of twice; multiply last, as a factor can go on from there."""
    scale, offset = scale_of(node), offset_of(node)
    if not scale and not offset:
        return False
    given = (scale or offset)[0]
    above = given.producer()
    if not read_once(given):
        return False
    if scale and (first := scale_of(above)):
        replace(node, "Mul", [first[0], new_constant(node.graph, np.asarray(first[1] * scale[1]))])
    elif offset and (first := offset_of(above)):
        replace(node, "Add", [first[0], new_constant(node.graph, np.asarray(first[1] + offset[1]))])
    elif (
        offset
        and (first := scale_of(above))
        and np.isfinite(offset_before := _quotient(offset[1], first[1])).all()
        and _leads_to_product(node.outputs[0])
    ):
        # x·a + b is (x + b/a)·a
        added = new_constant(node.graph, np.asarray(offset_before))
        moved = insert(node, "Add", [first[0], added], None, first[0].shape, given.dtype)
        replace(node, "Mul", [moved, new_constant(node.graph, np.asarray(first[1]))])
    else:
        return False
    return True


def _quotient(one, other):
    """Return one array by another; where the result is too large or the other is 0, it is not finite."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return one / other


# What a positive factor passes, the same for all channels or not.
PASSED = {"AveragePool", "GlobalAveragePool", "MaxPool", "GlobalMaxPool", "Relu", "Unsqueeze", "Squeeze"}


def sink(node):
    """Move a factor, or before a flatten an offset, from the input of a node to its output."""
    if not node.inputs or len(node.outputs) != 1 or node.domain:
        return False
    value = node.inputs[0]
    if value is None or not read_once(value):
        return False
    scale, offset = scale_of(value.producer()), offset_of(value.producer())
    if not scale and not offset:
        return False
    given, array = scale or offset
    single = array.size == 1
    if single:
        array = array.reshape(())  # it fits a result with fewer axes, too
    if node.op_type == "Reshape":
        moved = _reshaped(node, array, given)
        return (
            moved is not None
            and _leads_to_product(node.outputs[0])
            and _after(node, given, "Mul" if scale else "Add", moved)
        )
    if not scale:
        return False
    monotone = node.op_type in ("Relu", "MaxPool", "GlobalMaxPool")
    if node.op_type in PASSED and (array > 0).all() | (not monotone):
        if node.op_type in ("Squeeze", "Unsqueeze") and not single:
            return False
        if not single and (rank(given) < 2 or _by_channel(array, rank(given), dims(given)[1]) is None):
            return False
        return _after(node, given, "Mul", array)
    if node.op_type == "Pad" and single:
        return fills_with_zeros(node) and _after(node, given, "Mul", array)
    if (
        node.op_type in ("Add", "Sub")
        and single
        and (other := constant(node.inputs[1])) is not None
        and np.isfinite(offset_before := _quotient(other, array)).all()
    ):
        # x·a - b is (x - b/a)·a: on its way to a sum of squares, where a² comes out of it
        squares = [use.node for use in node.outputs[0].uses()]
        if len(squares) == 1 and squares[0].op_type == "ReduceSumSquare":
            inputs = [given, changed(node.inputs[1], offset_before)]
            moved = insert(node, node.op_type, inputs, None, node.outputs[0].shape, given.dtype)
            replace(node, "Mul", [moved, new_constant(node.graph, np.asarray(array))])
            return True
    if node.op_type == "ReduceSumSquare" and single:
        return _after(node, given, "Mul", array * array)
    return False


def _after(node, given, op_type, array):
    """Put a node on the value before a factor or offset, and that behind it."""
    (old,) = node.outputs
    moved = insert(node, node.op_type, [given, *node.inputs[1:]], attributes(node), old.shape, old.dtype)
    replace(node, op_type, [moved, new_constant(node.graph, np.asarray(array))])
    return True


def _reshaped(node, array, given):
    """Return a constant that broadcasts over the input of a Reshape as one for its output, or None where it has none."""
    if array.size == 1:
        return array.reshape(())
    before, after = dims(given), dims(node.outputs[0])
    if not before or not after or None in before[1:] or len(after) != 2 or array.reshape(-1).shape[0] != array.size:
        return None
    wide = array.reshape((1,) * (len(before) - array.ndim) + array.shape)
    if wide.shape[0] != 1 or None in after[1:] or np.prod(before[1:]) != after[1]:
        return None
    return np.broadcast_to(wide, (1, *before[1:])).reshape(1, -1).copy()


def _leads_to_product(value):
    """Tell whether all that read a value will sooner or later take a factor or offset into their weights."""
    readers = [use.node for use in value.uses()]
    if not readers or value.is_graph_output():
        return False
    for reader in readers:
        passes = reader.op_type in ("Reshape", "Mul", "Add") and _leads_to_product(reader.outputs[0])
        if reader.inputs[0] is not value or not (reader.op_type in (*LINEAR, "MatMul") or passes):
            return False
    return True


def normalization(node):
    """Write a BatchNormalization between products as the factor and the offset that it is."""
    if node.op_type != "BatchNormalization" or len([value for value in node.outputs if value.uses()]) > 1:
        return False
    arrays = [constant(value) for value in node.inputs[1:]]
    given = node.inputs[0]
    behind = made_by(given, *LINEAR) and read_once(given)
    if any(array is None for array in arrays) or not (behind or _leads_to_product(node.outputs[0])):
        return False
    if rank(given) is None or given.dtype not in FLOATS:
        return False
    scale, offset, mean, variance = (array.astype("float64") for array in arrays)
    factor = scale / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    shape = (1, -1, *(1,) * (rank(given) - 2))
    arrays = [typed(given, array.reshape(shape)) for array in (factor, offset - mean * factor)]
    multiplied = insert(node, "Mul", [given, new_constant(node.graph, arrays[0])], None, given.shape, given.dtype)
    replace(node, "Add", [multiplied, new_constant(node.graph, arrays[1])])
    return True


def _in_place_of(node, array):
    """Return a constant in the place of the one that a factor or offset has; Neg has none."""
    source = next((value for value in node.inputs if constant(value) is not None), None)
    if source is None:
        return new_constant(node.graph, array.astype(node.outputs[0].dtype.numpy()))
    return changed(source, array)


def pool_as_convolution(node):
    """Write an average pool with a factor and an offset a map behind it as the depthwise convolution that they are."""
    if not (offset := offset_of(node)) or not (scale := scale_of(offset[0].producer())):
        return False
    pool = made_by(scale[0], "AveragePool")
    if not pool or not read_once(scale[0]) or not read_once(offset[0]) or set(pool.attributes) - {"kernel_shape", "strides"}:
        return False
    maps = dims(pool.inputs[0])[1]
    window = list(attribute(pool, "kernel_shape"))
    factor, bias = (_by_channel(array, rank(scale[0]), maps) for array in (scale[1], offset[1]))
    if factor is None or bias is None:
        return False
    kernel = np.broadcast_to((factor / np.prod(window)).reshape(-1, *(1,) * (len(window) + 1)), (maps, 1, *window))
    inputs = [pool.inputs[0], _in_place_of(offset[0].producer(), kernel), _in_place_of(node, bias)]
    replace(node, "Conv", inputs, {**attributes(pool), "group": maps}, of=pool)
    return True
