"""The layers of an ONNX graph, what TensorRT fuses counted as one, and what each computes and moves for one picture.

TensorRT fuses what follows a convolution or a product element by element, and chains of such operators (TensorRT Developer
Guide 8.5, "Types of Fusions"); QuantizeLinear joins what computes its input and DequantizeLinear what reads its output, so
that the tensor between them is 8 bits wide. Which kernels a board chooses only its engine says.
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
VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")  # the same bytes under another shape
ELEMENTWISE = (
    *("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Neg", "Abs", "Sqrt", "Exp", "Log", "Clip", "Cast", "QuantizeLinear"),
    *("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Sigmoid", "HardSigmoid", "Tanh", "Softsign", "Softplus", "Erf", "Where"),
    *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Not", "Sign", "Floor", "Ceil", "Round"),
)
UNCOUNTED = ("RNN", "LSTM", "GRU", "Loop", "Scan", "If", "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul")
PRECISIONS = {ir.DataType.from_numpy(np.dtype(each.dtype)): each for each in Precision}  # widest first


@dataclass(frozen=True)
class Layer:
    """What TensorRT runs at once, for one picture.

    Attributes:
        name: of the Keras layer, or of the node where several layers would be called so.
        operator: of ONNX, the one that gives the layer its kind.
        macs: multiply-accumulates.
        weights: dict, name of a constant -> its bytes.
        inputs: dict, name of a tensor that is read -> its bytes.
        outputs: dict, name of a tensor that is written -> its bytes.
        precision: `exporters.precision.Precision` that it multiplies, else the widest that it reads or writes.
    """

    name: str
    operator: str
    macs: int
    weights: dict
    inputs: dict
    outputs: dict
    precision: Precision

    @property
    def weight_bytes(self):
        """Bytes of all constants."""
        return sum(self.weights.values())

    @property
    def input_bytes(self):
        """Bytes read for one picture, weights left out."""
        return sum(self.inputs.values())

    @property
    def output_bytes(self):
        """Bytes written for one picture."""
        return sum(self.outputs.values())


def read(graph):
    """Return the layers of a model, in the order in which they can run.

    Args:
        graph: `onnx_ir.Model`; it stays as it is, and no weight is copied.

    Returns:
        List of `Layer`.

    Raises:
        ZooError: if the model takes another number of pictures than one or any, a tensor has no fixed size for one, or a
            node's multiplications are not known.
    """
    model = for_one_picture(graph)
    ends = {stored(value) for value in model.graph.outputs}
    return [_layer(name, nodes, ends) for name, nodes in fused(model).items()]


def for_one_picture(graph):
    """Return a model with a batch of one and the shapes of all tensors; it shares its weights with the given one.

    Raises:
        ZooError: as `read` does.
    """
    model = graph.clone()
    for value in model.graph.inputs:
        if not isinstance(batch := value.shape[0], ir.SymbolicDim) and batch != 1:
            raise ZooError(f"{value.name} takes {batch} pictures at a time; plan the same model for any number of them")
        value.shape = ir.Shape([1, *value.shape[1:]])
    for value in model.graph.outputs:
        value.shape = None  # it is inferred, too
    common.ShapeInferencePass()(model)
    for node in model.graph:
        if node.op_type in UNCOUNTED or node.domain:
            raise ZooError(f"{node.name}: nobody has taught the planner what {node.op_type} costs")
        for value in node.outputs:
            if (value.uses() or value.is_graph_output()) and (dims(value) is None or None in dims(value)):
                raise ZooError(f"{value.name} has no fixed size for one picture; the planner needs {node.op_type}'s shape")
    return model


def fused(model):
    """Return the nodes of each layer, by its name; views, and what dequantizes, are in none.

    Args:
        model: of `for_one_picture`.

    Returns:
        dict, name -> list of `onnx_ir.Node`.
    """
    groups, group_of = [], {}
    for node in model.graph:
        if node.op_type in (*VIEWS, "DequantizeLinear"):
            continue
        group = _joined(node, group_of)
        if group is None:
            group = []
        else:
            groups.remove(group)  # it runs when all that it reads is there
        group.append(node)
        groups.append(group)
        group_of.update(dict.fromkeys(node.outputs, group))
    wanted = {_main(group): _keras_layer(_main(group)) for group in groups}
    count = Counter(name for node, layer in wanted.items() for name in {node.name, layer})
    return {wanted[node] if count[wanted[node]] == 1 else node.name: group for group in groups for node in [_main(group)]}


def stored(value):
    """Return the tensor in memory that a value is read from: that of a view, and the 8 bits of what is dequantized."""
    while value.producer() is not None and value.producer().op_type in (*VIEWS, "DequantizeLinear"):
        value = value.producer().inputs[0]
    return value


def _joined(node, group_of):
    """Return the layer that a node becomes part of, the last that it could, or None."""
    if node.op_type not in ELEMENTWISE:
        return None
    found = None
    for value in {stored(each): None for each in node.inputs if each is not None}:
        group = group_of.get(value)
        if group is None or value.is_graph_output() or _readers(value) != {node}:
            continue
        same_size = math.prod(dims(value)) == math.prod(dims(node.outputs[0]))
        if same_size and (node.op_type == "QuantizeLinear" or group[0].op_type in (*PRODUCTS, *ELEMENTWISE)):
            found = group
    return found


def _readers(value):
    """Return the nodes that read a tensor, views and what dequantizes passed over."""
    found = set()
    for node, _ in value.uses():
        if node.op_type in (*VIEWS, "DequantizeLinear"):
            found |= _readers(node.outputs[0]) | ({node} if node.outputs[0].is_graph_output() else set())
        else:
            found.add(node)
    return found


def _main(nodes):
    """Return the node that gives a layer its kind."""
    return next((node for node in nodes if node.op_type in PRODUCTS), nodes[0])


def _keras_layer(node):
    """Return the name of the Keras layer that a node is of, for a product that of its weights."""
    name = node.inputs[1].name if node.op_type in PRODUCTS and stored(node.inputs[1]).const_value is not None else node.name
    return name.rpartition("/")[0] or node.name


def _layer(name, nodes, ends):
    made = [value for node in nodes for value in node.outputs]
    weights, read, written = {}, {}, {}
    for value in (value for node in nodes for value in _read_by(node)):
        tensor = stored(value)
        if tensor.const_value is None:
            read.update({} if tensor in made else {tensor: _bytes(tensor)})
        elif tensor.dtype not in (ir.DataType.INT64, ir.DataType.INT32):  # shapes and axes, which are known at build time
            weights[tensor.name] = tensor.const_value.nbytes
    for value in made:
        if value in ends or _readers(value) - set(nodes):
            written[value] = _bytes(value)
    main = _main(nodes)
    multiplied = map(stored, main.inputs[:2]) if main.op_type in PRODUCTS else (*read, *written)
    types = {value.dtype for value in multiplied}
    precision = next((name for dtype, name in PRECISIONS.items() if dtype in types), Precision.FP32)
    inputs, outputs = ({value.name: size for value, size in each.items()} for each in (read, written))
    return Layer(name, main.op_type, sum(map(macs, nodes)), weights, inputs, outputs, precision)


def _read_by(node):
    """Yield what a node reads, and the scales of what is dequantized for it; zero points are 0 and not stored."""
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


def macs(node):
    """Return the multiply-accumulates of a node for one picture; 0 for what is no product.

    Raises:
        ZooError: for an Einsum with an ellipsis.
    """
    if node.op_type not in PRODUCTS:
        return 0
    first, second = dims(node.inputs[0]), dims(node.inputs[1])
    results = math.prod(dims(node.outputs[0]))
    match node.op_type:
        case "Conv":  # (maps, maps of the group's input, window): each result is a sum over its group's windows
            return results * math.prod(second[1:])
        case "ConvTranspose":  # (maps of the input, maps of the group, window): each input spreads over a window
            return math.prod(first) * math.prod(second[1:])
        case "Gemm":
            return results * first[0 if attribute(node, "transA", 0) else 1]
        case "MatMul":
            return results * first[-1]
    letters = attribute(node, "equation").replace(" ", "").partition("->")[0].split(",")
    if any("." in each for each in letters):
        raise ZooError(f"{node.name}: nobody has taught the planner what an Einsum with an ellipsis costs")
    sizes = {}
    for each, value in zip(letters, node.inputs, strict=True):
        sizes.update(zip(each, dims(value), strict=True))
    return math.prod(sizes.values())
