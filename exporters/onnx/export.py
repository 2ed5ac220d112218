"""Writing an ONNX file behind the gate, and proving one again."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import onnx_ir as ir

from exporters import parity, source, targets
from exporters.bundle import folder
from exporters.onnx import activations, convert, files, metadata, runtimes
from exporters.onnx.untrusted import sandbox
from exporters.precision import Precision
from zoo import console, registry
from zoo.errors import ZooError, printable

MOST_AT_A_TIME = 1024  # pictures of a static batch of a stranger's file


def to_onnx(
    model,
    path,
    opset=targets.OPSET,
    ir=targets.NEWEST_IR,
    pixels="uint8",
    data=None,
    layout="nchw",
    raw_input=True,
    static_batch=None,
    target=None,
    runtime="tensorrt",
):
    """Export a model to an ONNX file that takes raw pictures, and prove the file before it gets its name.

    Args:
        model: `zoo.Classifier` or any Keras model, what `zoo.load` takes, a .keras file, or "module:attribute".
        path: the .onnx file to write, and beside it a .json with what it says about itself; where the proof fails, what was
            there before stays.
        opset: ONNX operator set; 13 is old enough for the parsers on the boards.
        ir: version of the ONNX file format; 8 is read by onnxruntime 1.10 and all later ones.
        pixels: type of the raw 0-255 pixels that the file takes, "uint8" or "float32".
        data: a folder of pictures for the proof; by default some real ones that ship with scikit-learn.
        layout: of the pictures that the file takes, "nchw" or "nhwc".
        raw_input: False for a file that takes what the preprocessing makes of a picture.
        static_batch: the one number of pictures that the file takes at a time; by default any.
        target: name of a board of `exporters.targets` that is to read opset and ir.
        runtime: what the file is to be fast in, "tensorrt" or "onnxruntime": to the one, normalization across maps is one
            operator, to the other a convolution. Either file runs in both.

    Returns:
        `exporters.parity.Report` of the proof.

    Raises:
        ZooError: if the model cannot be converted, or the target does not read what is asked for.
        CheckFailed: if the file does not compute what the model computes; no file is left.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise ZooError(f"an ONNX file is named .onnx; given was {path}")
    targets.check(target, opset, ir)
    metadata.sidecar(path)
    found = source.find(model, raw_input, pixels)
    return write(convert.convert(found, opset, ir, layout, static_batch, runtime), found, path, data)


def write(graph, found, path, data=None, precision=Precision.FP32):
    """Write a graph to a file that gets its name once it is proved.

    Args:
        graph: `onnx_ir.Model` with metadata.
        found: the `exporters.source.Source` that it was made of.
        path: the .onnx file.
        data: as for `to_onnx`.
        precision: of the graph, `exporters.precision.Precision`.

    Returns, Raises:
        As `to_onnx`.
    """
    path = Path(path)
    metadata.sidecar(path)
    with files.saving(graph, path) as temporary:
        report = prove(graph, found, temporary, data, precision)
        report.raise_if_failed()
    metadata.write_sidecar(path)
    return dataclasses.replace(report, file=str(path))


def prove(graph, found, path, data=None, precision=Precision.FP32, trusted=True):
    """Compare a file with its model in every runtime; see `write`.

    Args:
        graph: `onnx_ir.Model`, what the file holds.
        path: of the file.
        trusted: False for a file that may be of a stranger; see `exporters.onnx.runtimes.candidates`.

    Returns:
        `exporters.parity.Report`, with the first layer at which the two part if it failed.
    """
    layout = metadata.find(graph).get("layout")
    (given,), (result,) = graph.graph.inputs, graph.graph.outputs
    static = given.shape[0] if isinstance(given.shape[0], int) else None
    batches = (static,) if static else parity.BATCHES
    inputs, real = found.inputs(data)
    candidates = runtimes.candidates(path, layout, trusted, precision, static)
    with console.progress() as bars, console.counting(bars, "comparing with the model", 1 + len(candidates)) as advance:
        dtype = str(result.dtype.numpy())
        report = parity.compare(found.predict, candidates, inputs, precision, batches, dtype, real, advance)
    if not report.passed:
        tolerance, batch = parity.TOLERANCES[precision].relative, static or activations.BATCH
        shown = inputs[np.linspace(0, len(inputs) - 1, batch).astype(int)]
        parted = activations.first_difference(found.model, path, shown, layout, tolerance, batch)
        report = dataclasses.replace(report, parted=parted)
    return dataclasses.replace(report, file=str(path))


def verify(path, against=None, data=None):
    """Prove once more that an ONNX file of this zoo computes what its model computes.

    The file may be of a stranger: it is looked at and tried out in a process of its own before it is used, and refused where
    what it takes depends on the pictures; see `exporters.onnx.untrusted.sandbox`.

    Args:
        path: the file, or the folder of a bundle, of which each file must be what its manifest says.
        against: as `model` of `to_onnx`; by default the model that the file names: a name of the zoo, or a .keras file in
            the same folder.
        data: as for `to_onnx`.

    Returns:
        `exporters.parity.Report`; `raise_if_failed` turns a failure into an error.

    Raises:
        ZooError: if the file is damaged or not of this zoo, or its model has other weights now.
    """
    path = folder.model(path) if Path(path).is_dir() else Path(path)
    graph, about, found = opened(path, against)
    report = prove(graph, found, path, data, Precision(about.get("precision", Precision.FP32)), trusted=False)
    told = tuple(
        f"its metadata say {key} {about.get(key)}, the model {own}"
        for key, own in _promised(found.classifier).items()
        if about.get(key) != own
    )
    return dataclasses.replace(report, problems=report.problems + told)


def opened(path, against=None):
    """Return an ONNX file of this zoo that may be of a stranger, and what it was made of.

    Args:
        path, against: as for `verify`.

    Returns:
        (`onnx_ir.Model`, dict of its metadata, `exporters.source.Source`).

    Raises:
        ZooError: as `verify`.
    """
    graph, about = metadata.opened(path, sandbox.load)
    given = _check_ends(path, graph)
    claimed, precision = about.get("precision", Precision.FP32), metadata.precision_of(graph)
    if claimed not in (Precision.FP32, precision):  # a wider tolerance is for those alone that need it
        raise ZooError(f"{path} says that it is {claimed}, but computes in {precision}; export it again")
    origin = against or _find_origin(path, about["model"])
    found = source.find(origin, about.get("raw_input", True), str(given.dtype.numpy()))
    _check_shape(path, given, found.shape, about.get("layout"))
    if found.fingerprint() != about["weights_sha256"]:
        text = f"{path} was exported from {about['model']} with other weights than the model compared has"
        raise ZooError(printable(f"{text}; name the right model with --against, or export again"))
    return graph, about, found


def _check_ends(path, graph):
    """Return the input of a graph, once it is known that it has one, and one output, of numbers."""
    (*given,), (*results,) = graph.graph.inputs, graph.graph.outputs
    if len(given) != 1 or len(results) != 1 or not all(map(_holds_numbers, given + results)):
        raise ZooError(f"{path} has not one input and one output of numbers, as every file of the zoo; export it again")
    batch = given[0].shape[0]
    if isinstance(batch, int) and not 1 <= batch <= MOST_AT_A_TIME:
        raise ZooError(f"{path} takes {batch:,} inputs at a time; 1 to {MOST_AT_A_TIME:,} can be compared")
    return given[0]


def _check_shape(path, given, shape, layout):
    """Raise `ZooError` if a file takes inputs of another shape than its model, which is (height, width, channels)."""
    expected = (shape[2], *shape[:2]) if layout == "NCHW" and len(shape) == 3 else tuple(shape)
    sizes = tuple(given.shape)[1:]
    alike = all(not isinstance(size, int) or size == own for size, own in zip(sizes, expected, strict=False))
    if len(sizes) != len(expected) or not alike:
        raise ZooError(printable(f"{path} takes inputs of {given.shape}, the model of {expected}; export it again"))


def _holds_numbers(end):
    known = isinstance(end.type, ir.TensorType) and end.dtype not in (ir.DataType.STRING, ir.DataType.UNDEFINED)
    return known and end.shape is not None and len(end.shape) > 0


def _promised(classifier):
    """Return what a file says of a classifier that clients rely on."""
    return {"class_names": classifier.class_names, "picture": classifier.image_spec} if classifier else {}


def _find_origin(path, origin):
    """Return the model that a file names, which may name anything: one of the zoo, or a .keras file beside."""
    beside = path.parent / Path(origin).name
    if origin.endswith(".keras") and os.path.isfile(beside):  # False also of a name that no system takes
        return beside
    if origin in registry.list_models() + registry.list_models(pretrained=True):
        return origin
    what = "which is not beside it" if registry.is_path(origin) else "which is no name of the zoo"
    raise ZooError(printable(f"{path} was exported from {origin}, {what}; name it with --against"))
