"""LRN with groups of channels, and LRN as a convolution."""

import re

import numpy as np
import onnx_ir as ir

from exporters.onnx.graph.edit import FLOATS, attribute, attributes, cast_like, dims, insert, new_constant, replace

GROUPS = "zoo_in_groups_"  # prefix in the name of an LRN node; the number of groups follows
NARROW = 64  # channels; the convolution in place of an LRN costs as many multiplications per value as there are channels


def _group_count(node):
    """Return the number of channel groups of an LRN, which is encoded in its name."""
    match = re.search(rf"{GROUPS}(\d+)", node.name or "") if node.op_type == "LRN" else None
    return int(match[1]) if match else 1


def groups_to_batch(node: ir.Node) -> bool:
    """Normalize each group of channels separately by moving the groups to the batch axis.

    In channels-first layout the groups of an image are contiguous, so reshaping (n, groups·c, h, w) to (n·groups, c, h, w)
    moves no data, and LRN cannot mix channels of different groups.
    """
    groups, sizes = _group_count(node), dims(node.inputs[0]) if node.op_type == "LRN" else None
    if groups == 1 or not sizes or None in sizes[1:]:
        return False
    _, channels, height, width = sizes
    shapes = [np.array([-1, count, height, width], "int64") for count in (channels // groups, channels)]
    source = node.inputs[0]
    shape = [None, *shapes[0][1:].tolist()]
    grouped = insert(node, "Reshape", [source, new_constant(node.graph, shapes[0])], None, shape, source.dtype)
    normalized = insert(node, "LRN", [grouped], attributes(node), shape, source.dtype)
    replace(node, "Reshape", [normalized, new_constant(node.graph, shapes[1])])
    return True


def narrow_lrn_to_convolution(node: ir.Node) -> bool:
    """Replace an LRN over at most `NARROW` channels by a convolution, as `lrn_to_convolution` does."""
    sizes = dims(node.inputs[0]) if node.op_type == "LRN" else None
    return bool(sizes) and sizes[1] <= NARROW and lrn_to_convolution(node)


def lrn_to_convolution(node: ir.Node) -> bool:
    """Replace an LRN by a convolution of the squares with a band matrix and a power, twice as fast in onnxruntime."""
    sizes = dims(node.inputs[0]) if node.op_type == "LRN" and node.inputs[0].dtype in FLOATS else None
    if not sizes or sizes[1] is None:
        return False
    source, groups, size = node.inputs[0], _group_count(node), attribute(node, "size")
    channel = np.arange(sizes[1] // groups)
    offset = channel[None, :] - channel[:, None]  # from the output channel to the input channel
    band = (offset >= -((size - 1) // 2)) & (offset <= size // 2)
    alpha, beta, k = (attribute(node, name, value) for name, value in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)))
    kernel = np.tile(band * np.float32(alpha / size), (groups, 1))[:, :, None, None]
    weights = [new_constant(node.graph, cast_like(source, array)) for array in (kernel, np.full(sizes[1], k))]

    def insert_like_source(op_type, *inputs, **node_attributes):
        return insert(node, op_type, inputs, node_attributes, source.shape, source.dtype)

    squares = insert_like_source("Mul", source, source)
    activity = insert_like_source("Conv", squares, *weights, kernel_shape=[1, 1], group=groups)
    if beta == 0.75:
        root = insert_like_source("Sqrt", activity)
        power = insert_like_source("Mul", root, insert_like_source("Sqrt", root))
    else:
        power = insert_like_source("Pow", activity, new_constant(node.graph, cast_like(source, beta)))
    replace(node, "Div", [source, power])
    return True
