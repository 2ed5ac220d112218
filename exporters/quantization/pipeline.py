"""Quantize a model, compare the file with the model, and measure what the precision costs."""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np
import onnx_ir as ir

from exporters import parity, source
from exporters.choices import DEFAULT_METHOD, Method, Runtime, Scores
from exporters.onnx import convert, export, files, half, metadata, saturation
from exporters.onnx import origin as origins
from exporters.options import ImageOptions, QuantizeKeywords, QuantizeOptions, check_suffix
from exporters.precision import QUANTIZED, Precision
from exporters.quantization import accuracy, cache, calibrate, insert, labeled, run, sensitivity
from exporters.targets import OPSET
from zoo import console
from zoo.errors import ZooError

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Report:
    """Result of `quantize`.

    Attributes:
        file: path of the file.
        precision: `Precision.INT8` or `Precision.FP16`.
        calibration: `cache.Calibration`; None for FP16.
        excluded: names of the layers that stayed float32.
        full_range: whether INT8 weights are from -127 to 127; None for FP16.
        comparison: `accuracy.Comparison`; None without labeled images.
        proof: `exporters.parity.Report` of the comparison with the model in every runtime.
    """

    file: str
    precision: Precision
    calibration: cache.Calibration | None
    excluded: tuple
    full_range: bool | None
    comparison: accuracy.Comparison | None
    proof: parity.Report

    def plain(self) -> dict:
        """Return the report as a dict for JSON."""
        return {**asdict(self), "proof": self.proof.plain()}


def quantize(
    model: "keras.Model | source.Source | str | Path",
    path: str | Path,
    precision: str = Precision.INT8,
    calibration: str | Path | np.ndarray | None = None,
    *,
    opset: int = OPSET,
    pictures: str | Path | None = None,
    **options: Unpack[QuantizeKeywords],
) -> Report:
    """Write a model in lower precision. The file gets its name only after the comparison with the model.

    Args:
        model: float32 .onnx file of the zoo, anything that `exporters.to_onnx` takes, or an `exporters.source.Source`.
        path: .onnx file to write.
        precision: "int8" or "fp16".
        calibration: for INT8: folder of some hundred typical images, name of a data set, or
            (n, height, width, channels) uint8 array.
        opset: ONNX operator set; not for an .onnx file.
        pictures: folder of images for the comparison. Default: the folder of calibration images, else images that
            scikit-learn ships.
        **options: fields of `exporters.options.QuantizeOptions`: method ("percentile"), data, max_drop, exclude,
            full_range (False), scores, runtime, against; for a model that is not of the zoo value_range and classes.

    Returns:
        `Report`.

    Raises:
        CheckFailed: if the file differs too much from the model; no file is written.
        ZooError: if options contradict each other, an input cannot be read, or the accuracy drops by more than max_drop; no
            file is written.
        TypeError: if there is no such option.
    """
    path, precision = Path(path), Precision.parse(precision, QUANTIZED)
    options = QuantizeOptions.parse(calibration=calibration, **options)
    _check(path, precision, options)
    folder = options.typical_images() if pictures is None else pictures
    return _quantize(_Float32.of(model, options, opset), path, precision, options, folder)


def rank_layers(
    model: "keras.Model | str | Path",
    calibration: str | Path | np.ndarray,
    *,
    method: str | None = None,
    data: str | Path | tuple | None = None,
    runtime: str = Runtime.TENSORRT,
    against: "keras.Model | str | Path | None" = None,
    full_range: bool | None = None,
) -> sensitivity.Table:
    """Return how much accuracy each layer alone loses in INT8, the worst first. Nothing is written.

    Args:
        model, calibration, method, data, runtime, against, full_range: as in `quantize`. Without data, the scores of the
            calibration images are compared instead of accuracies.

    Returns:
        `exporters.quantization.sensitivity.Table`.

    Raises:
        ZooError: as `quantize`.
    """
    options = QuantizeOptions(calibration=calibration, method=method, data=data, runtime=runtime, against=against)
    _check(None, Precision.INT8, options)
    full = _Float32.of(model, options)
    with console.progress() as bars:
        images = _calibration_images(calibration, full.about, bars)
        ranges = _calibrated(full.graph, images, method, bars).ranges
        labeled_images = (images, None) if data is None else _labeled_images(data, full.about, bars)
        return _ranked(full.graph, ranges, *labeled_images, bool(full_range), bars)


def table(full: ir.Model, calibration: str | Path | np.ndarray, method: str | None = None) -> dict[str, float]:
    """Return the ranges of all float32 tensors of a graph, for accelerators that do not support QuantizeLinear.

    Args:
        full: `onnx_ir.Model` in float32 that takes raw images.
        calibration, method: as in `quantize`.

    Returns:
        dict, name of a tensor -> largest magnitude.
    """
    _check(None, Precision.INT8, QuantizeOptions(calibration=calibration, method=method))
    about = metadata.find(full)
    with console.progress() as bars:
        images = _calibration_images(calibration, about, bars)
        return _calibrated(full, images, method, bars, run.float_tensors(full)).ranges


def _check(path, precision, options):
    """Raise `ZooError` for options that contradict each other, before anything is computed."""
    if path is not None:
        check_suffix(path, ".onnx")
    if options.method is not None:
        Method.parse(options.method)
    Runtime.parse(options.runtime)
    Scores.parse(options.scores)
    if precision == Precision.INT8 and options.calibration is None:
        raise ZooError(
            "INT8 needs calibration images; give a folder of some hundred typical images with --calibration FOLDER"
        )
    only_int8 = any(each is not None for each in (options.calibration, options.max_drop, options.full_range))
    if precision == Precision.FP16 and (only_int8 or len(options.exclude)):
        raise ZooError(
            "float16 needs no calibration and excludes no layer: --calibration, --max-drop, --exclude, --full-range are for "
            "int8"
        )
    if options.max_drop is not None and options.data is None:
        raise ZooError("--max-drop needs labeled images to measure accuracy on; give them with --data FOLDER")
    if options.max_drop is not None and not 0 <= options.max_drop <= 100:
        raise ZooError(f"accuracy may drop by 0 to 100 percentage points; given was {options.max_drop}")


@dataclass(frozen=True)
class _Float32:
    """A model in float32: its graph, its metadata and its `Source`."""

    graph: ir.Model
    about: dict
    origin: source.Source

    @classmethod
    def of(cls, model, options, opset=OPSET):
        """Read an .onnx file, or convert a model."""
        if str(model).endswith(".onnx") and not isinstance(model, source.Source):
            _check_undescribed(model, options)
            graph, about, origin = origins.opened(Path(model), options.against)
            metadata.check_single(model, about)
        else:
            origin = model if isinstance(model, source.Source) else _find(model, options.image_options)
            graph = convert.convert(origin, opset, runtime=options.runtime)
            about = metadata.find(graph)
        name = origin.origin if isinstance(model, source.Source) else model
        if about.get("precision", Precision.FP32) != Precision.FP32:
            raise ZooError(f"{name} is {about['precision']} already; give the float32 file or model that it was made from")
        if not about.get("raw_input", True) or not about.get("class_names"):
            raise ZooError(
                f"{name} does not take raw images and return scores of classes; only such models can be quantized. Quantize "
                "the model that it was exported from, as in zoo quantize NET.keras --value-range 0,1"
            )
        if isinstance(batch := graph.graph.inputs[0].shape[0], int):
            raise ZooError(f"{name} takes only batches of {batch}; export it without --static-batch")
        return cls(graph, about, origin)


def _find(model, images):
    """Return a model to quantize, which must be a classifier of raw images."""
    return source.find(model, images=images, describe=source.Describe.ALWAYS)


def _check_undescribed(model, options):
    """Raise `ZooError` for options that describe an .onnx file, whose metadata describe it."""
    if options.image_options != ImageOptions():
        raise ZooError(f"--value-range, --classes and --size are for a Keras model; {model} has its own metadata")


def _quantize(full, path, precision, options, folder):
    """Write a model in lower precision with checked options; `folder` has the images of the comparison."""
    calibration, excluded, full_range = None, options.exclude, None
    with console.progress() as bars:
        measured = None if options.data is None else _labeled_images(options.data, full.about, bars)
        if precision == Precision.INT8:
            images = _calibration_images(options.calibration, full.about, bars)
            calibration = _calibrated(full.graph, images, options.method, bars)
            full_range = bool(options.full_range)
            made, excluded = _in_int8(full.graph, calibration.ranges, options, measured, bars)
        else:
            made = half.to_half(full.graph, options.scores)
    _describe(made, full.about, precision, calibration, excluded, full_range)
    proof = export.write(made, full.origin, path, folder, precision)
    with console.progress() as bars:
        comparison = None if measured is None else _compare(full, precision, path, measured, bars)
    return Report(str(path), precision, calibration, tuple(excluded), full_range, comparison, proof)


def _describe(made, about, precision, calibration, excluded, full_range):
    """Write the precision, the calibration, the excluded layers and the range of weights into the metadata of a graph."""
    quantization = {}
    if calibration is not None:
        facts = {"method": calibration.method, "pictures": calibration.pictures, "calibration": calibration.key}
        note = {"note": saturation.NOTE} if saturation.may_saturate(made) else {}
        quantization = {"quantization": {**facts, "excluded": list(excluded), "full_range": full_range, **note}}
    metadata.describe(made, {**about, "precision": precision, **quantization})


def _calibration_images(calibration, about, bars):
    if isinstance(calibration, np.ndarray):
        return calibration
    with console.counting(bars, "reading images", labeled.MAX_IMAGES) as advance:
        return labeled.load_calibration_images(calibration, about["picture"], lambda: advance(1))


def _labeled_images(data, about, bars):
    if isinstance(data, tuple):
        return data
    with console.counting(bars, "reading labeled images", None) as advance:
        return labeled.load_labeled_images(data, about, lambda: advance(1))


def _calibrated(full, images, method, bars, tensors=None):
    method = method or DEFAULT_METHOD
    with console.counting(bars, "calibrating", calibrate.passes(method) * len(images)) as advance:
        return cache.calibrated(full, tensors or insert.tensors(full), images, method, advance)


def _ranked(full, ranges, images, labels, full_range, bars):
    with console.counting(bars, "one layer at a time", (1 + len(insert.layers(full))) * len(images)) as advance:
        return sensitivity.measure(full, ranges, images, labels, advance, full_range)


def _in_int8(full, ranges, options, measured, bars):
    """Return a graph in INT8 and the names of the layers that stay float32; with `max_drop` as few as possible."""
    full_range = bool(options.full_range)
    if options.max_drop is None:
        return insert.quantize(full, ranges, options.exclude, full_range), options.exclude
    images, labels = measured

    def evaluate(model):
        with console.counting(bars, "measuring accuracy", len(images)) as advance:
            return sensitivity.accuracy(run.scores(run.session(model), images, advance=advance), labels)

    def order():
        return [each.layer for each in _ranked(full, ranges, images, labels, full_range, bars).layers]

    return sensitivity.search(full, ranges, evaluate, order, options.max_drop, options.exclude, full_range)


def _compare(full, precision, path, measured, bars):
    """Compare a file with the float32 file, and INT8 also with float16 if that can hold the weights."""
    others, skipped = {Precision.FP32: full.graph}, {}
    if precision == Precision.INT8:
        try:
            others[Precision.FP16] = half.to_half(full.graph)
        except ZooError as error:
            skipped[Precision.FP16] = str(error)
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.onnx" for name in others} | {precision: path}
        for name, model in others.items():
            files.save(model, paths[name])
        with console.counting(bars, "comparing", len(paths) * len(measured[0])) as advance:
            return accuracy.compare(paths, *measured, full.about["class_names"], advance, skipped)
