"""Where a model and its file part: the layers' outputs, side by side."""

import contextlib
import tempfile
from pathlib import Path

import keras
import numpy as np

from exporters.onnx import files, runtimes
from exporters.onnx.graph.names import unique_name
from zoo.classifier import Classifier

BATCH = 8  # pictures whose activations are held at a time
SMALLEST = 1e-6  # what is all below it counts as zeros: their rounding is no parting


def layer_paths(model):
    """Return the names by which a file knows the layers of a model.

    A path is the names of the layers around a layer and its own, joined by "/". The model itself has none, and no part in
    the others; nor has the net of a `Classifier`.

    Args:
        model: Keras model, built.

    Returns:
        dict of the id of a layer -> its path, in the order of the model; inputs are left out. A path that is taken already
        gets "_2" behind it.
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


def first_parting(model, path, inputs, layout="NCHW", tolerance=1e-4, batch=BATCH):
    """Return the first layer, in the order in which Keras is done with them, whose output differs in the file.

    A tensor of the file that is named as a layer's path holds that layer's output, channels first or last; other layers
    cannot be compared.

    Args:
        model: Keras model, or `zoo.Classifier`.
        path: of its ONNX file.
        inputs: (n, ...) array of what the model takes, channels last.
        layout: of the file's input, "NCHW" or "NHWC".
        tolerance: of a layer's largest value.
        batch: inputs at a time; of a file with a static batch that one, and as many inputs as fill some.

    Returns:
        Such as "conv3 (largest difference 0.31 of 2.4), alike up to pool2", or None where no layer differs.
    """
    paths = layer_paths(model)
    with tempfile.TemporaryDirectory() as folder:
        names = _with_outputs(path, paths.values(), Path(folder) / "layers.onnx")
        session = runtimes.session(Path(folder) / "layers.onnx")
    for start in range(0, len(inputs), batch):
        some = inputs[start : start + batch]
        try:
            outputs = session.run(names, runtimes.fed(session, some, layout))
        except Exception:  # onnxruntime's errors share no public base
            return None  # what does not run parts nowhere
        given = dict(zip(names, outputs, strict=True))
        called, result = _run(model, some, paths)
        alike = "the input"
        for layer, tensor in called.items():
            # The last layer's output is the file's own, which has another name.
            array = given.get(names[0] if tensor is result else layer)
            if array is None:
                continue
            difference = _difference(keras.ops.convert_to_numpy(tensor), array, tolerance)
            if difference:
                return f"{layer} ({difference}), alike up to {alike}"
            alike = layer
    return None


def _with_outputs(path, layers, target):
    """Write a file that gives the outputs of layers too; return the names of its outputs, the file's own first."""
    model = files.load(path)
    (result,) = model.graph.outputs
    inner = [value for node in model.graph for value in node.outputs if value is not result]
    wanted = set(layers)
    model.graph.outputs.extend(value for value in inner if value.name in wanted)
    files.save(model, target)
    return [value.name for value in model.graph.outputs]


def _run(model, inputs, paths):
    """Return what each layer gives at its first call, a dict in the order in which calls end, and what the model gives."""
    called = {}

    def noting(call, path):
        def noted(*args, **kwargs):
            result = call(*args, **kwargs)
            if hasattr(result, "numpy"):  # a single tensor, and not one that is traced, as within TimeDistributed
                called.setdefault(path, result)
            return result

        return noted

    with contextlib.ExitStack() as undo:
        for layer in model._flatten_layers(include_self=False):
            if id(layer) in paths:
                own = vars(layer).get("call")
                layer.call = noting(layer.call, paths[id(layer)])
                undo.callback(setattr, layer, "call", own) if own else undo.callback(delattr, layer, "call")
        return called, model(inputs, training=False)


def _difference(expected, given, tolerance):
    """Return in words how an output differs, or None. The channels may lie elsewhere, and axes of size 1 be left out."""
    turned = [given, np.moveaxis(given, 1, -1)] if given.ndim > 2 else [given]
    alike = [each.reshape(expected.shape) for each in turned if _without_ones(each) == _without_ones(expected)]
    if not alike:
        return f"shape {given.shape} instead of {expected.shape}"
    expected = expected.astype("float64")
    difference = min((np.abs(each - expected).max(initial=0) for each in alike), key=lambda each: (np.isnan(each), each))
    largest = np.abs(expected).max(initial=0)
    if difference <= tolerance * max(largest, SMALLEST):
        return None
    return f"largest difference {difference:.2g} of {largest:.2g}"


def _without_ones(array):
    return [size for size in array.shape if size != 1]
