"""Small valid, damaged and malicious ONNX models for tests."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

F32 = TensorProto.FLOAT


def value_info(name, sizes, kind=F32):
    """Return the declaration of an input or output."""
    return helper.make_tensor_value_info(name, kind, sizes)


def model(nodes, tensors=(), sizes=("n", 4), output=("n", 4)):
    """Return a model from x to y."""
    graph = helper.make_graph(list(nodes), "g", [value_info("x", sizes)], [value_info("y", output)], list(tensors))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def add_weight(tensor):
    """Return a model that adds a tensor to its input."""
    return model([helper.make_node("Add", ["x", "w"], ["y"])], [tensor])


def weight(**fields):
    """Return a tensor of four floats; fields override."""
    return TensorProto(**{"name": "w", "data_type": F32, "dims": [4], "raw_data": bytes(16), **fields})


def external_weight(**place):
    """Return a model with external data; `place` gives the entries, such as location."""
    tensor = TensorProto(name="w", data_type=F32, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in place.items():
        tensor.external_data.add(key=key, value=value)
    return add_weight(tensor)


def nested_branches(depth):
    """Return a model with If branches nested to a depth."""
    node = helper.make_node("Relu", ["x"], ["y0"])
    for level in range(1, depth + 1):
        graph = helper.make_graph([node], "g", [], [value_info(f"y{level - 1}", None)])
        node = helper.make_node("If", ["yes"], [f"y{level}"], then_branch=graph, else_branch=graph)
        if level > 5:  # with both branches, the size would grow as 2^depth
            del node.attribute[1:]
    tensors = [numpy_helper.from_array(np.array(True), "yes")]
    return model([node, helper.make_node("Identity", [f"y{depth}"], ["y"])], tensors)


def endless_loop():
    """Return a model with a loop of 2^62 iterations."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Neg", ["a"], ["b"])],
        "body",
        [value_info("i", [], TensorProto.INT64), value_info("go", [], TensorProto.BOOL), value_info("a", ["n", 4])],
        [value_info("on", [], TensorProto.BOOL), value_info("b", ["n", 4])],
    )
    tensors = [numpy_helper.from_array(np.array(2**62), "times"), numpy_helper.from_array(np.array(True), "yes")]
    return model([helper.make_node("Loop", ["times", "yes", "x"], ["y"], body=body)], tensors)


def filled(*sizes):
    """Return a model that fills a tensor; its shape takes only a few bytes in the file."""
    shape = numpy_helper.from_array(np.array(sizes), "shape")
    return model([helper.make_node("ConstantOfShape", ["shape"], ["y"])], [shape], output=[None] * len(sizes))


def cyclic():
    """Return a model whose nodes depend on each other."""
    ends = (("b", "a"), ("a", "b"), ("b", "y"))
    return model(helper.make_node("Relu", [given], [result]) for given, result in ends)


def sparse_weight():
    """Return a model with a sparse tensor."""
    proto = add_weight(weight())
    proto.graph.sparse_initializer.add().dims.extend([10**9])
    return proto


def named_node(name):
    """Return a serialized model whose node name is any bytes, which protobuf itself would not write."""
    content = model([helper.make_node("Relu", ["x"], ["y"], name="name"[: len(name)])]).SerializeToString()
    return content.replace(b"\x1a" + bytes([len(name)]) + b"name"[: len(name)], b"\x1a" + bytes([len(name)]) + name)


def protobuf_field(number, content):
    """Return a serialized length-delimited protobuf field."""
    length, found = len(content), bytes([number << 3 | 2])
    while length > 127:
        found, length = found + bytes([length & 127 | 128]), length >> 7
    return found + bytes([length]) + content
