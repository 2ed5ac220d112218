"""Explicit INT8 quantization with QuantizeLinear and DequantizeLinear, as TensorRT and onnxruntime read it.

Quantization is symmetric with a zero point of 0: one scale per output channel for weights, one per tensor for activations.
Biases stay float32. Weights are from -64 to 64, so that no processor saturates their sums, or from -127 to 127.
"""

from collections.abc import Iterable, Mapping

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
from exporters.onnx.saturation import LARGEST_WEIGHT
from exporters.precision import Precision
from zoo.errors import ZooError, did_you_mean

INT8_MAX = 127  # symmetric about 0, so the smallest value is -127
LINEAR = ("Conv", "Gemm", "MatMul")
NOT_QUANTIZED = ("ConvTranspose", "Einsum", "LSTM", "GRU", "RNN")  # products that stay float32
FUSED = ("Tanh", "Sigmoid", "LeakyRelu", "Elu", "HardSigmoid")  # besides Relu, fused with a product in float32


def layers(model: ir.Model) -> dict[str, list[ir.Node]]:
    """Return the layers that can be quantized, which are those with constant weights, in order.

    Args:
        model: float32 model.

    Returns:
        Name of a layer -> its nodes; several if the layer is called more than once.
    """
    nodes_of = {}
    for node in model.graph:
        if _is_layer(node):
            nodes_of.setdefault(node.inputs[1].name.rpartition("/")[0] or node.name, []).append(node)
    return nodes_of


def tensors(model: ir.Model, exclude: Iterable[str] = ()) -> list[str]:
    """Return the names of the activations whose calibration ranges `quantize` needs, in order.

    Args:
        model: float32 model.
        exclude: names of layers that stay float32.

    Raises:
        ZooError: if there is no layer of such a name, or no layer remains.
    """
    return list(dict.fromkeys(_range_sources(_selected_nodes(model, exclude)).values()))


def quantize(
    model: ir.Model, ranges: Mapping[str, float], exclude: Iterable[str] = (), full_range: bool = False
) -> ir.Model:
    """Quantize a model to INT8. Each tensor keeps its name and, except for rounding, its values.

    Args:
        model: float32 model; not modified.
        ranges: calibration range, the largest magnitude, of each of `tensors`.
        exclude: names of layers that stay float32.
        full_range: whether weights are from -127 to 127; see `exporters.onnx.saturation`.

    Returns:
        The model with QuantizeLinear and DequantizeLinear around its layers.

    Raises:
        ZooError: if there is no layer of such a name, no layer remains, or the model's opset is too old.
    """
    if model.graph.opset_imports[""] < Precision.INT8.oldest_opset:
        raise ZooError(f"INT8 needs opset {Precision.INT8.oldest_opset} or later; given was {model.graph.opset_imports['']}")
    model = model.clone()
    graph, nodes = model.graph, _selected_nodes(model, exclude)
    sources = _range_sources(nodes)
    largest = INT8_MAX if full_range else LARGEST_WEIGHT
    _quantize_weights(graph, [node if node.outputs[0] in sources else _split_bias(node) for node in nodes], largest)
    zero = _constant(graph, "zero_point", np.zeros((), "int8"))
    scales = {name: _constant(graph, f"{name}/scale", scale(ranges[name])) for name in dict.fromkeys(sources.values())}
    for value, source in sources.items():
        _quantize_activation(graph, value, scales[source], zero)
    return model


def scale(largest: float | np.ndarray, levels: int = INT8_MAX) -> np.ndarray:
    """Return the float32 scale with which the integers up to `levels` cover a magnitude, or an array of magnitudes.

    The scale is never 0: a tensor of zeros is represented exactly with any scale.
    """
    scales = np.asarray(largest, "float32") / np.float32(levels)
    return np.where(scales > 0, scales, np.float32(1 / INT8_MAX)).astype("float32")


def to_int8(weight: np.ndarray, scales: np.ndarray, axis: int | None) -> np.ndarray:
    """Return a weight as int8 multiples of scales, rounded to nearest, ties to even.

    Args:
        weight: float32 array.
        scales: float32 scales, (channels,) along the axis, or () for a single scale.
        axis: axis of the output channels, None for a single scale.
    """
    if axis is not None:
        scales = scales.reshape([-1 if each == axis else 1 for each in range(weight.ndim)])
    return np.clip(np.rint(weight / scales), -INT8_MAX, INT8_MAX).astype("int8")


def _selected_nodes(model, exclude):
    """Return the nodes of all layers that are not excluded, in order."""
    available = layers(model)
    for name in exclude:
        if name not in available:
            hint = did_you_mean(name, available)
            raise ZooError(f"no layer '{name}' to exclude{hint} Choose from {', '.join(available)}")
    nodes = [node for name, nodes in available.items() if name not in exclude for node in nodes]
    if not available:
        products = sorted({node.op_type for node in model.graph if node.op_type in NOT_QUANTIZED})
        reason = f"; {' and '.join(products)} cannot be quantized" if products else ""
        raise ZooError(f"the model has no convolution or dense layer to quantize{reason}. Choose the precision fp16")
    if not nodes:
        raise ZooError("no layer with constant weights remains to quantize; exclude fewer, or choose the precision fp16")
    return nodes


def _is_layer(node):
    """Return whether a node is a product with a constant weight. Products of squares exceed the range of INT8."""
    if node.domain or node.op_type not in LINEAR or constant(node.inputs[0]) is not None or is_square(node.inputs[0]):
        return False
    weight = constant(node.inputs[1])
    return weight is not None and weight.dtype == np.float32 and weight.ndim > 1


def _channel_axis(node):
    """Return the output channel axis of a layer's weight, or None for a batch of matrices, which has a single scale."""
    if node.op_type == "Conv" or attribute(node, "transB", 0):
        return 0
    return 1 if constant(node.inputs[1]).ndim == 2 else None


def _range_sources(nodes):
    """Return the values to quantize, in order, each with the name of the tensor whose calibration range it gets.

    These are the inputs and outputs of the layers. If data movement operators are between two layers, all values between
    them are quantized with the same scale, so that 8-bit data is moved. A value between a layer and a ReLU, which
    onnxruntime only fuses in float32, gets the scale of the ReLU's output: it only clips values that the ReLU clips, too.
    """
    sources = {}
    for node in nodes:
        chain = [node.inputs[0]]
        while moved := producer_of_type(chain[-1], *DATA_MOVEMENT):
            chain.append(moved.inputs[0])
        source = chain[-1]
        if not _computed_by(nodes, source):  # a float32 pool stays float32
            last = next((index for index, value in enumerate(chain) if producer_of_type(value, "MaxPool")), len(chain))
            chain = chain[: last + 1]
        sources.update({value: source.name for value in reversed(chain)})
    for node in nodes:
        (value,) = node.outputs
        reader = value.uses()[0].node if has_single_reader(value) else None
        if reader and reader.op_type == "Relu":
            sources[value] = reader.outputs[0].name
        elif (node.op_type == "Conv" and not value.is_graph_output()) or (reader and reader.op_type in FUSED):
            sources.setdefault(value, value.name)
    return sources


def _computed_by(nodes, value):
    """Return whether one of the nodes computes a value, optionally followed by a ReLU."""
    above = value.producer()
    if above is not None and above.op_type == "Relu":
        above = above.inputs[0].producer()
    return above in nodes


def _split_bias(node):
    """Split a Gemm into a product and an Add, as onnxruntime requires for a Gemm with float32 output; return the product."""
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


def _quantize_weights(graph, nodes, largest):
    """Quantize the weights of layers to INT8, up to a magnitude, with one scale per output channel.

    A weight that several layers share is duplicated: onnxruntime does not support shared ones with exact sums.
    """
    for node in nodes:
        value, axis = node.inputs[1], _channel_axis(node)
        names = (value.name + suffix for suffix in ("", *(f"_{number}" for number in range(2, len(nodes) + 2))))
        name = next(name for name in names if f"{name}_quantized" not in graph.initializers)
        weight = constant(value)
        others = tuple(each for each in range(weight.ndim) if each != axis)
        scales = scale(np.abs(weight).max(axis=others), largest)
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
    """Insert QuantizeLinear and DequantizeLinear between a value and its readers.

    The output of a float32 pool is clipped first, which only excludes -128. Otherwise onnxruntime would move the
    quantization above the pool, and its INT8 pools are slower than its float32 pools, even more so with large batches.
    """
    readers, name, source = value.uses(), value.name, value
    pool = producer_of_type(value, "MaxPool")
    if pool and not producer_of_type(pool.inputs[0], "DequantizeLinear"):
        largest = INT8_MAX * constant(scale)
        bounds = [_constant(graph, f"{name}/{end}", limit) for end, limit in (("smallest", -largest), ("largest", largest))]
        source = _output("Clip", (value, *bounds), f"{name}/clipped", value, ir.DataType.FLOAT)
    quantized = _output("QuantizeLinear", (source, scale, zero), f"{name}/quantized", value, ir.DataType.INT8)
    result = _output("DequantizeLinear", (quantized, scale, zero), f"{name}/dequantized", value, ir.DataType.FLOAT)
    for node, index in readers:
        node.replace_input_with(index, result)
    nodes = [each.producer() for each in dict.fromkeys((source, quantized, result)) if each is not value]
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
    """Return the output of a new node, with the shape of another value."""
    attributes = None if axis is None else {"axis": axis}
    output = ir.Value(name=name, shape=like.shape, type=ir.TensorType(dtype))
    ir.node(op_type, inputs, attributes, outputs=[output], name=name)
    return output
