"""From a model to a file in lower precision, step by step."""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from exporters import parity, source
from exporters.onnx import convert, export, files, half, metadata
from exporters.precision import Precision
from exporters.quantization import accuracy, cache, calibrate, insert, labelled, run, sensitivity
from exporters.targets import OPSET
from zoo import console
from zoo.errors import ZooError

PRECISIONS = (Precision.INT8, Precision.FP16)


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        file: its path.
        precision: `Precision.INT8` or `Precision.FP16`.
        calibration: `cache.Calibration`, of INT8.
        excluded: names of the layers that stayed float32.
        comparison: `accuracy.Comparison`, where there were labelled pictures.
        proof: `exporters.parity.Report` of the comparison with the model in every runtime.
    """

    file: str
    precision: str
    calibration: cache.Calibration | None
    excluded: tuple
    comparison: accuracy.Comparison | None
    proof: parity.Report

    def plain(self):
        """Return it as a dict that JSON can hold."""
        return asdict(self)


def quantize(
    model,
    path,
    precision=Precision.INT8,
    calibration=None,
    *,
    method=calibrate.DEFAULT,
    data=None,
    max_drop=None,
    exclude=(),
    scores="float32",
    runtime="tensorrt",
    against=None,
    opset=OPSET,
    pictures=None,
):
    """Write a model in lower precision, behind the gate of `exporters.to_onnx`.

    Args:
        model: a float32 .onnx file of the zoo, what `exporters.to_onnx` takes, or a `Source` that was made of it.
        path: the .onnx file to write.
        precision: "int8" or "fp16".
        calibration: for INT8, a folder of some hundred pictures such as the net will see, the name of a data set, or
            (n, height, width, channels) uint8.
        method: how ranges are found, "percentile", "entropy" or "minmax".
        data: labelled pictures to measure accuracy on: a folder with a folder a class, the name of a data set, or
            (pictures, labels).
        max_drop: percentage points of accuracy that INT8 may lose on them: as few layers stay float32 as that takes.
        exclude: names of layers that stay float32 in any case.
        scores: type of the scores of FP16, "float32" or "float16".
        runtime: as for `exporters.to_onnx`; an .onnx file is what it is.
        against: of an .onnx file, the model that it was exported from; by default the one that it names.
        opset: as for `exporters.to_onnx`; an .onnx file is what it is.
        pictures: a folder of pictures for the proof; by default some real ones that scikit-learn ships.

    Returns:
        `Report`.

    Raises:
        CheckFailed: if the file is too far from the model; no file is left.
        ZooError: if what is given does not fit together, cannot be read, or loses more than it may; no file is left.
    """
    path = Path(path)
    _check(path, precision, method, calibration, data, max_drop, exclude)
    full, about, origin = _float32(model, runtime, against, opset)
    with console.progress() as bars:
        measured = None if data is None else _to_measure(data, about, bars)
        if precision == Precision.INT8:
            found = _calibrated(full, _to_calibrate(calibration, about, bars), method, bars)
            made, exclude = _quantized(full, found.ranges, exclude, max_drop, measured, bars)
        else:
            found, made = None, half.to_half(full, scores)
    _describe(made, about, precision, found, exclude)
    proof = export.write(made, origin, path, pictures, precision)
    with console.progress() as bars:
        comparison = None if data is None else _compare(full, precision, path, measured, about, bars)
    return Report(str(path), precision, found, tuple(exclude), comparison, proof)


def rank_layers(model, calibration, *, method=calibrate.DEFAULT, data=None, runtime="tensorrt", against=None):
    """Return how much each layer alone loses in INT8, the worst first; nothing is written.

    Args:
        model, calibration, method, data, runtime, against: as for `quantize`. Without data the scores of the pictures of
            the calibration are compared.

    Returns:
        `exporters.quantization.sensitivity.Table`.

    Raises:
        ZooError: as for `quantize`.
    """
    _check(None, Precision.INT8, method, calibration, data, None, ())
    full, about, _ = _float32(model, runtime, against)
    with console.progress() as bars:
        some = _to_calibrate(calibration, about, bars)
        ranges = _calibrated(full, some, method, bars).ranges
        return _ranked(full, ranges, *((some, None) if data is None else _to_measure(data, about, bars)), bars)


def _check(path, precision, method, calibration, data, max_drop, exclude):
    """Refuse what does not fit together before anything is computed."""
    if path is not None and path.suffix != ".onnx":
        raise ZooError(f"an ONNX file is named .onnx; given was {path}. Give {path}.onnx")
    Precision.parse(precision, PRECISIONS)
    calibrate.check_method(method)
    if precision == Precision.INT8 and calibration is None:
        raise ZooError("INT8 needs pictures such as the net will see; give some hundred with --calibration FOLDER")
    if precision == Precision.FP16 and (calibration is not None or max_drop is not None or exclude):
        raise ZooError(
            "float16 needs no calibration and leaves no layer out: --calibration, --max-drop, --exclude are for int8"
        )
    if max_drop is not None and data is None:
        raise ZooError("how much accuracy is lost only labelled pictures tell; give them with --data FOLDER")
    if max_drop is not None and not 0 <= max_drop <= 100:
        raise ZooError(f"accuracy may drop by 0 to 100 percentage points; given was {max_drop}")


def table(full, calibration, method=calibrate.DEFAULT):
    """Return the ranges of all float32 tensors of a graph, for accelerators that take no Q/DQ.

    Args:
        full: `onnx_ir.Model` of float32, which takes raw pictures.
        calibration, method: as for `quantize`.

    Returns:
        dict, name of a tensor -> largest magnitude.
    """
    _check(None, Precision.INT8, method, calibration, None, None, ())
    about = metadata.find(full)
    with console.progress() as bars:
        some = _to_calibrate(calibration, about, bars)
        return _calibrated(full, some, method, bars, run.float_tensors(full)).ranges


def _float32(model, runtime, against, opset=OPSET):
    """Return a model of float32, what it says about itself, and what it was made of: (`onnx_ir.Model`, dict, `Source`)."""
    if isinstance(model, source.Source):
        full, origin = convert.convert(model, opset, runtime=runtime), model
        about = metadata.find(full)
    elif str(model).endswith(".onnx"):
        full, about, origin = export.opened(Path(model), against)
    else:
        origin = source.find(model)
        full = convert.convert(origin, opset, runtime=runtime)
        about = metadata.find(full)
    name = origin.origin if isinstance(model, source.Source) else model
    if about.get("precision", Precision.FP32) != Precision.FP32:
        raise ZooError(f"{name} is {about['precision']} already; give the float32 file or model that it was made from")
    if not about.get("raw_input", True) or not about.get("class_names"):
        raise ZooError(f"{name} does not take raw pictures and give scores of classes; only such models are quantized")
    if isinstance(batch := full.graph.inputs[0].shape[0], int):
        raise ZooError(f"{name} takes {batch} pictures at a time and no other number; export it without --static-batch")
    return full, about, origin


def _describe(made, about, precision, found, exclude):
    """Write into a model's metadata how it was made."""
    how = {} if found is None else {"method": found.method, "pictures": found.pictures, "calibration": found.key}
    quantization = {"quantization": {**how, "excluded": list(exclude)}} if how else {}
    metadata.describe(made, {**about, "precision": precision, **quantization})


def _to_calibrate(given, about, bars):
    if isinstance(given, np.ndarray):
        return given
    with console.counting(bars, "reading pictures", labelled.MAX_IMAGES) as advance:
        return labelled.load_calibration_images(given, about["picture"], lambda: advance(1))


def _to_measure(given, about, bars):
    if isinstance(given, tuple):
        return given
    with console.counting(bars, "reading labelled pictures", None) as advance:
        return labelled.load_labelled_images(given, about, lambda: advance(1))


def _calibrated(full, pictures, method, bars, tensors=None):
    with console.counting(bars, "calibrating", calibrate.passes(method) * len(pictures)) as advance:
        return cache.calibrated(full, tensors or insert.tensors(full), pictures, method, advance)


def _ranked(full, ranges, pictures, labels, bars):
    with console.counting(bars, "one layer at a time", (1 + len(insert.layers(full))) * len(pictures)) as advance:
        return sensitivity.measure(full, ranges, pictures, labels, advance)


def _quantized(full, ranges, exclude, max_drop, measured, bars):
    """Return a model in INT8 and the layers that stay float32, as few as it takes where a drop is given."""
    if max_drop is None:
        return insert.quantize(full, ranges, exclude), exclude
    pictures, labels = measured

    def evaluate(model):
        with console.counting(bars, "measuring accuracy", len(pictures)) as advance:
            return sensitivity.accuracy(run.scores(run.session(model), pictures, advance=advance), labels)

    def order():
        return [each.layer for each in _ranked(full, ranges, pictures, labels, bars).layers]

    return sensitivity.search(full, ranges, evaluate, order, max_drop, exclude)


def _compare(full, precision, path, measured, about, bars):
    """Return what a file costs and saves beside the one in float32, and INT8 beside float16, where that can hold the net."""
    others, left_out = {Precision.FP32: full}, {}
    if precision == Precision.INT8:
        try:
            others[Precision.FP16] = half.to_half(full)
        except ZooError as error:
            left_out[Precision.FP16] = str(error)
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.onnx" for name in others} | {precision: path}
        for name, model in others.items():
            files.save(model, paths[name])
        with console.counting(bars, "comparing", len(paths) * len(measured[0])) as advance:
            return accuracy.compare(paths, *measured, about["class_names"], advance, left_out)
