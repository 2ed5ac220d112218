"""Comparison of a model with its ONNX file layer by layer, to find the first layer that differs."""

import contextlib
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from exporters.onnx import files, runtimes
from exporters.onnx.graph.names import unique_name
from exporters.signature import flatten
from zoo.classifier import Classifier

BATCH = 8  # images whose activations are in memory at a time
MIN_MAGNITUDE = 1e-6  # a layer whose outputs are all smaller counts as zero, so its rounding errors are ignored


def layer_paths(model: keras.Model) -> dict[int, str]:
    """Return the names by which a file identifies the layers of a model.

    A path is the names of the enclosing layers and of the layer itself, joined by "/". The model's own name is not part of
    it, nor is the name of the network in a `Classifier`.

    Args:
        model: built model.

    Returns:
        id of a layer -> its path, in the order of the model, without input layers. A path that is already taken gets the
        suffix "_2".
    """
    paths, taken = {}, set()

    def walk(layer, prefix):
        for inner in layer._layers:
            if id(inner) in paths or isinstance(inner, keras.layers.InputLayer):
                continue
            if isinstance(layer, Classifier) and inner is layer.net:
                walk(inner, prefix)
                continue
            paths[id(inner)] = path = unique_name(prefix + inner.name, taken)
            walk(inner, f"{path}/")

    walk(model, "")
    return paths


def first_difference(
    model: keras.Model,
    path: str | Path,
    inputs: np.ndarray,
    layout: str | None = "NCHW",
    tolerance: float = 1e-4,
    batch: int = BATCH,
    call: Callable[[np.ndarray], Any] | None = None,
) -> str | None:
    """Return the first layer, in execution order, whose output differs between a model and its file.

    A tensor of the file that is named like the path of a layer holds the output of that layer, channels-first or
    channels-last. Other layers cannot be compared.

    Args:
        model: Keras model or `zoo.classifier.Classifier`.
        path: its ONNX file.
        inputs: (n, ...) array of model inputs, channels-last; structured if there are several.
        layout: layout of the file's input, "NCHW" or "NHWC".
        tolerance: largest accepted difference, relative to the largest magnitude of the layer's output.
        batch: inputs per run. For a file with a static batch it must be that size, and divide n.
        call: function that runs the model on such inputs and returns its outputs. Default: the model itself.

    Returns:
        Text such as "conv3 (largest difference 0.31 of 2.4), alike up to pool2", or None if no layer differs.
    """
    paths = layer_paths(model)
    with tempfile.TemporaryDirectory() as folder:
        names, results = _expose_layer_outputs(path, paths.values(), Path(folder) / "layers.onnx")
        session = runtimes.session(Path(folder) / "layers.onnx")
    for start in range(0, len(inputs), batch):
        images = inputs[start : start + batch]
        try:
            outputs = session.run(names, runtimes.feeds(session, images, layout))
        except Exception:  # onnxruntime's errors share no public base class
            return None  # a file that does not run has no layers to compare
        file_outputs = dict(zip(names, outputs, strict=True))
        layer_outputs, outputs = _run_layers(model, call or model, images, paths)
        # A layer whose output is one of the file has the name of that output.
        own_names = {id(tensor): name for tensor, name in zip(outputs, results, strict=True)}
        last_equal = "the input"
        for layer, tensors in layer_outputs.items():
            differences = [
                _describe_difference(keras.ops.convert_to_numpy(tensor), file_outputs[own_names[id(tensor)]], tolerance)
                for tensor in tensors
                if id(tensor) in own_names
            ]
            others = [tensor for tensor in tensors if id(tensor) not in own_names]
            if others and layer in file_outputs and layer not in results:
                # The name is that of one call of the layer; which one is not known.
                calls = [
                    _describe_difference(keras.ops.convert_to_numpy(tensor), file_outputs[layer], tolerance)
                    for tensor in others
                ]
                differences.append(calls[0] if all(calls) else None)
            for difference in filter(None, differences):
                return f"{layer} ({difference}), alike up to {last_equal}"
            if differences:
                last_equal = layer
    return None


def _expose_layer_outputs(path, layers: Iterable[str], target):
    """Write a file with the layers as additional outputs; return the names of all outputs, and of the original ones."""
    model = files.load(path)
    results = [value.name for value in model.graph.outputs]
    layers = set(layers) - set(results)
    intermediate = [value for node in model.graph for value in node.outputs if value.name in layers]
    model.graph.outputs.extend(intermediate)
    files.save(model, target)
    return [value.name for value in model.graph.outputs], results


def _run_layers(model, call, inputs, paths):
    """Return (dict of a layer's path -> outputs of its calls, in the order in which they end; list of model outputs)."""
    layer_outputs = {}

    def recording(call, path):
        def recorded(*args, **kwargs):
            result = call(*args, **kwargs)
            if hasattr(result, "numpy"):  # a single eager tensor; within TimeDistributed, tensors are symbolic
                layer_outputs.setdefault(path, []).append(result)
            return result

        return recorded

    with contextlib.ExitStack() as undo:
        for layer in model._flatten_layers(include_self=False):
            if id(layer) in paths:
                own = vars(layer).get("call")
                layer.call = recording(layer.call, paths[id(layer)])
                undo.callback(setattr, layer, "call", own) if own else undo.callback(delattr, layer, "call")
        return layer_outputs, flatten(call(inputs) if call is not model else model(inputs, training=False))


def _describe_difference(expected, actual, tolerance):
    """Return how two outputs differ, or None. The channel axis may be elsewhere, and axes of size 1 may be missing."""
    layouts = [actual, np.moveaxis(actual, 1, -1)] if actual.ndim > 2 else [actual]
    comparable = [each.reshape(expected.shape) for each in layouts if _squeezed_shape(each) == _squeezed_shape(expected)]
    if not comparable:
        return f"shape {actual.shape} instead of {expected.shape}"
    expected = expected.astype("float64")
    differences = (np.abs(each - expected).max(initial=0) for each in comparable)
    difference = min(differences, key=lambda each: (np.isnan(each), each))
    largest = np.abs(expected).max(initial=0)
    if difference <= tolerance * max(largest, MIN_MAGNITUDE):
        return None
    return f"largest difference {difference:.2g} of {largest:.2g}"


def _squeezed_shape(array):
    return [size for size in array.shape if size != 1]
