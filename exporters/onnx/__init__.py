"""To ONNX: convert through tf2onnx, prove the file in onnxruntime, only then give it its name."""

import dataclasses
from pathlib import Path

from exporters import parity, samples
from exporters.onnx import convert, runtime
from zoo import registry
from zoo.classifier import Classifier
from zoo.errors import ZooError
from zoo.files import atomic


def to_onnx(model, path, opset=13, ir=8, dtype="uint8", data=None):
    """Export a classifier to an ONNX file that takes raw pictures, and prove the file before it gets its name.

    Args:
        model: `zoo.Classifier`, or what `zoo.load` takes.
        path: the file to write; where the proof fails, what was there before stays.
        opset: ONNX operator set; 13 is old enough for the parsers on the boards.
        ir: version of the ONNX file format; 8 is read by onnxruntime 1.10 and all later ones.
        dtype: type of the raw 0-255 pixels that the file takes, "uint8" or "float32".
        data: a folder of pictures for the proof; by default some real ones that ship with scikit-learn.

    Returns:
        `exporters.parity.Report` of the proof.

    Raises:
        ZooError: if the model cannot be converted.
        CheckFailed: if the file does not compute what the model computes; no file is left.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise ZooError(f"an ONNX file is named .onnx; given was {path}")
    classifier = model if isinstance(model, Classifier) else registry.load(model)
    origin = None if isinstance(model, Classifier) else _origin(model)
    content = convert.convert(classifier, opset, ir, dtype, origin).SerializeToString(deterministic=True)
    with atomic(path) as temporary:
        temporary.write_bytes(content)
        del content  # as large as the model, which the proof loads twice
        report = _prove(classifier, temporary, data)
        report.raise_if_failed()
    return dataclasses.replace(report, file=str(path))


def verify(path, against=None, data=None):
    """Prove once more that an ONNX file of this zoo computes what its model computes.

    Args:
        path: the file.
        against: `zoo.Classifier`, or what `zoo.load` takes; by default the model that the file names: a name of the zoo, or
            a .keras file in the same folder.
        data: as for `to_onnx`.

    Returns:
        `exporters.parity.Report`; `raise_if_failed` turns a failure into an error.

    Raises:
        ZooError: if the file is damaged or not of this zoo, or its model has other weights now.
    """
    path = Path(path)
    about = convert.read_metadata(path)
    model = against or _find_origin(path, about)
    classifier = model if isinstance(model, Classifier) else registry.load(model)
    if classifier.fingerprint() != about["weights_sha256"]:
        raise ZooError(
            f"{path} was exported from {about['model']} with other weights than the model compared has; name the right "
            "model with --against, or export again"
        )
    report = _prove(classifier, path, data)
    told = tuple(
        f"its metadata say {key} {about.get(key)}, the model {own}"
        for key, own in (("class_names", classifier.class_names), ("picture", classifier.picture))
        if about.get(key) != own
    )
    return dataclasses.replace(report, file=str(path), problems=report.problems + told)


def _prove(classifier, path, data):
    pictures = samples.read(data, classifier.picture) if data else samples.shipped(classifier.picture)
    return parity.compare(classifier.predict_on_batch, runtime.scorer(path), pictures)


def _origin(name_or_path):
    """Return what a file says that it came from: a name, or a file's own name without its folders."""
    return Path(name_or_path).name if registry.is_path(str(name_or_path)) else str(name_or_path)


def _find_origin(path, about):
    origin = about["model"]
    if not registry.is_path(origin):
        return origin
    beside = path.parent / Path(origin).name  # a file from elsewhere may name any path
    if not beside.is_file():
        raise ZooError(f"{path} was exported from {origin}, which is not beside it; name it with --against")
    return beside
