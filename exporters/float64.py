"""A TensorFlow graph in float64, to measure the rounding errors of float32."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tensorflow.types.experimental import ConcreteFunction

SUFFIX = "_float64"  # of functions, whose names must be new
NARROW = "/float32"  # suffix of the nodes that keep their type
# Operators that TensorFlow lacks in float64, or whose output is float32 whatever their input is -> their floating inputs.
ONLY_FLOAT32 = {
    "FusedBatchNormV3": range(5),
    "LRN": [0],
    "ResizeBilinear": [0],
    "ResizeBicubic": [0],
    "ResizeArea": [0],
    "ScaleAndTranslate": [0, 2, 3],
}


def in_float64(function: "ConcreteFunction") -> "ConcreteFunction":
    """Return a function that computes in float64 what another computes in float32, float16 or bfloat16.

    It takes tensors of the same types and casts them. A few operators stay in float32; see `ONLY_FLOAT32`.

    Args:
        function: of tensors; its variables must be arguments.

    Raises:
        Exception: of any type, if TensorFlow cannot build the graph.
    """
    import tensorflow as tf

    graph_def = function.graph.as_graph_def()
    for node in list(graph_def.node):
        if sizes := _resized(node, function.graph):
            _interpolate(node, graph_def.node, sizes)
        elif node.op in ONLY_FLOAT32:
            _keep_in_float32(node, graph_def.node)
        else:
            _widen(node)
    for inner in graph_def.library.function:
        inner.signature.name += SUFFIX
        for argument in (*inner.signature.input_arg, *inner.signature.output_arg):
            argument.type = _wider(argument.type).as_datatype_enum
        for node in inner.node_def:
            _widen(node)
    names = [tensor.op.name for tensor in function.inputs]
    results = [tensor.name for tensor in function.outputs]

    def forward(*tensors):
        given = {name: tf.cast(tensor, _wider(tensor.dtype)) for name, tensor in zip(names, tensors, strict=True)}
        return tf.graph_util.import_graph_def(graph_def, given, results, name="")

    specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in function.inputs]
    return tf.compat.v1.wrap_function(forward, specs)


def _resized(node, graph):
    """Return (rows, columns) before and after a bilinear resizing of floats whose sizes are known, else None."""
    if node.op != "ResizeBilinear" or not node.attr["half_pixel_centers"].b:
        return None
    operator = graph.get_operation_by_name(node.name)
    before, after = (tensor.shape[1:3].as_list() for tensor in (operator.inputs[0], operator.outputs[0]))
    known = None not in (*before, *after) and operator.inputs[0].dtype.is_floating
    return (before, after) if known else None


def _interpolate(node, nodes, sizes):
    """Replace a bilinear resizing by products with matrices. TensorFlow computes its positions in float32 for any type."""
    rows, columns = (_matrix(before, after) for before, after in zip(*sizes, strict=True))
    inner, image = f"{node.name}/rows", node.input[0]
    node.op = "Einsum"
    node.attr.clear()
    del node.input[:]
    _einsum(nodes.add(op="Einsum", name=inner), nodes, rows, image, "oh,nhwc->nowc")
    _einsum(node, nodes, columns, inner, "pw,nowc->nopc")


def _einsum(node, nodes, matrix, image, equation):
    import tensorflow as tf

    constant = nodes.add(op="Const", name=f"{node.name}/matrix")
    constant.attr["dtype"].type = tf.float64.as_datatype_enum
    constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(matrix))
    node.input.extend([constant.name, image])
    node.attr["N"].i, node.attr["T"].type = 2, tf.float64.as_datatype_enum
    node.attr["equation"].s = equation.encode()


def _matrix(before, after):
    """Return the (after, before) coefficients of linear interpolation between pixels with centers at 0.5, 1.5 ..."""
    position = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0, before - 1)
    return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(before)))


def _wider(dtype):
    """Return float64 for a narrower floating type, and any other type as it is."""
    import tensorflow as tf

    return tf.float64 if tf.dtypes.as_dtype(dtype) in (tf.float32, tf.float16, tf.bfloat16) else tf.dtypes.as_dtype(dtype)


def _widen(node):
    """Change the types of a node, the values of a constant and the names of functions, in place."""
    import tensorflow as tf

    for attribute in node.attr.values():
        kind = attribute.WhichOneof("value")
        if kind == "type":
            attribute.type = _wider(attribute.type).as_datatype_enum
        elif kind == "list":
            attribute.list.type[:] = [_wider(each).as_datatype_enum for each in attribute.list.type]
            for each in attribute.list.func:
                each.name += SUFFIX
        elif kind == "func":
            attribute.func.name += SUFFIX
        elif kind == "tensor" and attribute.tensor.dtype != _wider(attribute.tensor.dtype):
            values = tf.make_ndarray(attribute.tensor).astype("float64")
            attribute.tensor.CopyFrom(tf.make_tensor_proto(values))


def _keep_in_float32(node, nodes):
    """Surround a node with casts."""
    import tensorflow as tf

    single, double = tf.float32.as_datatype_enum, tf.float64.as_datatype_enum
    name = node.name
    node.name += NARROW
    if node.attr["T"].type != _wider(node.attr["T"].type):
        node.attr["T"].type = single
        for index in ONLY_FLOAT32[node.op]:
            _cast(nodes, f"{node.name}/{index}", node.input[index], double, single)
            node.input[index] = f"{node.name}/{index}"
    _cast(nodes, name, node.name, single, double)


def _cast(nodes, name, source, given, wanted):
    node = nodes.add(op="Cast", name=name, input=[source])
    node.attr["SrcT"].type, node.attr["DstT"].type = given, wanted
