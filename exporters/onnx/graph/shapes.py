"""Shape inference: ONNX' own, completed where a graph computes shapes from the sizes of its inputs.

ONNX' inference does not know the output of a Reshape to a shape that is computed from the dynamic batch size, nor the shape
of any value that depends on it. Here every free size of the inputs gets a number, so that the computed shapes can be
evaluated node by node. That is done twice, with different numbers. A size that is the same both times does not depend on the
free sizes.
"""

import math

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from exporters.onnx.graph.constants import evaluate
from exporters.onnx.graph.edit import attribute, dims

# (batch size, first size of another axis, step to the next one) of the two inferences. Nets halve the other axes repeatedly.
FREE_SIZES = ((1009, 1024, 128), (2003, 1920, 320))
MAX_VALUES = 100  # values of a tensor that is evaluated; a computed shape has few
NOT_IN_ONNX = ("Erfc", "Expm1")  # operators whose output has the type of their input
RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")


def infer(model: ir.Model) -> None:
    """Write the shape and data type of each value of a graph, if they can be known without data.

    Args:
        model: model whose values are changed in place. Its nodes are in topological order.
    """
    common.ShapeInferencePass(check_type=False, strict_mode=False)(model)
    if all(_is_complete(value) for node in model.graph for value in node.outputs):
        return
    first, second = (_Inference(model.graph, *sizes).known for sizes in FREE_SIZES)
    for value in first.keys() & second.keys():
        if value.producer() is not None:
            _complete(value, *first[value][:2], second[value][1])


def _is_complete(value):
    """Return whether the data type and all sizes of a value are known, except for the first one."""
    sizes = dims(value)
    return value.dtype is not None and sizes is not None and None not in sizes[1:]


def _complete(value, dtype, first, second):
    """Write the data type and shape of a value where ONNX' inference does not know them.

    Args:
        value: value to change.
        dtype: its `onnx_ir.DataType`.
        first: its shape in the first inference, None if it is unknown.
        second: its shape in the second inference.
    """
    if value.dtype is None:
        value.dtype = dtype
    if first is None or second is None or len(first) != len(second):
        return
    sizes = [size if size == other else None for size, other in zip(first, second, strict=True)]
    if value.shape is None:
        value.shape = ir.Shape(sizes)
    elif len(value.shape) == len(sizes):
        sizes = [old if isinstance(old, int) or new is None else new for old, new in zip(value.shape, sizes, strict=True)]
        value.shape = ir.Shape(sizes)


class _Inference:
    """Shape inference of a graph with numbers for all free sizes.

    Attributes:
        known: dict, value -> (data type, shape, array). The shape is None if it is unknown, and the array is None if the
            value is large or depends on data.
    """

    def __init__(self, graph: ir.Graph, batch: int, size: int, step: int):
        self.graph, self.known = graph, {}
        self.opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in graph.opset_imports.items()]
        numbers = {}
        for value in graph.inputs:
            if value.dtype is not None and value.shape is not None:
                if len(value.shape) and not isinstance(value.shape[0], int):
                    numbers.setdefault(str(value.shape[0]), batch)
                for each in value.shape:
                    if not isinstance(each, int):
                        numbers.setdefault(str(each), size + step * len(numbers))
                shape = [each if isinstance(each, int) else numbers[str(each)] for each in value.shape]
                self.known[value] = value.dtype, tuple(shape), None
        for value in graph.initializers.values():
            if (tensor := value.const_value) is not None:
                array = tensor.numpy() if tensor.size <= MAX_VALUES else None
                self.known[value] = tensor.dtype, tuple(tensor.shape), array
        for node in graph:
            self._infer(node)

    def _infer(self, node):
        """Add the outputs of a node to `known`, if all its inputs are known."""
        inputs = [value for value in node.inputs if value is not None]
        if any(value not in self.known for value in inputs):
            return
        if node.op_type in NOT_IN_ONNX:
            self.known[node.outputs[0]] = (*self.known[inputs[0]][:2], None)
            return
        self.known.update(self._types(node, inputs))
        arrays = self._evaluate(node)
        for value, array in zip(node.outputs, arrays, strict=False):
            array = np.asarray(array)
            self.known[value] = ir.DataType.from_numpy(array.dtype), array.shape, array

    def _types(self, node, inputs):
        """Return the entries of `known` for the outputs of a node, without arrays."""
        types, data = {}, {}
        for value in inputs:
            dtype, shape, array = self.known[value]
            types[value.name] = onnx.helper.make_tensor_type_proto(dtype.value, shape)
            if array is not None:
                data[value.name] = onnx.numpy_helper.from_array(array)
        try:
            schema = onnx.defs.get_schema(node.op_type, self.graph.opset_imports[node.domain], node.domain)
            found = onnx.shape_inference.infer_node_outputs(schema, ir.to_proto(node), types, data, None, self.opsets)
        except Exception:  # no operator of ONNX, or one that the inference does not know; its readers are unknown, too
            return {}
        return {value: _known(found[value.name].tensor_type) for value in node.outputs if value.name in found}

    def _evaluate(self, node):
        """Return the outputs of a node as arrays if they are small and depend on shapes and constants only, else ()."""
        if node.op_type == "Shape":
            shape = self.known[node.inputs[0]][1]
            return () if shape is None else (np.array(shape, "int64")[attribute(node, "start", 0) : attribute(node, "end")],)
        arrays = [None if value is None else self.known[value][2] for value in node.inputs]
        unknown = any(array is None and value is not None for array, value in zip(arrays, node.inputs, strict=True))
        shapes = [self.known[value][1] if value in self.known else None for value in node.outputs]
        if unknown or not arrays or None in shapes or any(None in shape for shape in shapes) or node.op_type in RANDOM:
            return ()
        if sum(math.prod(shape) for shape in shapes) > MAX_VALUES:
            return ()
        try:
            return evaluate(node, arrays)
        except Exception:  # ONNX' reference evaluator lacks some operators
            return ()


def _known(tensor_type):
    """Return an entry of `_Inference.known` from an `onnx.TypeProto.Tensor`."""
    sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor_type.shape.dim]
    shape = tuple(sizes) if tensor_type.HasField("shape") and None not in sizes else None
    return ir.DataType(tensor_type.elem_type), shape, None
