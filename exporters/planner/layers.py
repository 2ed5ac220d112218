"""Layers of an ONNX graph after TensorRT's fusion, with their multiply-accumulates and memory traffic per image.

TensorRT fuses element-wise operators with the convolution or product before them, and with each other (TensorRT Developer
Guide 8.5, "Types of Fusions"). QuantizeLinear is fused with the producer of its input, DequantizeLinear with the reader of
its output, so that the tensor between them has 8 bits. Which kernels TensorRT selects is only known from the built engine.
"""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from exporters.onnx.graph.edit import attribute, dims
from exporters.precision import Precision
from zoo.errors import ZooError

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum")
VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")  # same data, another shape
ELEMENTWISE = (
    *("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Neg", "Abs", "Sqrt", "Exp", "Log", "Clip", "Cast", "QuantizeLinear"),
    *("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Sigmoid", "HardSigmoid", "Tanh", "Softsign", "Softplus", "Erf", "Where"),
    *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Not", "Sign", "Floor", "Ceil", "Round"),
)
RECURRENT = ("RNN", "LSTM", "GRU")
UNSUPPORTED = ("Loop", "Scan", "If", "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul")
PRECISIONS = {ir.DataType.from_numpy(np.dtype(each.dtype)): each for each in Precision}  # widest first


@dataclass(frozen=True)
class Layer:
    """A group of nodes that TensorRT runs as one kernel, with its cost for one image.

    Attributes:
        name: name of the Keras layer, or of the main node if that name is not unique.
        operator: ONNX operator of the main node.
        macs: multiply-accumulates.
        weights: name of a constant -> its size in bytes.
        inputs: name of a tensor that is read -> its size in bytes.
        outputs: name of a tensor that is written -> its size in bytes.
        precision: `exporters.precision.Precision` that it multiplies, else the widest that it reads or writes.
    """

    name: str
    operator: str
    macs: int
    weights: dict[str, int]
    inputs: dict[str, int]
    outputs: dict[str, int]
    precision: Precision

    @property
    def weight_bytes(self) -> int:
        """Size of all constants in bytes."""
        return sum(self.weights.values())

    @property
    def input_bytes(self) -> int:
        """Bytes read per image, without weights."""
        return sum(self.inputs.values())

    @property
    def output_bytes(self) -> int:
        """Bytes written per image."""
        return sum(self.outputs.values())


def read(graph: ir.Model) -> list[Layer]:
    """Return the layers of a model, in execution order.

    Args:
        graph: exported model; not modified, and its weights are not copied.

    Raises:
        ZooError: if the model has a static batch other than 1, a tensor has no static shape, or the cost of a node is
            unknown.
    """
    model = with_batch_of_one(graph)
    outputs = {stored_tensor(value) for value in model.graph.outputs}
    return [_layer(name, nodes, outputs) for name, nodes in fuse(model).items()]


def with_batch_of_one(graph: ir.Model) -> ir.Model:
    """Return a copy of a model with a static batch of 1 and inferred shapes; the weights are shared.

    Raises:
        ZooError: as for `read`.
    """
    model = graph.clone()
    for value in model.graph.inputs:
        if not isinstance(batch := value.shape[0], ir.SymbolicDim) and batch != 1:
            raise ZooError(f"{value.name} has a static batch of {batch}; plan the model with a dynamic batch")
        value.shape = ir.Shape([1, *value.shape[1:]])
    for value in model.graph.outputs:
        value.shape = None  # to be inferred again
    common.ShapeInferencePass()(model)
    for node in model.graph:
        if node.op_type in UNSUPPORTED or node.domain:
            raise ZooError(f"{node.name}: the planner does not know the cost of {node.op_type}")
        for value in node.outputs:
            if (value.uses() or value.is_graph_output()) and (dims(value) is None or None in dims(value)):
                raise ZooError(f"{value.name} has no static shape; the planner needs the output shape of {node.op_type}")
    return model


def fuse(model: ir.Model) -> dict[str, list[ir.Node]]:
    """Return the nodes of each layer by the name of the layer, without views and DequantizeLinear.

    Args:
        model: model from `with_batch_of_one`.
    """
    groups, group_of = [], {}
    for node in model.graph:
        if node.op_type in (*VIEWS, "DequantizeLinear"):
            continue
        group = _fused_group(node, group_of)
        if group is None:
            group = []
        else:
            groups.remove(group)  # it runs after its last input is computed
        group.append(node)
        groups.append(group)
        group_of.update(dict.fromkeys(node.outputs, group))
    layer_of = {_main_node(group): _keras_layer(_main_node(group)) for group in groups}
    count = Counter(name for node, layer in layer_of.items() for name in {node.name, layer})
    main_nodes = map(_main_node, groups)
    names = [layer_of[node] if count[layer_of[node]] == 1 else node.name for node in main_nodes]
    return dict(zip(names, groups, strict=True))


def stored_tensor(value: ir.Value) -> ir.Value:
    """Return the tensor in memory behind a value: the source of a view, or the 8-bit input of a DequantizeLinear."""
    while value.producer() is not None and value.producer().op_type in (*VIEWS, "DequantizeLinear"):
        value = value.producer().inputs[0]
    return value


def _fused_group(node, group_of):
    """Return the last group that a node can be fused into, or None."""
    if node.op_type not in ELEMENTWISE:
        return None
    fused = None
    for value in {stored_tensor(each): None for each in node.inputs if each is not None}:
        group = group_of.get(value)
        if group is None or value.is_graph_output() or _readers(value) != {node}:
            continue
        same_size = math.prod(dims(value)) == math.prod(dims(node.outputs[0]))
        if same_size and (node.op_type == "QuantizeLinear" or group[0].op_type in (*PRODUCTS, *ELEMENTWISE)):
            fused = group
    return fused


def _readers(value):
    """Return the nodes that read a tensor, directly or through views and DequantizeLinear."""
    readers = set()
    for node, _ in value.uses():
        if node.op_type in (*VIEWS, "DequantizeLinear"):
            readers |= _readers(node.outputs[0]) | ({node} if node.outputs[0].is_graph_output() else set())
        else:
            readers.add(node)
    return readers


def _main_node(nodes):
    """Return the node that determines the kind of a layer: its product, else its first node."""
    return next((node for node in nodes if node.op_type in PRODUCTS), nodes[0])


def _keras_layer(node):
    """Return the name of the Keras layer of a node; for a product, that of its weights."""
    has_weights = node.op_type in PRODUCTS and stored_tensor(node.inputs[1]).const_value is not None
    name = node.inputs[1].name if has_weights else node.name
    return name.rpartition("/")[0] or node.name


def _layer(name, nodes, graph_outputs):
    results = [value for node in nodes for value in node.outputs]
    weights, read, written = {}, {}, {}
    for value in (value for node in nodes for value in _inputs_of(node)):
        tensor = stored_tensor(value)
        if tensor.const_value is None:
            read.update({} if tensor in results else {tensor: _bytes(tensor)})
        elif tensor.dtype not in (ir.DataType.INT64, ir.DataType.INT32):  # shapes and axes, which are used at build time
            weights[tensor.name] = tensor.const_value.nbytes
    for value in results:
        if value in graph_outputs or _readers(value) - set(nodes):
            written[value] = _bytes(value)
    main = _main_node(nodes)
    multiplies = main.op_type in (*PRODUCTS, *RECURRENT)
    operands = map(stored_tensor, main.inputs[:2]) if multiplies else (*read, *written)
    types = {value.dtype for value in operands}
    precision = next((name for dtype, name in PRECISIONS.items() if dtype in types), Precision.FP32)
    inputs, outputs = ({value.name: size for value, size in each.items()} for each in (read, written))
    return Layer(name, main.op_type, sum(map(macs, nodes)), weights, inputs, outputs, precision)


def _inputs_of(node):
    """Yield the inputs of a node and the scales of its dequantized inputs. Zero points are 0 and not stored."""
    for value in node.inputs[:2] if node.op_type == "QuantizeLinear" else node.inputs:
        while value is not None:
            yield value
            above = value.producer()
            if above is None or above.op_type not in (*VIEWS, "DequantizeLinear"):
                break
            if above.op_type == "DequantizeLinear":
                yield above.inputs[1]
            value = above.inputs[0]


def _bytes(value):
    return math.ceil(math.prod(dims(value)) * value.dtype.itemsize)


def macs(node: ir.Node) -> int:
    """Return the multiply-accumulates of a node per image, 0 for a node that is not a product.

    Raises:
        ZooError: for an Einsum with an ellipsis.
    """
    if node.op_type in RECURRENT:  # at each step, a product with the input and one with the state
        return dims(node.inputs[0])[0] * sum(math.prod(dims(value)) for value in node.inputs[1:3])
    if node.op_type not in PRODUCTS:
        return 0
    first, second = dims(node.inputs[0]), dims(node.inputs[1])
    results = math.prod(dims(node.outputs[0]))
    match node.op_type:
        case "Conv":  # kernel (out, in per group, ...): a sum over one window of the group for each output
            return results * math.prod(second[1:])
        case "ConvTranspose":  # kernel (in, out per group, ...): each input is spread over one window
            return math.prod(first) * math.prod(second[1:])
        case "Gemm":
            return results * first[0 if attribute(node, "transA", 0) else 1]
        case "MatMul":
            return results * first[-1]
    subscripts = attribute(node, "equation").replace(" ", "").partition("->")[0].split(",")
    if any("." in each for each in subscripts):
        raise ZooError(f"{node.name}: the planner does not know the cost of an Einsum with an ellipsis")
    sizes = {}
    for each, value in zip(subscripts, node.inputs, strict=True):
        sizes.update(zip(each, dims(value), strict=True))
    return math.prod(sizes.values())
