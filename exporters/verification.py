"""Verify the scores of an exported file or a bundle against those of its model."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from exporters import parity
from exporters.bundle import contents, folder
from exporters.onnx import export, metadata, origin, saturation, sidecar
from exporters.precision import Precision

if TYPE_CHECKING:
    import keras

CLIENT_METADATA = ("class_names", "class_ids", "picture", "preprocessing", "value_range", "scores")


def verify(
    path: str | Path, against: "keras.Model | str | Path | None" = None, data: str | Path | None = None
) -> parity.Report:
    """Compare an ONNX file of the zoo with its model in every installed runtime, and its sidecar with its metadata.

    The file may be of unknown origin: it is first read and run in a sandbox, and refused if its use of memory or time
    depends on the images; see `exporters.onnx.untrusted.sandbox`.

    Args:
        path: .onnx file, or the folder of a bundle, in which every file must match the manifest.
        against: model, as in `exporters.to_onnx`. Default: the one that the file names, which is a model of the zoo or a
            .keras file in the same folder.
        data: folder of images for the comparison. Default: images that scikit-learn ships.

    Returns:
        `exporters.parity.Report`; its `raise_if_failed` raises an error if the comparison failed.

    Raises:
        ZooError: if the file is damaged or not of the zoo, or its model has other weights now.
    """
    bundle = Path(path) if Path(path).is_dir() else None
    path = folder.model(bundle) if bundle else Path(path)
    graph, about, exported = origin.opened(path, against)
    report = export.prove(graph, exported, path, data, Precision(about.get("precision", Precision.FP32)), trusted=False)
    problems = tuple(
        f"its metadata say {key} {about.get(key)}, the model {own}"
        for key, own in _client_metadata(exported).items()
        if about.get(key) != own
    )
    beside = bundle / "card.json" if bundle else path.with_suffix(".json")
    problems += tuple(sidecar.problems(path, beside, about))
    claimed = about.get("quantization")
    if isinstance(claimed, dict) and claimed.get("full_range") is False and saturation.may_saturate(graph):
        problems += ("its metadata say that its INT8 weights are from -64 to 64, and some are larger",)
    if bundle:
        problems += tuple(contents.problems(bundle, about))
    cause = "metadata" if report.passed and problems else report.cause
    return dataclasses.replace(report, problems=report.problems + problems, cause=cause)


def _client_metadata(exported):
    """Return the metadata that clients of a file rely on, as the model has them."""
    about = metadata.about_images(exported)
    return {key: about.get(key) for key in CLIENT_METADATA} if about else {}
