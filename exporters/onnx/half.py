"""Conversion to float16, except for nodes that need the range of float32."""

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from exporters.choices import Scores
from exporters.onnx import metadata
from exporters.onnx.graph.edit import constant, constant_like, insert, new_constant, producer_of_type
from exporters.onnx.graph.squares import computes_squares, is_square
from zoo.errors import ZooError

MAX_FLOAT16, MIN_NORMAL = 65504, 2.0**-14  # below the second, float16 loses precision
PIXEL_RANGE = 256  # raw pixels have this many values
SMALL = 2.0**-4  # weights that are all smaller than this gain precision when multiplied by PIXEL_RANGE
FLOAT16, FLOAT32 = ir.DataType.FLOAT16, ir.DataType.FLOAT
GRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
SUFFIXES = {FLOAT16: "half", FLOAT32: "single"}

# These stay float32, because they sum squares or many values; their output is in the range of float16 again.
REDUCING = ("LRN", "ReduceMean", "GlobalAveragePool", "Softmax", "LogSoftmax")
# These stay float32 together with everything up to the next layer: the sum of two squared raw pixels exceeds 65504, as does
# the exponential of 12, and the factor that brings the value back into range may follow.
GROWING = ("ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSumExp", "Exp", "Pow")
FLOAT32_ONLY = ("Resize",)  # its scales are float32 by definition
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum")
# These stay float32 if float16 cannot hold their constant. Other operators only stay float32 after one that does.
ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")


def to_half(model: ir.Model, scores: str = Scores.FLOAT32) -> ir.Model:
    """Convert a model to float16. Each tensor keeps its name and, except for rounding, its values.

    Raw pixels stay uint8 or float32 and are cast: float16 represents all of them exactly.

    Args:
        model: float32 model; not modified.
        scores: data type of the scores, `exporters.choices.Scores`.

    Returns:
        The converted model.

    Raises:
        ZooError: if float16 cannot hold the weights of a layer (for a layer that reads raw pixels, 256 times the weights):
            some exceed 65504, or all are below 2^-14. If only some are below, they are off by less than 2^-24, which is the
            rounding error of the largest.
    """
    scores = Scores.parse(scores)
    model = model.clone()
    graph, casts, widened = model.graph, _Casts(model.graph), set()
    if with_subgraph := [node.name for node in graph if any(each.type in GRAPHS for each in node.attributes.values())]:
        raise ZooError(f"{with_subgraph[0]} has a subgraph, which cannot be converted to float16; export in float32")
    common.ShapeInferencePass()(model)
    about = metadata.find(model)
    _rescale_pixels(graph, about is not None and about.get("raw_input", True))
    for node in list(graph):
        wide = node.op_type != "Cast" and _needs_float32(node, widened)
        if node.op_type == "Cast":
            if node.outputs[0].dtype == FLOAT32:
                node.attributes["to"] = ir.AttrInt64("to", FLOAT16.value)
        else:
            for position, value in enumerate(node.inputs):
                if value is not None and value.dtype in (FLOAT32, FLOAT16):
                    node.replace_input_with(position, casts.of(value, FLOAT32 if wide else FLOAT16, node))
        for value in node.outputs:
            if value.dtype == FLOAT32:
                value.type = ir.TensorType(FLOAT32 if wide else FLOAT16)
                widened.update([value] if wide and node.op_type not in REDUCING else [])
    _cast_outputs(graph, FLOAT32 if scores == Scores.FLOAT32 else FLOAT16)
    casts.restore_constant_names()
    for node in graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None  # readers infer it
    common.RemoveUnusedNodesPass()(model)
    return model


def _rescale_pixels(graph, raw_input):
    """Multiply raw pixels by 1/256 and the weights of the layers that read them by 256, if these weights are small.

    The weights include the input scaling, which makes them so small that float16 loses precision. Both factors are exact.
    float32 pixels are raw if the metadata says so.
    """
    rescaled = {}
    for node in list(graph):
        pixels = node.inputs[0] if node.inputs else None
        if node.op_type not in LAYERS or not _is_raw(pixels, raw_input) or constant(node.inputs[1]) is None:
            continue
        kernel = constant(node.inputs[1])
        if not 0 < np.abs(kernel).max(initial=0) < SMALL:
            continue
        if pixels not in rescaled:
            factor = new_constant(graph, np.float32(1 / PIXEL_RANGE))
            rescaled[pixels] = insert(node, "Mul", [pixels, factor], None, pixels.shape, pixels.dtype)
            rescaled[pixels].name = rescaled[pixels].producer().name = f"{pixels.name}/fraction"
            _rename_constant(graph, factor, f"{pixels.name}/fraction/b")
        node.replace_input_with(0, rescaled[pixels])
        old = node.inputs[1]
        larger = constant_like(old, kernel * np.float32(PIXEL_RANGE))
        node.replace_input_with(1, larger)
        if not old.uses():
            del graph.initializers[old.name]
            _rename_constant(graph, larger, old.name)


def _rename_constant(graph, value, name):
    del graph.initializers[value.name]
    value.name = value.const_value.name = name
    graph.register_initializer(value)


def _is_raw(value, raw_input):
    """Return whether a value holds raw pixels: a graph input, reshaped or cast from uint8, or float32 that is raw."""
    while moved := producer_of_type(value, "Reshape", "Transpose"):
        value = moved.inputs[0]
    if cast := producer_of_type(value, "Cast"):
        return cast.inputs[0].dtype == ir.DataType.UINT8
    return raw_input and value is not None and value.is_graph_input() and value.dtype == FLOAT32


def _needs_float32(node, widened):
    """Return whether a node stays float32, given the values that stay float32 before it."""
    floats = [value for value in node.inputs if value is not None and value.dtype in (FLOAT32, FLOAT16)]
    if node.op_type in (*REDUCING, *GROWING, *FLOAT32_ONLY) or computes_squares(node) or not floats:
        return True
    fits = all(_fits(value) for value in floats if constant(value) is not None)
    if any(value in widened for value in floats):
        return node.op_type not in LAYERS or not fits or any(map(is_square, floats))
    return node.op_type in ARITHMETIC and not fits


def _fits(value):
    """Return whether the largest magnitude of a constant is a normal float16 number, or 0."""
    magnitudes = np.abs(constant(value))
    largest = magnitudes[np.isfinite(magnitudes)].max(initial=0)
    return largest == 0 or MIN_NORMAL <= largest <= MAX_FLOAT16


class _Casts:
    """Values of a graph cast to the other float type, each inserted once, before its first reader."""

    def __init__(self, graph):
        self._graph = graph
        self._cast = {}

    def of(self, value, dtype, reader):
        """Return a value in a data type, for a node that reads it."""
        if value.dtype == dtype:
            return value
        if value not in self._cast:
            if constant(value) is None:
                self._cast[value] = _cast(value, dtype, f"{value.name}/{SUFFIXES[dtype]}")
                self._graph.insert_before(reader, self._cast[value].producer())
            else:
                self._cast[value] = self._convert_constant(value, reader)
        return self._cast[value]

    def restore_constant_names(self):
        """Give a constant whose original is no longer read the name of the original."""
        for value, converted in self._cast.items():
            if constant(value) is not None and not value.uses():
                del self._graph.initializers[value.name]
                _rename_constant(self._graph, converted, value.name)

    def _convert_constant(self, value, reader):
        if not _fits(value):
            raise ZooError(
                f"float16 cannot hold {value.name}, which {reader.name} reads: its largest magnitude is "
                f"{np.abs(constant(value)).max():.3g}, not between {MIN_NORMAL:.2g} and {MAX_FLOAT16}; export in float32"
            )
        name = f"{value.name}/{SUFFIXES[FLOAT16]}"
        tensor = ir.Tensor(constant(value).astype("float16"), name=name)
        converted = ir.Value(name=name, shape=value.shape, type=ir.TensorType(FLOAT16), const_value=tensor)
        self._graph.register_initializer(converted)
        return converted


def _cast(value, dtype, name):
    """Return a value cast to another data type. The result of a Cast is cast from its source, not cast twice."""
    above = value.producer()
    source = above.inputs[0] if above is not None and above.op_type == "Cast" else value
    result = ir.Value(name=name, shape=value.shape, type=ir.TensorType(dtype))
    ir.node("Cast", [source], {"to": dtype.value}, outputs=[result], name=name)
    return result


def _cast_outputs(graph, dtype):
    """Cast the float outputs of a graph to a data type; the outputs keep their names."""
    for index, value in enumerate(graph.outputs):
        if value.dtype in (FLOAT32, FLOAT16) and value.dtype != dtype:
            name = value.name
            value.name = f"{name}/{SUFFIXES[value.dtype]}"
            result = _cast(value, dtype, name)
            graph.append(result.producer())
            graph.outputs[index] = result
