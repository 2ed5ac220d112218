"""Writing an ONNX file behind the gate, and proving one again."""

import dataclasses
from pathlib import Path

from exporters import parity, progress, source, targets
from exporters.onnx import activations, convert, files, metadata, probe, runtimes
from zoo import registry
from zoo.errors import ZooError

SHOWN = 8  # inputs on which the layers are compared, one by one, where a file and its model part


def to_onnx(
    model,
    path,
    opset=13,
    ir=8,
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
        runtime: what the file is to be fast in, "tensorrt" or "onnxruntime": to the one, normalization across maps is one
            operator, to the other a convolution. Either file runs in both.
        target: name of a board of `exporters.targets` that is to read opset and ir.

    Returns:
        `exporters.parity.Report` of the proof.

    Raises:
        ZooError: if the model cannot be converted, or the target does not read what is asked for.
        CheckFailed: if the file does not compute what the model computes; no file is left.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise ZooError(f"an ONNX file is named .onnx; given was {path}")
    if target is not None:
        targets.check(target, opset, ir)
    metadata.sidecar(path)
    found = source.find(model, raw_input, pixels)
    return write(convert.convert(found, opset, ir, layout, static_batch, runtime), found, path, data)


def write(graph, found, path, data=None, precision="fp32"):
    """Write a graph to a file that gets its name once it is proved.

    Args:
        graph: `onnx_ir.Model` with metadata.
        found: the `exporters.source.Source` that it was made of.
        path: the .onnx file.
        data: as for `to_onnx`.
        precision: of the graph, "fp32", "fp16" or "int8".

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


def prove(graph, found, path, data=None, precision="fp32", trusted=True):
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
    batches = (given.shape[0],) if isinstance(given.shape[0], int) else parity.BATCHES
    inputs, real = found.inputs(data)
    candidates = runtimes.candidates(path, layout, trusted)
    with progress.bars() as bars, progress.counting(bars, "comparing with the model", 1 + len(candidates)) as advance:
        dtype = str(result.dtype.numpy())
        report = parity.compare(found.predict, candidates, inputs, precision, batches, dtype, real, advance)
    if not report.passed and batches == parity.BATCHES:
        tolerance = parity.TOLERANCES[precision].relative
        parted = activations.first_parting(found.model, path, inputs[:: max(1, len(inputs) // SHOWN)], layout, tolerance)
        report = dataclasses.replace(report, parted=parted)
    return dataclasses.replace(report, file=str(path))


def verify(path, against=None, data=None):
    """Prove once more that an ONNX file of this zoo computes what its model computes.

    The file may be of a stranger: it is looked at and tried out in a process of its own before it is used.

    Args:
        path: the file.
        against: as `model` of `to_onnx`; by default the model that the file names: a name of the zoo, or a .keras file in
            the same folder.
        data: as for `to_onnx`.

    Returns:
        `exporters.parity.Report`; `raise_if_failed` turns a failure into an error.

    Raises:
        ZooError: if the file is damaged or not of this zoo, or its model has other weights now.
    """
    path = Path(path)
    graph, about, found = opened(path, against)
    report = prove(graph, found, path, data, about.get("precision", "fp32"), trusted=False)
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
    graph, about = metadata.opened(path, probe.check)
    found = source.find(against or _find_origin(path, about), about.get("raw_input", True), about.get("pixels", "uint8"))
    if found.fingerprint() != about["weights_sha256"]:
        raise ZooError(
            f"{path} was exported from {about['model']} with other weights than the model compared has; name the right "
            "model with --against, or export again"
        )
    return graph, about, found


def _promised(classifier):
    """Return what a file says of a classifier that clients rely on."""
    return {"class_names": classifier.class_names, "picture": classifier.picture} if classifier else {}


def _find_origin(path, about):
    origin = about["model"]
    if not registry.is_path(origin):
        return origin
    beside = path.parent / Path(origin).name  # a file from elsewhere may name any path
    if not beside.is_file():
        raise ZooError(f"{path} was exported from {origin}, which is not beside it; name it with --against")
    return beside
