"""Half precision: a graph that computes in float16, but for what only float32 has the range for."""

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from exporters.onnx.graph.edit import constant
from zoo.errors import ZooError

LARGEST, NORMAL = 65504, 2.0**-14  # of float16; below the second it has fewer digits
HALF, SINGLE = ir.DataType.FLOAT16, ir.DataType.FLOAT
NAMES = {HALF: "half", SINGLE: "single"}

# What stays float32 for the range of what it computes on the way: a sum of squares or of any number of values, and what
# grows fast. The sum of the squares of two raw pixels is beyond 65504, and so is the exponential of 12.
SUMS = ("LRN", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceSum", "ReduceMean", "GlobalAveragePool")
POWERS = ("Exp", "Pow", "Softmax", "LogSoftmax", "ReduceLogSumExp")
FIXED = ("Resize",)  # has scales, which are float32 by its definition
# What stays float32 behind those, as the factor that brings a sum back into range may be there, and what has a constant that
# float16 cannot hold. A layer does so behind those with such a constant.
ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Neg", "Sqrt", "Max", "Min", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")


def to_half(model, io="float32"):
    """Return a model that computes in float16; each tensor keeps its name and, but for rounding, its values.

    Raw pixels stay uint8, all of which float16 holds; pixels in float32 are cast.

    Args:
        model: `onnx_ir.Model` of float32; it stays as it is.
        io: "float32" or "float16", the type of the scores.

    Returns:
        `onnx_ir.Model`.

    Raises:
        ZooError: if float16 cannot hold a layer's weights: there are some beyond 65504, or all are below 2^-14. Where only
            some are, they are off by less than 2^-24, which is what rounding the largest changes.
    """
    if io not in ("float32", "float16"):
        raise ZooError(f"the scores of a file in half precision are float32 or float16; given was '{io}'")
    model = model.clone()
    common.ShapeInferencePass()(model)
    graph, versions, widened = model.graph, _Versions(model.graph), set()
    for node in list(graph):
        wide = _is_wide(node, widened)
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
                widened.update([value] if wide else [])
    _cast_scores(graph, SINGLE if io == "float32" else HALF)
    versions.name_as_before()
    common.RemoveUnusedNodesPass()(model)
    return model


def _is_wide(node, widened):
    """Tell whether a node stays float32."""
    floats = [value for value in node.inputs if value is not None and value.dtype in (SINGLE, HALF)]
    if node.op_type in (*SUMS, *POWERS, *FIXED) or (not floats and node.op_type != "Cast"):
        return True
    constants = [value for value in floats if constant(value) is not None]
    computed = [value for value in floats if value not in constants]
    behind, fits = computed and all(value in widened for value in computed), all(map(_fits, constants))
    if node.op_type in ARITHMETIC:
        return behind or not fits
    return behind and not fits


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
