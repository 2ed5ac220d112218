"""Half precision: a graph that computes in float16, but for what only float32 has the range for."""

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from exporters.onnx import metadata
from exporters.onnx.graph.edit import constant, constant_like, insert, new_constant, producer_of_type
from exporters.onnx.graph.squares import computes_squares, is_square
from zoo.errors import ZooError

LARGEST, NORMAL = 65504, 2.0**-14  # of float16; below the second it has fewer digits
PIXELS = 256  # values that a raw pixel has
SMALL = 2.0**-4  # weights all below it gain digits by a factor of so much
HALF, SINGLE = ir.DataType.FLOAT16, ir.DataType.FLOAT
GRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
NAMES = {HALF: "half", SINGLE: "single"}

# What stays float32 because it sums squares or any number of values on its way, though its result is in range again.
SCALED = ("LRN", "ReduceMean", "GlobalAveragePool", "Softmax", "LogSoftmax")
# What stays float32 for its result too: the sum of the squares of two raw pixels is beyond 65504, and so is the exponential
# of 12. All behind it up to the next layer stays so as well, as the factor that brings it back into range may be there.
GROWING = ("ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSumExp", "Exp", "Pow")
FIXED = ("Resize",)  # has scales, which are float32 by its definition
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum")
# What stays float32 where float16 cannot hold its constant; other operators do so only behind what does.
ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")


def to_half(model, io="float32"):
    """Return a model that computes in float16; each tensor keeps its name and, but for rounding, its values.

    Raw pixels stay what they are, uint8 or float32, and are cast: float16 holds all of them.

    Args:
        model: `onnx_ir.Model` of float32; it stays as it is.
        io: "float32" or "float16", the type of the scores.

    Returns:
        `onnx_ir.Model`.

    Raises:
        ZooError: if float16 cannot hold a layer's weights, those for raw pixels times 256: there are
            some beyond 65504, or all are below 2^-14. Where only
            some are, they are off by less than 2^-24, which is what rounding the largest changes.
    """
    if io not in ("float32", "float16"):
        raise ZooError(f"the scores of a file in half precision are float32 or float16; given was '{io}'")
    model = model.clone()
    graph, versions, widened = model.graph, _Versions(model.graph), set()
    if within := [node.name for node in graph if any(each.type in GRAPHS for each in node.attributes.values())]:
        raise ZooError(f"{within[0]} has a graph within, which is not converted to float16; export in float32")
    common.ShapeInferencePass()(model)
    about = metadata.find(model)
    _take_fractions_of_pixels(graph, about is not None and about.get("raw_input", True))
    for node in list(graph):
        wide = node.op_type != "Cast" and _is_wide(node, widened)
        if node.op_type == "Cast":
            if node.outputs[0].dtype == SINGLE:
                node.attributes["to"] = ir.AttrInt64("to", HALF.value)
        else:
            for place, value in enumerate(node.inputs):
                if value is not None and value.dtype in (SINGLE, HALF):
                    node.replace_input_with(place, versions.of(value, SINGLE if wide else HALF, node))
        for value in node.outputs:
            if value.dtype == SINGLE:
                value.type = ir.TensorType(SINGLE if wide else HALF)
                widened.update([value] if wide and node.op_type not in SCALED else [])
    _cast_scores(graph, SINGLE if io == "float32" else HALF)
    versions.name_as_before()
    for node in graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None  # a reader infers it
    common.RemoveUnusedNodesPass()(model)
    return model


def _take_fractions_of_pixels(graph, raw):
    """Let layers that see raw pixels, and have small weights for it, see 1/256 of them and have weights 256 times as large.

    The scaling of the preprocessing is in these weights, where float16 has few digits for it. Both factors are exact. Pixels
    in float32 are raw if the model says so.
    """
    fractions = {}
    for node in list(graph):
        given = node.inputs[0] if node.inputs else None
        if node.op_type not in LAYERS or not _is_raw(given, raw) or constant(node.inputs[1]) is None:
            continue
        kernel = constant(node.inputs[1])
        if not 0 < np.abs(kernel).max(initial=0) < SMALL:
            continue
        if given not in fractions:
            factor = new_constant(graph, np.float32(1 / PIXELS))
            fractions[given] = insert(node, "Mul", [given, factor], None, given.shape, given.dtype)
            fractions[given].name = fractions[given].producer().name = f"{given.name}/fraction"
            graph.initializers.pop(factor.name)
            factor.name = factor.const_value.name = f"{given.name}/fraction/b"
            graph.register_initializer(factor)
        node.replace_input_with(0, fractions[given])
        larger = constant_like(node.inputs[1], kernel * np.float32(PIXELS))
        old = node.inputs[1]
        node.replace_input_with(1, larger)
        if not old.uses():
            del graph.initializers[old.name], graph.initializers[larger.name]
            larger.name = larger.const_value.name = old.name
            graph.register_initializer(larger)


def _is_raw(value, raw):
    """Tell whether a value is the input of a graph, moved: uint8 that is cast, or float32 where that is raw."""
    while moved := producer_of_type(value, "Reshape", "Transpose"):
        value = moved.inputs[0]
    if cast := producer_of_type(value, "Cast"):
        return cast.inputs[0].dtype == ir.DataType.UINT8
    return raw and value is not None and value.is_graph_input() and value.dtype == SINGLE


def _is_wide(node, widened):
    """Tell whether a node stays float32, where some of its inputs do or not."""
    floats = [value for value in node.inputs if value is not None and value.dtype in (SINGLE, HALF)]
    if node.op_type in (*SCALED, *GROWING, *FIXED) or computes_squares(node) or not floats:
        return True
    fits = all(_fits(value) for value in floats if constant(value) is not None)
    if any(value in widened for value in floats):
        return node.op_type not in LAYERS or not fits or any(map(is_square, floats))
    return node.op_type in ARITHMETIC and not fits


def _fits(value):
    """Tell whether float16 holds a constant about as well as it holds any."""
    magnitudes = np.abs(constant(value))
    largest = magnitudes[np.isfinite(magnitudes)].max(initial=0)
    return largest == 0 or NORMAL <= largest <= LARGEST


class _Versions:
    """The values of a graph in the other type too, each made once, where it is read first."""

    def __init__(self, graph):
        self._graph = graph
        self._made = {}

    def of(self, value, dtype, reader):
        """Return a value in a type, for a node that reads it."""
        if value.dtype == dtype:
            return value
        if value not in self._made:
            if constant(value) is None:
                self._made[value] = _cast(value, dtype, f"{value.name}/{NAMES[dtype]}")
                self._graph.insert_before(reader, self._made[value].producer())
            else:
                self._made[value] = self._constant(value, reader)
        return self._made[value]

    def name_as_before(self):
        """Give the constants of which there is now one version only the name that they had."""
        for value, made in self._made.items():
            if constant(value) is not None and not value.uses():
                del self._graph.initializers[value.name], self._graph.initializers[made.name]
                made.name = made.const_value.name = value.name
                self._graph.register_initializer(made)

    def _constant(self, value, reader):
        if not _fits(value):
            raise ZooError(
                f"float16 cannot hold {value.name}, which {reader.name} reads: its largest magnitude is "
                f"{np.abs(constant(value)).max():.3g}, not between {NORMAL:.2g} and {LARGEST}; export in float32"
            )
        name = f"{value.name}/{NAMES[HALF]}"
        tensor = ir.Tensor(constant(value).astype("float16"), name=name)
        made = ir.Value(name=name, shape=value.shape, type=ir.TensorType(HALF), const_value=tensor)
        self._graph.register_initializer(made)
        return made


def _cast(value, dtype, name):
    """Return a value in another type; what was cast itself is cast anew from what it was, not twice."""
    above = value.producer()
    source = above.inputs[0] if above is not None and above.op_type == "Cast" else value
    result = ir.Value(name=name, shape=value.shape, type=ir.TensorType(dtype))
    ir.node("Cast", [source], {"to": dtype.value}, outputs=[result], name=name)
    return result


def _cast_scores(graph, dtype):
    """Let the outputs of a graph have a type, under the names that they have."""
    for place, value in enumerate(graph.outputs):
        if value.dtype in (SINGLE, HALF) and value.dtype != dtype:
            name = value.name
            value.name = f"{name}/{NAMES[value.dtype]}"
            result = _cast(value, dtype, name)
            graph.append(result.producer())
            graph.outputs[place] = result
