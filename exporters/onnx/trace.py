"""From a Keras model to what tf2onnx makes of it, every weight an input.

Each pass of tf2onnx copies the constants; shown as inputs, weights cost it nothing, and no pass can merge or drop them. They
become constants again in the graph that it gives back.
"""

import contextlib
import logging
import re

import keras
import numpy as np
import onnx
import onnx_ir as ir
import tensorflow as tf
import tf2onnx

from exporters.onnx import lowering
from exporters.onnx.activations import layer_paths
from exporters.onnx.graph.edit import LAYER, WEIGHT
from exporters.onnx.graph.names import LAYER_OF_NODE
from zoo.errors import ZooError

KNOWN_BY_THE_CLEAN_UP = {"Erfc"}
WEIGHT_INPUT, SCOPE = "zoo_weight_", "zoo_layer_"


def trace(model, signature, channels_first, opset, runtime="tensorrt"):
    """Return what tf2onnx makes of a Keras model, as a graph that knows the layer of each node and value.

    Args:
        model: Keras model with one input and one output.
        signature: (shape, dtype, name) of its input as the file takes it, None for a size that is not fixed.
        channels_first: the last axis of the model's input is the second in the file.
        opset: ONNX operator set.
        runtime: what the graph is to be fast in, "tensorrt" or "onnxruntime".

    Returns:
        `onnx_ir.Model`.

    Raises:
        ZooError: if tf2onnx knows no operator for a part of it; it names the layer.
    """
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # what fails is raised below
    weights = list(model.weights)
    specs = [tf.TensorSpec(signature[0], signature[1], name=signature[2])]
    specs += [tf.TensorSpec(each.shape, each.dtype, name=f"{WEIGHT_INPUT}{place}") for place, each in enumerate(weights)]
    paths = list(layer_paths(model).values())
    results = {}

    def computed(given, *values):
        if channels_first:
            given = tf.transpose(given, (0, *range(2, len(given.shape)), 1))
        with keras.StatelessScope(state_mapping=list(zip(weights, values, strict=True))):
            return model(given, training=False)

    with lowering.lowered(model, runtime), _scopes(model, results):
        try:
            function = tf.function(computed, input_signature=specs)
            captured = {inner.name: outer for outer, inner in function.get_concrete_function().graph.captures}
            proto, _ = tf2onnx.convert.from_function(function, specs, opset=opset)
        except Exception as error:  # tf2onnx and TensorFlow raise whatever their passes do
            raise ZooError(f"{model.name} cannot be traced at opset {opset}: {_in_a_line(error)}") from error
    graph = ir.from_proto(proto)
    _mark(graph.graph, paths, results)
    _weights_as_constants(graph.graph, weights, _weight_names(model), captured)
    _check_operators(graph.graph, model.name)
    return graph


def _in_a_line(error):
    """Return what an error says: of the many lines that Keras and TensorFlow wrap around it, the one with the reason."""
    lines = [re.sub(r"\x1b\[[0-9;]*m|\\x1b\[[0-9;]*m", "", line).strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line] or [type(error).__name__]
    return next((line for line in reversed(lines) if re.match(r"\w*(Error|Exception): ", line)), lines[0])


@contextlib.contextmanager
def _scopes(model, results):
    """Within it, each layer computes in a scope that names it by its place among the paths, and its result is noted."""
    places = {layer: place for place, layer in enumerate(layer_paths(model))}
    with contextlib.ExitStack() as undo:
        for layer in model._flatten_layers(include_self=False):
            if id(layer) not in places:
                continue
            own = vars(layer).get("call")
            layer.call = _noting(layer.call, places[id(layer)], results)
            undo.callback(setattr, layer, "call", own) if own else undo.callback(delattr, layer, "call")
        yield


def _noting(call, place, results):
    def noted(*args, **kwargs):
        with tf.name_scope(f"{SCOPE}{place}"):
            result = call(*args, **kwargs)
        if isinstance(result, tf.Tensor):
            results.setdefault(result.name, place)
        return result

    return noted


def _mark(graph, paths, results):
    """Write into each node and value which Keras layer it is of, and whether it is the layer's output."""
    for node in graph:
        found = re.findall(rf"{SCOPE}(\d+)", node.name or "") or re.findall(rf"{SCOPE}(\d+)", node.outputs[0].name or "")
        if found:
            node.meta[LAYER_OF_NODE] = paths[int(found[-1])]
        for value in node.outputs:
            if value.name in results:
                value.meta[LAYER] = paths[results[value.name]]
    for node in reversed(graph):
        # What tf2onnx puts between two operators is of the layer that needs it.
        readers = [use.node.meta[LAYER_OF_NODE] for value in node.outputs for use in value.uses() if use.node.meta]
        if LAYER_OF_NODE not in node.meta and readers:
            node.meta[LAYER_OF_NODE] = readers[0]


def _weights_as_constants(graph, weights, names, captured):
    """Turn inputs that are weights, or tensors that a layer computed when it was made, into constants."""
    for given in list(graph.inputs):
        weight = None
        if given.name.startswith(WEIGHT_INPUT):
            weight = weights[int(given.name.removeprefix(WEIGHT_INPUT).partition(":")[0])]
            given.meta[WEIGHT] = names[id(weight)]
        elif given.name in captured:
            weight = captured[given.name]
        if weight is not None:
            graph.inputs.remove(given)
            given.const_value = ir.Tensor(np.asarray(weight), name=given.name)
            graph.register_initializer(given)


def _check_operators(graph, name):
    """Raise `ZooError` for an operator of TensorFlow that was left as it is: tf2onnx only logs it."""
    opset = graph.opset_imports[""]
    for node in ir.traversal.RecursiveGraphIterator(graph):
        if node.domain == "" and node.op_type not in KNOWN_BY_THE_CLEAN_UP and not _is_known(node.op_type, opset):
            layer = node.meta.get(LAYER_OF_NODE)
            where = f"layer {layer}" if layer else name
            reason = f"for which ONNX has no operator at opset {opset}; {_instead(node.op_type, opset)}"
            raise ZooError(f"{where} uses {node.op_type}, {reason}")


def _is_known(operator, opset):
    try:
        return not onnx.defs.get_schema(operator, opset).deprecated
    except onnx.defs.SchemaError:
        return False


def _instead(operator, opset):
    """Return what a person may do about an operator that ONNX has not."""
    if (
        onnx.defs.has(operator)
        and not (newest := onnx.defs.get_schema(operator)).deprecated
        and newest.since_version > opset
    ):
        return f"ask for --opset {newest.since_version}, if what reads the file knows that"
    return "write the layer with operators that it has (onnx.ai/onnx/operators), such as Conv, MatMul, Erf, Where"


def _weight_names(model):
    """Return the names of a model's weights, LAYER/WEIGHT, by the id of the weight."""
    paths, names = layer_paths(model), {}
    for layer in (model, *model._flatten_layers(include_self=False)):
        path = paths.get(id(layer))
        for weight in layer.weights:
            # An inner layer comes after the one that holds it.
            names[id(weight)] = f"{path}/{weight.name}" if path else weight.name
    return names
