"""What tf2onnx leaves in a graph that an engineer would not have drawn."""

import numpy as np
import onnx
from onnx import numpy_helper

TO_CHANNELS_LAST = [0, 2, 3, 1]


def fold_flatten(proto):
    """Drop the Transpose before a flatten by permuting the rows of the dense kernel behind it, in place.

    Keras flattens height, width, channels, and convolutions in ONNX give channels first. So tf2onnx writes
    Transpose -> Reshape -> MatMul; a kernel whose rows are in the other order makes the Transpose needless.

    Args:
        proto: `onnx.ModelProto` with inferable shapes.
    """
    graph = proto.graph
    shapes = {value.name: value for value in onnx.shape_inference.infer_shapes(proto).graph.value_info}
    kernels = {tensor.name: tensor for tensor in graph.initializer}
    for transpose in [node for node in graph.node if node.op_type == "Transpose"]:
        reshape = _only_reader(graph, transpose.output[0], "Reshape")
        product = reshape and _only_reader(graph, reshape.output[0], "MatMul")
        if not product or product.input[1] not in kernels or product.input[0] != reshape.output[0]:
            continue
        if onnx.helper.get_node_attr_value(transpose, "perm") != TO_CHANNELS_LAST:
            continue
        if sum(product.input[1] in node.input for node in graph.node) > 1:
            continue
        _, height, width, channels = (dim.dim_value for dim in shapes[transpose.output[0]].type.tensor_type.shape.dim)
        kernel = kernels[product.input[1]]
        rows = numpy_helper.to_array(kernel)
        if rows.shape[0] != height * width * channels:
            continue
        moved = rows.reshape(height, width, channels, -1).transpose(2, 0, 1, 3).reshape(rows.shape)
        kernel.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(moved), kernel.name))
        reshape.input[0] = transpose.input[0]
        graph.node.remove(transpose)


def fix_flatten_shapes(proto):
    """Write the shape of each flatten as a constant, batch first, in place; what computed it in the graph goes.

    Args:
        proto: `onnx.ModelProto` with inferable shapes.
    """
    graph = proto.graph
    constants = {tensor.name for tensor in graph.initializer}
    inferred = onnx.shape_inference.infer_shapes(proto).graph.value_info
    axes = {value.name: value.type.tensor_type.shape.dim[0].dim_value for value in inferred if _is_list(value)}
    readers = {node.input[0]: node for node in graph.node if node.op_type == "MatMul"}
    for reshape in [node for node in graph.node if node.op_type == "Reshape" and node.input[1] not in constants]:
        product = readers.get(reshape.output[0])
        kernel = next((each for each in graph.initializer if product and each.name == product.input[1]), None)
        if kernel is None or axes.get(reshape.input[1]) != 2:  # a reshape to more axes is no flatten
            continue
        shape = numpy_helper.from_array(np.array([-1, kernel.dims[0]], "int64"), f"{reshape.name}/shape")
        graph.initializer.append(shape)
        reshape.input[1] = shape.name
    _drop_unread(graph)


def _is_list(value):
    """Tell whether a tensor has one axis, as a shape has."""
    return len(value.type.tensor_type.shape.dim) == 1


def _drop_unread(graph):
    """Remove nodes whose outputs nobody reads, and then constants that nobody reads."""
    ends = {value.name for value in graph.output}
    while True:
        read = ends | {tensor for node in graph.node for tensor in node.input}
        unread = [node for node in graph.node if not read & set(node.output)]
        if not unread:
            break
        for node in unread:
            graph.node.remove(node)
    for tensor in [each for each in graph.initializer if each.name not in read]:
        graph.initializer.remove(tensor)


def _only_reader(graph, tensor, operator):
    """Return the node that reads a tensor, if there is one only and it is of the operator."""
    readers = [node for node in graph.node if tensor in node.input]
    return readers[0] if len(readers) == 1 and readers[0].op_type == operator else None
