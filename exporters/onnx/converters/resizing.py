"""Conversion of the resizing of images."""

from typing import Any

import numpy as np
import onnx
import tensorflow as tf

from exporters.onnx.converters.nodes import NotConvertible, constant, dtype, flag, insert, new_constant, replace

SIZES_SINCE = 11  # opset from which Resize takes sizes and a coordinate transformation
NEAREST_TYPES = ("float32", "int32", "int8", "uint8")  # that onnxruntime resizes
TO_FIRST, TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)  # permutations of (batch, rows, columns, channels) and back
INTERPOLATIONS = {
    "ResizeBicubic": "bicubic",
    "ResizeArea": "area",
    "ResizeBilinear": "bilinear",
    "ResizeNearestNeighbor": "nearest",
}


def resize(ctx: Any, node: Any) -> None:
    """Convert the resizing of images.

    Resize gets the sizes of its output. Scales would be rounded, and readers would compute other sizes from them. Bilinear
    and nearest-neighbor interpolation become a Resize. The other interpolations become a product with one matrix per axis,
    since no Resize has the coefficients of TensorFlow, which come from a table. Nearest-neighbor becomes a Gather per axis
    where TensorFlow's choice between two equally near pixels depends on rounding.

    Args:
        ctx, node: graph and node of tf2onnx.

    Raises:
        NotConvertible: if a size must be known for the interpolation and is not.
    """
    shape, sizes = ctx.get_shape(node.input[0]), constant(node, 1)
    known = shape is not None and len(shape) == 4 and min(shape[1:]) > 0 and sizes is not None
    if not known:
        _resize_to_computed_size(ctx, node)
    elif node.type == "ResizeNearestNeighbor" and not _is_nearest_exact(ctx, node, shape, sizes):
        _gather_nearest(ctx, node, shape, sizes)
    elif node.type in ("ResizeNearestNeighbor", "ResizeBilinear") and ctx.opset >= SIZES_SINCE:
        _resize_to_sizes(ctx, node, shape, sizes)
    else:
        _multiply_per_axis(ctx, node, shape, sizes)


def _is_nearest_exact(ctx, node, shape, sizes):
    """Return whether a Resize in every runtime chooses the pixels that TensorFlow chooses."""
    if ctx.opset < SIZES_SINCE or dtype(ctx, node.input[0]) not in NEAREST_TYPES:
        return False
    for before, after in zip(shape[1:3], sizes, strict=True):
        positions = 2 * np.arange(after) + 1
        ties = (positions * before % (2 * after) == 0).any()
        power_of_two = before % after == 0 and (before // after).bit_count() == 1
        if flag(node, "half_pixel_centers") and after % before and ties and not power_of_two:
            return False
        if not flag(node, "half_pixel_centers") and after % before:
            return False  # a pixel lies on the boundary of another in general
    return True


def _resize_to_sizes(ctx, node, shape, sizes):
    """Replace a node by a Resize to sizes that are constants, except for the batch."""
    source = _channels_first(ctx, node)
    rest = np.array([shape[3], *sizes], "int64")
    if shape[0] > 0:
        target = new_constant(ctx, np.array([shape[0], *rest], "int64"))
    else:
        batch = _slice_of_shape(ctx, node, source, 1)
        target = insert(ctx, node, "Concat", [batch, new_constant(ctx, rest)], {"axis": 0})
    whole = all(after % before == 0 for before, after in zip(shape[1:3], sizes, strict=True))
    _finish_resize(ctx, node, source, target, whole)


def _resize_to_computed_size(ctx, node):
    """Replace a node by a Resize to a size that the graph computes."""
    if node.type not in ("ResizeNearestNeighbor", "ResizeBilinear") or ctx.opset < SIZES_SINCE:
        what = INTERPOLATIONS.get(node.type, "antialiased or lanczos")
        reason = f"{what} interpolation needs a known number of rows and columns at opset {ctx.opset}"
        raise NotConvertible(node, f"{reason}; build the model for one size")
    source = _channels_first(ctx, node)
    size = insert(ctx, node, "Cast", [node.input[1]], {"to": onnx.TensorProto.INT64})
    inputs = [_slice_of_shape(ctx, node, source, 2), size]
    target = insert(ctx, node, "Concat", inputs, {"axis": 0})
    _finish_resize(ctx, node, source, target, False)


def _finish_resize(ctx, node, source, target, whole):
    """Replace a node by a Resize of a channels-first value.

    Args:
        whole: whether each size is a multiple of the size before. Then every pixel is repeated, which TensorRT 7 reads too.
    """
    attributes = {"mode": "linear" if node.type == "ResizeBilinear" else "nearest"}
    if flag(node, "align_corners"):
        attributes |= {"coordinate_transformation_mode": "align_corners", "nearest_mode": "round_prefer_ceil"}
    elif flag(node, "half_pixel_centers") and not (whole and attributes["mode"] == "nearest"):
        attributes |= {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"}
    else:
        attributes |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    if attributes["mode"] == "linear":
        del attributes["nearest_mode"]
    # Before opset 13 the region of interest and the scales are not optional.
    none = "" if ctx.opset >= 13 else new_constant(ctx, np.array([], "float32"))
    resized = ctx.make_node("Resize", [source, none, none, target], attributes, op_name_scope=node.name)
    replace(ctx, node, "Transpose", [resized.output[0]], {"perm": TO_LAST})


def _gather_nearest(ctx, node, shape, sizes):
    """Replace a node by a Gather per axis."""
    value = _channels_first(ctx, node)
    for before, after, axis in zip(shape[1:3], sizes, (2, 3), strict=True):
        pixels = np.arange(before, dtype="float32").reshape(1, before, 1, 1)
        indices = new_constant(ctx, _apply(node, pixels, after).ravel().astype("int64"))
        value = insert(ctx, node, "Gather", [value, indices], {"axis": axis})
    replace(ctx, node, "Transpose", [value], {"perm": TO_LAST})


def _multiply_per_axis(ctx, node, shape, sizes):
    """Replace a node by a product with one matrix per axis, which contains the coefficients of TensorFlow."""
    rows, columns = (
        _apply(node, np.eye(before, dtype="float32").reshape(1, before, 1, before), after)[0, :, 0]
        for before, after in zip(shape[1:3], sizes, strict=True)
    )
    source = _channels_first(ctx, node)
    value = insert(ctx, node, "MatMul", [new_constant(ctx, rows), source])
    columns = np.ascontiguousarray(columns.T)
    value = insert(ctx, node, "MatMul", [value, new_constant(ctx, columns)])
    replace(ctx, node, "Transpose", [value], {"perm": TO_LAST})


def _apply(node, image, rows):
    """Resize the rows of an image with one column as a node does in TensorFlow."""
    with tf.Graph().as_default() as graph:
        if node.type == "ScaleAndTranslate":  # `tf.image.resize` computes the scale from the sizes
            result = tf.raw_ops.ScaleAndTranslate(
                images=image,
                size=[rows, 1],
                scale=[np.float32(rows) / np.float32(image.shape[1]), 1.0],
                translation=[0.0, 0.0],
                kernel_type=node.get_attr_str("kernel_type"),
                antialias=flag(node, "antialias"),
            )
        else:
            settings = {} if node.type == "ResizeArea" else {"half_pixel_centers": flag(node, "half_pixel_centers")}
            settings["align_corners"] = flag(node, "align_corners")
            result = getattr(tf.raw_ops, node.type)(images=image, size=[rows, 1], **settings)
        with tf.compat.v1.Session(graph=graph) as session:
            return session.run(result)


def _channels_first(ctx, node):
    """Return the image of a node as float32, or for nearest-neighbor in its own type, with its channels on axis 1."""
    value = node.input[0]
    if node.type != "ResizeNearestNeighbor" and dtype(ctx, value) != "float32":
        value = insert(ctx, node, "Cast", [value], {"to": onnx.TensorProto.FLOAT})
    return insert(ctx, node, "Transpose", [value], {"perm": TO_FIRST})


def _slice_of_shape(ctx, node, value, end):
    """Return the first sizes of a value."""
    shape = insert(ctx, node, "Shape", [value])
    if ctx.opset < 10:
        return insert(ctx, node, "Slice", [shape], {"starts": [0], "ends": [end]})
    bounds = [new_constant(ctx, np.array([each], "int64")) for each in (0, end)]
    return insert(ctx, node, "Slice", [shape, *bounds])
