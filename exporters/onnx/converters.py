"""Conversion of TensorFlow operators that tf2onnx does not convert, or converts to something else.

`handlers` returns functions for these operators that replace those of tf2onnx. Each changes a graph of tf2onnx in place.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from tf2onnx import utils

SIZES_SINCE = 11  # opset from which Resize takes sizes and a coordinate transformation
NEAREST_TYPES = ("float32", "int32", "int8", "uint8")  # that onnxruntime resizes
TO_FIRST, TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)  # permutations of (batch, rows, columns, channels) and back
INTERPOLATIONS = {
    "ResizeBicubic": "bicubic",
    "ResizeArea": "area",
    "ResizeBilinear": "bilinear",
    "ResizeNearestNeighbor": "nearest",
}


class NotConvertible(Exception):
    """A node that no ONNX operator computes.

    Attributes:
        node: name of the node.
        reason: what is missing, and what to do about it.
    """

    def __init__(self, node: Any, reason: str):
        super().__init__(reason)
        self.node, self.reason = node.name, reason


def resize(ctx: Any, node: Any, name: str, args: list) -> None:
    """Convert the resizing of images.

    Resize gets the sizes of its output. Scales would be rounded, and readers would compute other sizes from them. Bilinear
    and nearest-neighbor interpolation become a Resize. The other interpolations become a product with one matrix per axis,
    since no Resize has the coefficients of TensorFlow, which come from a table. Nearest-neighbor becomes a Gather per axis
    where TensorFlow's choice between two equally near pixels depends on rounding.

    Args:
        ctx, node, name, args: graph and node of tf2onnx, and what it passes to custom handlers.

    Raises:
        NotConvertible: if a size must be known for the interpolation and is not.
    """
    shape, sizes = ctx.get_shape(node.input[0]), _constant(node, 1)
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
    if ctx.opset < SIZES_SINCE or _dtype(ctx, node.input[0]) not in NEAREST_TYPES:
        return False
    for before, after in zip(shape[1:3], sizes, strict=True):
        positions = 2 * np.arange(after) + 1
        ties = (positions * before % (2 * after) == 0).any()
        power_of_two = before % after == 0 and (before // after).bit_count() == 1
        if _flag(node, "half_pixel_centers") and after % before and ties and not power_of_two:
            return False
        if not _flag(node, "half_pixel_centers") and after % before:
            return False  # a pixel lies on the boundary of another in general
    return True


def _resize_to_sizes(ctx, node, shape, sizes):
    """Replace a node by a Resize to sizes that are constants, except for the batch."""
    source = _channels_first(ctx, node)
    rest = np.array([shape[3], *sizes], "int64")
    if shape[0] > 0:
        target = _new_constant(ctx, np.array([shape[0], *rest], "int64"))
    else:
        batch = _slice_of_shape(ctx, node, source, 1)
        target = ctx.make_node("Concat", [batch, _new_constant(ctx, rest)], {"axis": 0}, op_name_scope=node.name).output[0]
    whole = all(after % before == 0 for before, after in zip(shape[1:3], sizes, strict=True))
    _finish_resize(ctx, node, source, target, whole)


def _resize_to_computed_size(ctx, node):
    """Replace a node by a Resize to a size that the graph computes."""
    if node.type not in ("ResizeNearestNeighbor", "ResizeBilinear") or ctx.opset < SIZES_SINCE:
        what = INTERPOLATIONS.get(node.type, "antialiased or lanczos")
        reason = f"{what} interpolation needs a known number of rows and columns at opset {ctx.opset}"
        raise NotConvertible(node, f"{reason}; build the model for one size")
    source = _channels_first(ctx, node)
    size = ctx.make_node("Cast", [node.input[1]], {"to": onnx.TensorProto.INT64}, op_name_scope=node.name).output[0]
    inputs = [_slice_of_shape(ctx, node, source, 2), size]
    target = ctx.make_node("Concat", inputs, {"axis": 0}, op_name_scope=node.name).output[0]
    _finish_resize(ctx, node, source, target, False)


def _finish_resize(ctx, node, source, target, whole):
    """Replace a node by a Resize of a channels-first value.

    Args:
        whole: whether each size is a multiple of the size before. Then every pixel is repeated, which TensorRT 7 reads too.
    """
    attributes = {"mode": "linear" if node.type == "ResizeBilinear" else "nearest"}
    if _flag(node, "align_corners"):
        attributes |= {"coordinate_transformation_mode": "align_corners", "nearest_mode": "round_prefer_ceil"}
    elif _flag(node, "half_pixel_centers") and not (whole and attributes["mode"] == "nearest"):
        attributes |= {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"}
    else:
        attributes |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    if attributes["mode"] == "linear":
        del attributes["nearest_mode"]
    # Before opset 13 the region of interest and the scales are not optional.
    none = "" if ctx.opset >= 13 else _new_constant(ctx, np.array([], "float32"))
    resized = ctx.make_node("Resize", [source, none, none, target], attributes, op_name_scope=node.name)
    _replace(ctx, node, "Transpose", [resized.output[0]], {"perm": TO_LAST})


def _gather_nearest(ctx, node, shape, sizes):
    """Replace a node by a Gather per axis."""
    value = _channels_first(ctx, node)
    for before, after, axis in zip(shape[1:3], sizes, (2, 3), strict=True):
        pixels = np.arange(before, dtype="float32").reshape(1, before, 1, 1)
        indices = _new_constant(ctx, _apply(node, pixels, after).ravel().astype("int64"))
        value = ctx.make_node("Gather", [value, indices], {"axis": axis}, op_name_scope=node.name).output[0]
    _replace(ctx, node, "Transpose", [value], {"perm": TO_LAST})


def _multiply_per_axis(ctx, node, shape, sizes):
    """Replace a node by a product with one matrix per axis, which contains the coefficients of TensorFlow."""
    rows, columns = (
        _apply(node, np.eye(before, dtype="float32").reshape(1, before, 1, before), after)[0, :, 0]
        for before, after in zip(shape[1:3], sizes, strict=True)
    )
    source = _channels_first(ctx, node)
    value = ctx.make_node("MatMul", [_new_constant(ctx, rows), source], op_name_scope=node.name).output[0]
    columns = np.ascontiguousarray(columns.T)
    value = ctx.make_node("MatMul", [value, _new_constant(ctx, columns)], op_name_scope=node.name).output[0]
    _replace(ctx, node, "Transpose", [value], {"perm": TO_LAST})


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
                antialias=_flag(node, "antialias"),
            )
        else:
            settings = {} if node.type == "ResizeArea" else {"half_pixel_centers": _flag(node, "half_pixel_centers")}
            settings["align_corners"] = _flag(node, "align_corners")
            result = getattr(tf.raw_ops, node.type)(images=image, size=[rows, 1], **settings)
        with tf.compat.v1.Session(graph=graph) as session:
            return session.run(result)


def _channels_first(ctx, node):
    """Return the image of a node as float32, or for nearest-neighbor in its own type, with its channels on axis 1."""
    value = node.input[0]
    if node.type != "ResizeNearestNeighbor" and _dtype(ctx, value) != "float32":
        value = ctx.make_node("Cast", [value], {"to": onnx.TensorProto.FLOAT}, op_name_scope=node.name).output[0]
    return ctx.make_node("Transpose", [value], {"perm": TO_FIRST}, op_name_scope=node.name).output[0]


def _slice_of_shape(ctx, node, value, end):
    """Return the first sizes of a value."""
    shape = ctx.make_node("Shape", [value], op_name_scope=node.name).output[0]
    if ctx.opset < 10:
        return ctx.make_node("Slice", [shape], {"starts": [0], "ends": [end]}, op_name_scope=node.name).output[0]
    bounds = [_new_constant(ctx, np.array([each], "int64")) for each in (0, end)]
    return ctx.make_node("Slice", [shape, *bounds], op_name_scope=node.name).output[0]


def _replace(ctx, node, operator, inputs, attributes=None):
    """Replace a node of tf2onnx by one that computes the same."""
    shapes, dtypes = node.output_shapes, node.output_dtypes
    ctx.remove_node(node.name)
    ctx.make_node(operator, inputs, attributes, name=node.name, outputs=node.output, shapes=shapes, dtypes=dtypes)


def _new_constant(ctx, array):
    return ctx.make_const(utils.make_name("constant"), array).output[0]


def _constant(node, index):
    """Return the value of an input that is constant, else None."""
    return node.inputs[index].get_tensor_value(as_list=False) if node.inputs[index].is_const() else None


def _flag(node, name):
    return bool(node.get_attr_int(name)) if name in node.attr else False


def _dtype(ctx, value):
    return onnx.helper.tensor_dtype_to_np_dtype(ctx.get_dtype(value)).name


CONVERTERS = {name: resize for name in (*INTERPOLATIONS, "ScaleAndTranslate")}


def handlers(errors: list[Exception]) -> dict[str, tuple[Callable, list]]:
    """Return the custom handlers for tf2onnx.

    Args:
        errors: list to which the errors of the functions are added, since tf2onnx continues after one.
    """

    def recording(function):
        def convert(*args):
            try:
                function(*args)
            except Exception as error:
                errors.append(error)
                raise

        return convert

    return {name: (recording(function), []) for name, function in CONVERTERS.items()}
