"""One operator for what tf2onnx writes as several."""

import re

import numpy as np
import onnx_ir as ir

from exporters.onnx.graph.edit import (
    FLOATS,
    attribute,
    attributes,
    axes_of,
    constant,
    dims,
    fills_with_zeros,
    insert,
    made_by,
    new_constant,
    rank,
    replace,
    typed,
)

GROUPS = "zoo_in_groups_"  # begins a part of the name of an LRN, and their number ends it


def gemm(node):
    """Write the product of rows with a constant matrix of floats as a Gemm, which has place for a bias."""
    matrix = constant(node.inputs[1]) if node.op_type == "MatMul" else None
    if matrix is None or matrix.ndim != 2 or matrix.dtype.kind != "f" or rank(node.inputs[0]) != 2:
        return False
    replace(node, "Gemm", node.inputs)
    return True


def where(node):
    """Write c·a + (not c)·b as the choice that it is; a factor of 1 may be left out."""
    if node.op_type != "Add":
        return False
    found = {}
    for value in node.inputs:
        product = made_by(value, "Mul")
        for given, other in ((*product.inputs,), (*product.inputs[::-1],)) if product else ((value, None),):
            cast = made_by(given, "Cast")
            if cast and cast.inputs[0].dtype == ir.DataType.BOOL and value.dtype in FLOATS:
                negation = made_by(cast.inputs[0], "Not")
                found[negation is None] = (negation or cast).inputs[0], other or new_constant(node.graph, typed(value, 1))
                break
    if len(found) != 2 or found[True][0] is not found[False][0]:
        return False
    replace(node, "Where", [found[True][0], found[True][1], found[False][1]])
    return True


def sum_of_squares(node):
    """Sum squares in one operator."""
    if (
        node.op_type != "ReduceSum"
        or not (square := made_by(node.inputs[0], "Mul"))
        or square.inputs[0] is not square.inputs[1]
    ):
        return False
    axes = constant(node.inputs[1]) if len(node.inputs) > 1 else attribute(node, "axes")
    if axes is None or not len(axes):  # none may mean all or nothing
        return False
    # Its axes became an input later than those of ReduceSum.
    late = node.graph.opset_imports[""] >= 18
    axes = [int(axis) for axis in axes]
    inputs = [square.inputs[0], *([new_constant(node.graph, np.array(axes, "int64"))] if late else [])]
    others = {"keepdims": attribute(node, "keepdims", 1), **({} if late else {"axes": axes})}
    replace(node, "ReduceSumSquare", inputs, others)
    return True


def erfc(node):
    """Write the complement of the error function, which ONNX has not and Keras' GELU uses, as 1 - erf(x)."""
    if node.op_type != "Erfc" or node.inputs[0].dtype not in FLOATS:
        return False
    error = insert(node, "Erf", node.inputs, None, node.inputs[0].shape, node.inputs[0].dtype)
    replace(node, "Sub", [new_constant(node.graph, typed(node.inputs[0], 1)), error])
    return True


def mean(node):
    """Take the mean of each map in one operator, without axes of size 1 that are squeezed away again."""
    if node.op_type != "Squeeze" or not (pool := made_by(node.inputs[0], "GlobalAveragePool")):
        return False
    axes = axes_of(node)
    if axes is None or sorted(axes) != list(range(2, rank(pool.inputs[0]) or 0)):
        return False
    late = node.graph.opset_imports[""] >= 18  # its axes became an input then
    inputs = [pool.inputs[0], *([new_constant(node.graph, np.array(axes, "int64"))] if late else [])]
    replace(node, "ReduceMean", inputs, {"keepdims": 0, **({} if late else {"axes": axes})}, of=pool)
    return True


def by_place(node):
    """Write the product of each place with a matrix of its own in the letters of Einsum, which need nothing turned."""
    product = made_by(node.inputs[0], "MatMul") if node.op_type == "Squeeze" else None
    turned = made_by(product.inputs[0], "Transpose") if product else None
    wide = made_by(turned.inputs[0], "Unsqueeze") if turned else None
    if not wide or node.graph.opset_imports[""] < 12 or constant(product.inputs[1]) is None:
        return False
    if (
        list(attribute(turned, "perm", [])) != [0, 3, 4, 1, 2]
        or axes_of(node) != [3]
        or constant(product.inputs[1]).ndim != 4
    ):
        return False
    if axes_of(wide) != [1] or rank(wide.inputs[0]) != 4:
        return False
    replace(node, "Einsum", [wide.inputs[0], product.inputs[1]], {"equation": "nkhw,hwkf->nhwf"}, of=product)
    return True


def pads(node):
    """Let a convolution or an average pool make its own border of zeros."""
    if node.op_type not in ("Conv", "AveragePool") or not (pad := made_by(node.inputs[0], "Pad")):
        return False
    if attribute(node, "auto_pad", "NOTSET") != "NOTSET" or not _zeros_around_maps(pad):
        return False
    axes = rank(pad.inputs[0])
    halves = constant(pad.inputs[1]).reshape(2, axes)
    before = np.array(attribute(node, "pads", [0] * 2 * (axes - 2))).reshape(2, axes - 2)
    if node.op_type == "AveragePool" and before.any():
        return False
    both = {"pads": [int(each) for each in (halves[:, 2:] + before).ravel()]}
    if node.op_type == "AveragePool":
        window = attribute(node, "kernel_shape")
        if attribute(node, "ceil_mode", 0) or any(
            side >= size for side, size in zip(both["pads"], [*window, *window], strict=True)
        ):
            return False
        both["count_include_pad"] = 1
    replace(node, node.op_type, [pad.inputs[0], *node.inputs[1:]], attributes(node, **both))
    return True


def pad_sum_of_squares(node):
    """Make a border of zeros behind a sum of squares over the maps instead of before it, where `pads` can find it."""
    if (
        node.op_type != "ReduceSumSquare"
        or not (pad := made_by(node.inputs[0], "Pad"))
        or not attribute(node, "keepdims", 1)
    ):
        return False
    if axes_of(node) != [1] or not _zeros_around_maps(pad):
        return False
    given, (old,) = pad.inputs[0], node.outputs
    summed = insert(
        node, node.op_type, [given, *node.inputs[1:]], attributes(node), [given.shape[0], 1, *given.shape[2:]], old.dtype
    )
    replace(node, "Pad", [summed, *pad.inputs[1:]], attributes(pad))
    return True


def _zeros_around_maps(pad):
    """Tell whether a Pad adds zeros, and none but before and behind the axes after the second."""
    border, axes = constant(pad.inputs[1]) if len(pad.inputs) > 1 else None, rank(pad.inputs[0])
    if border is None or axes is None or not fills_with_zeros(pad) or len(pad.inputs) > 3:  # the fourth are other axes
        return False
    return len(border) == 2 * axes and border.min() >= 0 and not border.reshape(2, axes)[:, :2].any()


def _groups(node):
    """Return in how many groups the maps of an LRN are, as its name tells."""
    found = re.search(rf"{GROUPS}(\d+)", node.name or "") if node.op_type == "LRN" else None
    return int(found[1]) if found else 1


def regroup(node):
    """Let an LRN of a layer with several groups of maps normalize each group apart.

    Channels first, the groups of a picture lie one behind the other: told that they are more pictures with fewer maps, which
    moves no value, LRN cannot look across.
    """
    groups, sizes = _groups(node), dims(node.inputs[0]) if node.op_type == "LRN" else None
    if groups == 1 or not sizes:
        return False
    _, maps, height, width = sizes
    shapes = [np.array([-1, count, height, width], "int64") for count in (maps // groups, maps)]
    given = node.inputs[0]
    shape = [None, *shapes[0][1:].tolist()]
    apart = insert(node, "Reshape", [given, new_constant(node.graph, shapes[0])], None, shape, given.dtype)
    normalized = insert(node, "LRN", [apart], attributes(node), shape, given.dtype)
    replace(node, "Reshape", [normalized, new_constant(node.graph, shapes[1])])
    return True


def normalization_as_convolution(node):
    """Write an LRN as a convolution of the squares with a band of ones, and a power: twice as fast in onnxruntime."""
    if node.op_type != "LRN" or not (sizes := dims(node.inputs[0])) or node.inputs[0].dtype not in FLOATS:
        return False
    given, groups, size = node.inputs[0], _groups(node), attribute(node, "size")
    place = np.arange(sizes[1] // groups)
    apart = place[None, :] - place[:, None]  # of the map that is seen from the one that sees it
    band = (apart >= -((size - 1) // 2)) & (apart <= size // 2)
    alpha, beta, k = (attribute(node, name, value) for name, value in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)))
    kernel = np.tile(band * np.float32(alpha / size), (groups, 1))[:, :, None, None]
    weights = [new_constant(node.graph, typed(given, array)) for array in (kernel, np.full(sizes[1], k))]

    def computed(op_type, *inputs, **others):
        return insert(node, op_type, inputs, others, given.shape, given.dtype)

    activity = computed("Conv", computed("Mul", given, given), *weights, kernel_shape=[1, 1], group=groups)
    if beta == 0.75:
        root = computed("Sqrt", activity)
        power = computed("Mul", root, computed("Sqrt", root))
    else:
        power = computed("Pow", activity, new_constant(node.graph, typed(given, beta)))
    replace(node, "Div", [given, power])
    return True
