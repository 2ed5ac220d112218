"""What tf2onnx leaves in a graph that an engineer would not have drawn."""

import math
import re

import numpy as np
import onnx
from onnx import numpy_helper

LARGE = 1_000_000  # values of a weight that is copied as seldom as can be
TO_CHANNELS_LAST = [0, 2, 3, 1]
GROUPS = "in_groups_"  # begins a part of the name of an LRN, and their number ends it


def inputs_to_constants(proto, weights):
    """Turn the inputs of a graph that are weights into constants, in place; a Transpose of such a constant is done here.

    Args:
        proto: `onnx.ModelProto`.
        weights: dict from the name of an input to its array.
    """
    graph = proto.graph
    for given in [each for each in graph.input if each.name.partition(":")[0] in weights]:
        graph.input.remove(given)
        weight = weights[given.name.partition(":")[0]]
        for node in [each for each in graph.node if each.op_type == "Transpose" and each.input[0] == given.name]:
            _add_constant(graph, node.output[0], weight, onnx.helper.get_node_attr_value(node, "perm"))
            graph.node.remove(node)
        if given.name in _read(graph):
            _add_constant(graph, given.name, weight, range(len(weight.shape)))


def _add_constant(graph, name, weight, axes):
    """Append a weight with its axes in another order; written in its place, as numpy_helper makes one more copy."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(weight.dtype))
    tensor = graph.initializer.add(name=name, data_type=kind, dims=[weight.shape[axis] for axis in axes])
    tensor.raw_data = np.asarray(weight).transpose(axes).tobytes()


def without_large(proto):
    """Return a model with the same graph in which the large constants are inputs: shapes and checks need no values.

    Args:
        proto: `onnx.ModelProto`.
    """
    graph = proto.graph
    large = [tensor for tensor in graph.initializer if math.prod(tensor.dims) > LARGE]
    names = {tensor.name for tensor in large}
    inputs = [onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in large]
    kept = [tensor for tensor in graph.initializer if tensor.name not in names]
    light = onnx.helper.make_graph(
        graph.node, graph.name, [*graph.input, *inputs], graph.output, kept, value_info=graph.value_info
    )
    return onnx.helper.make_model(light, opset_imports=proto.opset_import, ir_version=proto.ir_version)


def fold_flatten(proto):
    """Drop the Transpose before a flatten by permuting the rows of the dense kernel behind it, in place.

    Keras flattens height, width, channels, and convolutions in ONNX give channels first. So tf2onnx writes
    Transpose -> Reshape -> MatMul; a kernel whose rows are in the other order makes the Transpose needless.

    Args:
        proto: `onnx.ModelProto` with inferable shapes.
    """
    graph = proto.graph
    shapes = {value.name: value for value in onnx.shape_inference.infer_shapes(without_large(proto)).graph.value_info}
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
    inferred = onnx.shape_inference.infer_shapes(without_large(proto)).graph.value_info
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


def regroup(proto):
    """Let each LRN of a layer with several groups of maps normalize each group apart, in place.

    Channels first, the groups of a picture lie one behind the other: told that they are more pictures with fewer maps, which
    moves no value, LRN cannot look across.

    Args:
        proto: `onnx.ModelProto` with inferable shapes.
    """
    graph = proto.graph
    inferred = onnx.shape_inference.infer_shapes(without_large(proto)).graph.value_info
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in inferred}
    for node in [each for each in graph.node if each.op_type == "LRN"]:
        found = re.search(rf"{GROUPS}(\d+)", node.name)
        groups = int(found[1]) if found else 1
        if groups == 1:
            continue
        _, maps, height, width = shapes[node.output[0]]
        ends = node.input[0], node.output[0]
        place = list(graph.node).index(node)
        for what, count, position in (("apart", maps // groups, place), ("together", maps, place + 2)):
            name = f"{node.name}/{what}"
            shape = numpy_helper.from_array(np.array([-1, count, height, width], "int64"), f"{name}/shape")
            graph.initializer.append(shape)
            given, result = (ends[0], name) if what == "apart" else (f"{node.name}/normalized", ends[1])
            graph.node.insert(position, onnx.helper.make_node("Reshape", [given, shape.name], [result], name))
        node.input[0], node.output[0] = f"{node.name}/apart", f"{node.name}/normalized"


def _is_list(value):
    """Tell whether a tensor has one axis, as a shape has."""
    return len(value.type.tensor_type.shape.dim) == 1


def _drop_unread(graph):
    """Remove nodes whose outputs nobody reads, and then constants that nobody reads."""
    ends = {value.name for value in graph.output}
    while True:
        read = ends | _read(graph)
        unread = [node for node in graph.node if not read & set(node.output)]
        if not unread:
            break
        for node in unread:
            graph.node.remove(node)
    for tensor in [each for each in graph.initializer if each.name not in read]:
        graph.initializer.remove(tensor)


def _read(graph):
    """Return the names of the tensors that the nodes of a graph read, those of the graphs within its nodes too."""
    within = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return {tensor for node in graph.node for tensor in node.input}.union(
        *(_read(inner) | {end.name for end in inner.output} for inner in within)
    )


def _only_reader(graph, tensor, operator):
    """Return the node that reads a tensor, if there is one only and it is of the operator."""
    readers = [node for node in graph.node if tensor in node.input]
    return readers[0] if len(readers) == 1 and readers[0].op_type == operator else None
