"""Quantized layers as TensorRT and onnxruntime take them: QuantizeLinear and DequantizeLinear around what runs in 8 bits.

INT8, symmetric about a zero point of 0: weights with a scale for each output channel, activations with one for the tensor.
Biases stay float32.
"""

import numpy as np
import onnx_ir as ir

from exporters.onnx.graph.edit import (
    attribute,
    attributes,
    constant,
    has_single_reader,
    insert,
    producer_of_type,
    replace_value,
)
from exporters.onnx.graph.squares import DATA_MOVEMENT, is_square
from exporters.precision import Precision
from zoo.errors import ZooError, did_you_mean

LARGEST = 127  # of INT8 about 0, whose smallest is then -127
LINEAR = ("Conv", "Gemm", "MatMul")
FUSED = ("Tanh", "Sigmoid", "LeakyRelu", "Elu", "HardSigmoid")  # besides Relu, with a product to one operator in float32


def layers(model):
    """Return the layers that can be quantized, those with constant weights, by name and in order.

    Args:
        model: `onnx_ir.Model` of float32.

    Returns:
        dict, name -> list of `onnx_ir.Node`: several where a layer is called more than once.
    """
    found = {}
    for node in model.graph:
        if _is_layer(node):
            found.setdefault(node.inputs[1].name.rpartition("/")[0] or node.name, []).append(node)
    return found


def tensors(model, exclude=()):
    """Return the names of the activations whose ranges `quantize` needs, in order.

    Args:
        model: `onnx_ir.Model` of float32.
        exclude: names of layers that stay float32.

    Raises:
        ZooError: if there is no layer of such a name, or none is left.
    """
    return list(dict.fromkeys(_places(_chosen(model, exclude)).values()))


def quantize(model, ranges, exclude=()):
    """Return a model whose layers multiply 8-bit integers; a tensor keeps its name and, but for rounding, its values.

    Args:
        model: `onnx_ir.Model` of float32; it stays as it is.
        ranges: dict, name -> largest magnitude, of all `tensors`.
        exclude: names of layers that stay float32.

    Returns:
        `onnx_ir.Model`.

    Raises:
        ZooError: if there is no layer of such a name, or none is left, or the model's opset is too old.
    """
    if model.graph.opset_imports[""] < Precision.INT8.oldest_opset:
        raise ZooError(f"INT8 needs opset {Precision.INT8.oldest_opset} or later; given was {model.graph.opset_imports['']}")
    model = model.clone()
    graph, chosen = model.graph, _chosen(model, exclude)
    places = _places(chosen)
    _quantize_weights(graph, [node if node.outputs[0] in places else _bias_behind(node) for node in chosen])
    zero = _constant(graph, "zero_point", np.zeros((), "int8"))
    scales = {name: _constant(graph, f"{name}/scale", scale(ranges[name])) for name in dict.fromkeys(places.values())}
    for value, source in places.items():
        _quantize_activation(graph, value, scales[source], zero)
    return model


def scale(largest):
    """Return the float32 scale with which INT8 reaches a magnitude; of an array, the array of theirs.

    It is never 0: what is always 0 is so with any scale.
    """
    found = np.asarray(largest, "float32") / np.float32(LARGEST)
    return np.where(found > 0, found, np.float32(1 / LARGEST)).astype("float32")


def to_int8(weight, scales, axis):
    """Return a weight as int8 multiples of the scales along an axis, each rounded to the nearest, halves to the even.

    Args:
        weight: float32 array.
        scales: (channels,), or () for the axis None, one scale for all.
    """
    if axis is not None:
        scales = scales.reshape([-1 if each == axis else 1 for each in range(weight.ndim)])
    return np.clip(np.rint(weight / scales), -LARGEST, LARGEST).astype("int8")


def _chosen(model, exclude):
    """Return the nodes of all layers that are not left out, in order."""
    found = layers(model)
    for name in exclude:
        if name not in found:
            raise ZooError(
                f"there is no layer '{name}' to leave out{did_you_mean(name, found)} There are {', '.join(found)}"
            )
    nodes = [node for name, nodes in found.items() if name not in exclude for node in nodes]
    if not nodes:
        raise ZooError("no layer with constant weights is left to quantize; leave fewer out, or choose the precision fp16")
    return nodes


def _is_layer(node):
    """Tell whether a node is a product with a constant weight, but not one of squares, whose range INT8 has not."""
    if node.domain or node.op_type not in LINEAR or constant(node.inputs[0]) is not None or is_square(node.inputs[0]):
        return False
    weight = constant(node.inputs[1])
    return weight is not None and weight.dtype == np.float32 and weight.ndim > 1


def _channel_axis(node):
    """Return the axis of the output channels in a layer's weight; None for a stack of matrices, which has one scale."""
    if node.op_type == "Conv" or attribute(node, "transB", 0):
        return 0
    return 1 if constant(node.inputs[1]).ndim == 2 else None


def _places(nodes):
    """Return the values to quantize, in order, each with the name of the tensor whose range it gets.

    They are what a layer takes and gives. Where values only move on their way from one layer to the next, what is moved is
    quantized too, with the same scale, so that 8 bits move. Between a layer and a ReLU, which onnxruntime makes one only in
    float32, values have the scale of the ReLU's: what it clips, the ReLU clips too, so that nothing more is lost.
    """
    places = {}
    for node in nodes:
        chain = [node.inputs[0]]
        while moved := producer_of_type(chain[-1], *DATA_MOVEMENT):
            chain.append(moved.inputs[0])
        source = chain[-1]
        if not _gives(nodes, source):  # a pool of float32 stays so
            last = next((place for place, value in enumerate(chain) if producer_of_type(value, "MaxPool")), len(chain))
            chain = chain[: last + 1]
        places.update({value: source.name for value in reversed(chain)})
    for node in nodes:
        (value,) = node.outputs
        reader = value.uses()[0].node if has_single_reader(value) else None
        if reader and reader.op_type == "Relu":
            places[value] = reader.outputs[0].name
        elif (node.op_type == "Conv" and not value.is_graph_output()) or (reader and reader.op_type in FUSED):
            places.setdefault(value, value.name)
    return places


def _gives(nodes, value):
    """Tell whether one of some layers computes a value, with a ReLU or without."""
    above = value.producer()
    if above is not None and above.op_type == "Relu":
        above = above.inputs[0].producer()
    return above in nodes


def _bias_behind(node):
    """Return a layer without its bias, which is added behind it: where a Gemm gives float32, onnxruntime wants it so."""
    if node.op_type != "Gemm" or len(node.inputs) < 3 or attribute(node, "beta", 1.0) != 1:
        return node
    (value,) = node.outputs
    name, bias = value.name, node.inputs[2]
    product = insert(node, "Gemm", node.inputs[:2], attributes(node), dtype=ir.DataType.FLOAT)
    added = insert(node, "Add", [product, bias])
    product.name = product.producer().name = f"{name}/product"
    added.producer().name = node.name
    replace_value(value, added)
    added.name = name
    return product.producer()


def _quantize_weights(graph, nodes):
    """Let layers read their weights as INT8 with a scale for each output channel.

    What several layers share is written for each: onnxruntime refuses shared ones where its session is to sum exactly.
    """
    for node in nodes:
        value, axis = node.inputs[1], _channel_axis(node)
        names = (value.name + end for end in ("", *(f"_{number}" for number in range(2, len(nodes) + 2))))
        name = next(name for name in names if f"{name}_quantized" not in graph.initializers)
        weight = constant(value)
        others = tuple(each for each in range(weight.ndim) if each != axis)
        scales = scale(np.abs(weight).max(axis=others))
        inputs = (
            _constant(graph, f"{name}_quantized", to_int8(weight, scales, axis)),
            _constant(graph, f"{name}_scale", scales),
            _constant(graph, f"{name}_zero_point", np.zeros(scales.shape, "int8")),
        )
        result = _output("DequantizeLinear", inputs, f"{name}_dequantized", value, ir.DataType.FLOAT, axis)
        graph.insert_before(node, result.producer())
        node.replace_input_with(1, result)
        if not value.uses():
            del graph.initializers[value.name]


def _quantize_activation(graph, value, scale, zero):
    """Let all that read a value read the multiples of a scale that are nearest to it.

    A pool of float32 is clipped first, which changes nothing but the one integer that is beyond the range on one side: else
    onnxruntime would quantize above the pool, and its pools of INT8 are slower than those of float32, the more so by the
    number of pictures.
    """
    readers, name, given = value.uses(), value.name, value
    pool = producer_of_type(value, "MaxPool")
    if pool and not producer_of_type(pool.inputs[0], "DequantizeLinear"):
        largest = LARGEST * constant(scale)
        ends = [_constant(graph, f"{name}/{end}", limit) for end, limit in (("smallest", -largest), ("largest", largest))]
        given = _output("Clip", (value, *ends), f"{name}/clipped", value, ir.DataType.FLOAT)
    quantized = _output("QuantizeLinear", (given, scale, zero), f"{name}/quantized", value, ir.DataType.INT8)
    result = _output("DequantizeLinear", (quantized, scale, zero), f"{name}/dequantized", value, ir.DataType.FLOAT)
    for node, place in readers:
        node.replace_input_with(place, result)
    nodes = [each.producer() for each in dict.fromkeys((given, quantized, result)) if each is not value]
    if value.is_graph_input():
        graph.insert_before(graph[0], nodes)
    else:
        graph.insert_after(value.producer(), nodes)


def _constant(graph, name, array):
    kind = ir.TensorType(ir.DataType.from_numpy(array.dtype))
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=kind, const_value=ir.Tensor(array, name=name))
    graph.register_initializer(value)
    return value


def _output(op_type, inputs, name, like, dtype, axis=None):
    """Return the output of a new node, of its name and of the shape of another value."""
    attributes = None if axis is None else {"axis": axis}
    output = ir.Value(name=name, shape=like.shape, type=ir.TensorType(dtype))
    ir.node(op_type, inputs, attributes, outputs=[output], name=name)
    return output
