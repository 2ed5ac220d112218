"""Conversion of a Keras model with tf2onnx, with every weight passed as a graph input.

Each pass of tf2onnx copies all constants. As inputs, the weights are not copied, and no pass can merge or drop them. They
become constants again in the converted graph.
"""

import contextlib
import itertools
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import onnx
import onnx_ir as ir
import tensorflow as tf
import tf2onnx

from exporters.onnx import converters, corrections, lowering
from exporters.onnx.activations import layer_paths
from exporters.onnx.graph.edit import LAYER, WEIGHT
from exporters.onnx.graph.names import LAYER_OF_NODE
from exporters.signature import Signature
from exporters.targets import NEWEST_OPSET
from zoo.errors import ZooError

REMOVED_BY_SIMPLIFICATION = {"Erfc", "Expm1"}  # not in ONNX; `exporters.onnx.graph` replaces them
INPUT, WEIGHT_INPUT, SCOPE = "zoo_input_", "zoo_weight_", "zoo_layer_"


def trace(
    model: keras.Model,
    signature: Signature,
    channels_first: bool,
    opset: int,
) -> ir.Model:
    """Convert a Keras model with tf2onnx, and mark each node and value with its Keras layer.

    Args:
        model: model to convert.
        signature: the file's inputs and outputs, and how the model takes them.
        channels_first: the only input of the file has the channels on axis 1, that of the model on the last axis.
        opset: ONNX operator set.

    Returns:
        The converted model, with the inputs and outputs of the signature, and with `LAYER`, `LAYER_OF_NODE` and `WEIGHT` in
        the `meta` of its values and nodes.

    Raises:
        ZooError: if tf2onnx or ONNX have no operator for a part of the model; it names the layer.
    """
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # failures raise below
    weights = list(model.weights)
    # Any text may be the name of an input; TensorFlow takes few characters.
    names = [each.name if signature.is_single else f"{INPUT}{index}" for index, each in enumerate(signature.inputs)]
    specs = [tf.TensorSpec(each.shape, each.dtype, name) for each, name in zip(signature.inputs, names, strict=True)]
    specs += [tf.TensorSpec(each.shape, each.dtype, name=f"{WEIGHT_INPUT}{index}") for index, each in enumerate(weights)]
    paths = list(layer_paths(model).values())
    results, failed = {}, []
    lowering.check(model)

    with lowering.lowered(model), _layer_scopes(model, results, failed):
        try:
            function = tf.function(_forward(model, signature, channels_first), input_signature=specs)
            traced = function.get_concrete_function().graph
            captured = {inner.name: outer for outer, inner in traced.captures}
            handlers = converters.handlers(errors := [])
            with corrections.corrected(traced):
                proto, _ = tf2onnx.convert.from_function(function, specs, opset=opset, custom_op_handlers=handlers)
            if errors:
                raise errors[0]
        except converters.NotConvertible as error:
            subject = _subject(model, error.node, paths, failed)
            raise ZooError(f"{subject} cannot be exported: {error.reason}") from error
        except Exception as error:  # tf2onnx and TensorFlow raise any type of error
            subject = _subject(model, str(error), paths, failed)
            raise ZooError(f"{subject} cannot be traced at opset {opset}: {_reason(error)}") from error
    converted = ir.from_proto(proto)
    _mark_layers(converted.graph, paths, results)
    _weights_to_constants(converted.graph, weights, _weight_names(model), captured)
    _check_operators(converted.graph, model.name)
    _name_inputs_and_outputs(converted.graph, names, signature)
    return converted


def _forward(model, signature, channels_first):
    """Return a function of the inputs of a file and the values of all weights that returns the outputs of a model."""
    weights, count = list(model.weights), len(signature.inputs)

    def forward(*values):
        inputs, values = list(values[:count]), values[count:]
        if channels_first:
            inputs[0] = tf.transpose(inputs[0], (0, *range(2, len(inputs[0].shape)), 1))
        with keras.StatelessScope(state_mapping=list(zip(weights, values, strict=True))):
            outputs = signature.call(model, inputs)
        if signature.is_single:
            return _with_shape(outputs[0], model)
        # An output may be an input, or the same tensor as another output.
        outputs = [tf.identity(each) for each in outputs]
        for each, known in zip(outputs, signature.outputs, strict=True):
            each.set_shape(known.shape)
        return outputs

    return forward


def _name_inputs_and_outputs(graph, names, signature):
    """Give a graph the inputs and outputs of a signature, in the same order; tf2onnx drops inputs that no node reads."""
    read = {value.name.partition(":")[0]: value for value in graph.inputs}
    inputs = [
        read[name] if name in read else ir.Value(type=_type(each), shape=ir.Shape(each.shape))
        for name, each in zip(names, signature.inputs, strict=True)
    ]
    graph.inputs.clear()
    graph.inputs.extend(inputs)
    for values, tensors in ((graph.inputs, signature.inputs), (graph.outputs, signature.outputs)):
        for value, tensor in zip(values, tensors, strict=True):
            value.name = tensor.name


def _type(tensor):
    return ir.TensorType(ir.DataType.from_numpy(np.dtype(tensor.dtype)))


def _reason(error):
    """Return the line of an error message with the reason, without those that Keras and TensorFlow wrap around it."""
    lines = [re.sub(r"\x1b\[[0-9;]*m|\\x1b\[[0-9;]*m", "", line).strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line] or [type(error).__name__]
    for line, following in itertools.pairwise(lines):
        if "Exception encountered when calling" in line:
            return following
    return next((line for line in reversed(lines) if re.match(r"\w*(Error|Exception): ", line)), lines[0])


def _subject(model, text, paths, failed):
    """Return the layer that an error is about, from the scopes in its text or the layers whose call failed, or the model."""
    indices = [int(index) for index in re.findall(rf"{SCOPE}(\d+)", text)] or failed[:1]
    return f"layer {paths[indices[-1]]} of {model.name}" if indices else model.name


def _with_shape(result, layer):
    """Return the output of a model or layer, with the shape that Keras knows if TensorFlow knows none."""
    if not isinstance(result, tf.Tensor) or (result.shape.rank is not None and None not in result.shape[1:]):
        return result
    try:
        declared = layer.output.shape
    except (AttributeError, ValueError):  # a subclassed model, or a layer with several calls
        return result
    result.set_shape((None, *declared[1:]))
    return result


@contextlib.contextmanager
def _layer_scopes(model, results, failed):
    """Trace each layer in a name scope with its index among the layer paths, and record the names of its outputs.

    Args:
        model: Keras model.
        results: dict to fill, name of a tensor -> index of the layer that returned it.
        failed: list to fill, indices of the layers whose call failed, the innermost first.
    """
    indices = {layer: index for index, layer in enumerate(layer_paths(model))}
    with contextlib.ExitStack() as undo:
        for layer in model._flatten_layers(include_self=False):
            if id(layer) not in indices:
                continue
            own = vars(layer).get("call")
            layer.call = _recording(layer, indices[id(layer)], results, failed)
            undo.callback(setattr, layer, "call", own) if own else undo.callback(delattr, layer, "call")
        yield


def _recording(layer, index, results, failed):
    call = layer.call

    def recorded(*args, **kwargs):
        try:
            with tf.name_scope(f"{SCOPE}{index}"):
                result = _with_shape(call(*args, **kwargs), layer)
        except Exception:
            failed.append(index)
            raise
        if isinstance(result, tf.Tensor):
            results.setdefault(result.name, index)
        return result

    return recorded


def _mark_layers(graph: ir.Graph, paths: Sequence[str], results: Mapping[str, int]) -> None:
    """Write the Keras layer of each node and of each layer output into its `meta`."""
    for node in graph:
        scopes = re.findall(rf"{SCOPE}(\d+)", node.name or "") or re.findall(rf"{SCOPE}(\d+)", node.outputs[0].name or "")
        if scopes:
            node.meta[LAYER_OF_NODE] = paths[int(scopes[-1])]
        for value in node.outputs:
            if value.name in results:
                value.meta[LAYER] = paths[results[value.name]]
    for node in reversed(graph):
        # A node that tf2onnx inserts between two operators belongs to the layer that reads it.
        readers = [use.node.meta[LAYER_OF_NODE] for value in node.outputs for use in value.uses() if use.node.meta]
        if LAYER_OF_NODE not in node.meta and readers:
            node.meta[LAYER_OF_NODE] = readers[0]


def _weights_to_constants(
    graph: ir.Graph, weights: Sequence[keras.Variable], names: Mapping[int, str], captured: Mapping[str, Any]
) -> None:
    """Turn graph inputs into constants if they are weights, or tensors that a layer computed when it was created."""
    for value in list(graph.inputs):
        weight = None
        if value.name.startswith(WEIGHT_INPUT):
            weight = weights[int(value.name.removeprefix(WEIGHT_INPUT).partition(":")[0])]
            value.meta[WEIGHT] = names[id(weight)]
        elif value.name in captured:
            weight = captured[value.name]
        if weight is not None:
            graph.inputs.remove(value)
            value.const_value = ir.Tensor(np.asarray(weight), name=value.name)
            graph.register_initializer(value)


def _check_operators(graph, name):
    """Raise `ZooError` for a TensorFlow operator that was not converted, which tf2onnx only logs."""
    opset = graph.opset_imports[""]
    for node in ir.traversal.RecursiveGraphIterator(graph):
        if node.domain == "" and node.op_type not in REMOVED_BY_SIMPLIFICATION and not _exists(node.op_type, opset):
            layer = node.meta.get(LAYER_OF_NODE)
            subject = f"layer {layer}" if layer else name
            reason = f"for which ONNX has no operator at opset {opset}; {_remedy(node.op_type, opset)}"
            raise ZooError(f"{subject} uses {node.op_type}, {reason}")


def _exists(operator, opset):
    try:
        return not onnx.defs.get_schema(operator, opset).deprecated
    except onnx.defs.SchemaError:
        return False


def _remedy(operator, opset):
    """Return what to do about an operator that ONNX does not have at an opset."""
    later = [each for each in range(opset + 1, NEWEST_OPSET + 1) if _exists(operator, each)]
    if later:
        return f"give --opset {later[0]}, if the runtime that reads the file supports it"
    return "write the layer with operators that it has (onnx.ai/onnx/operators), such as Conv, MatMul, Erf, Where"


def _weight_names(model):
    """Return id of a weight -> its name, LAYER/WEIGHT."""
    paths, names = layer_paths(model), {}
    for layer in (model, *model._flatten_layers(include_self=False)):
        path = paths.get(id(layer))
        for weight in layer.weights:
            # Inner layers come after the layer that contains them, so the innermost name stays.
            names[id(weight)] = f"{path}/{weight.name}" if path else weight.name
    return names
