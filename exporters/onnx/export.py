"""Write an ONNX file and prove that it computes what its model computes."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np
import onnx_ir as ir

from exporters import outputs, parity, source, targets
from exporters.general import GeneralSource
from exporters.onnx import activations, convert, files, metadata, runtimes, saturation
from exporters.options import ExportKeywords, ExportOptions, check_suffix
from exporters.precision import Precision
from exporters.tensorrt import rtx
from zoo import console
from zoo.errors import ZooError

if TYPE_CHECKING:
    import keras

NOT_PARSED = "not read by NVIDIA's parser, which is only used for files with one input of fixed size and one output"
ACTIVATIONS = 2**29  # bytes of all activations that are compared layer by layer


def to_onnx(
    model: "keras.Model | str | Path", path: str | Path, data: str | Path | None = None, **options: Unpack[ExportKeywords]
) -> parity.Report:
    """Export a model to an ONNX file. The file gets its name only after every runtime computes what the model computes.

    Args:
        model: `zoo.classifier.Classifier` or any Keras model, a name that `zoo.load` takes, a .keras file, or
            "module:attribute".
        path: .onnx file to write; its metadata are also written to a .json file of the same name. If the comparison fails,
            existing files are not changed.
        data: folder of images or .npy file of inputs for the comparison. Default: images that scikit-learn ships, or random
            inputs for a model without image metadata.
        **options: fields of `exporters.options.ExportOptions`: target, opset (13), ir (8), layout ("nchw"),
            pixels ("uint8"), raw_input (True), static_batch (any), runtime ("tensorrt"); for a model that is not of the
            zoo value_range and classes. With one of them the file takes raw images, else what the model takes.

    Returns:
        `exporters.parity.Report` of the comparison.

    Raises:
        ZooError: if the model cannot be converted, or the target cannot read the file.
        CheckFailed: if the file does not compute what the model computes; no file is written.
        TypeError: if there is no such option.
    """
    return export_file(model, path, data, ExportOptions.parse(**options).resolve())


def export_file(
    model: "keras.Model | str | Path", path: str | Path, data: str | Path | None, options: ExportOptions
) -> parity.Report:
    """Export a model as `to_onnx` does, with options that `ExportOptions.resolve` has checked."""
    path = Path(path)
    check_suffix(path, ".onnx")
    metadata.sidecar(path)
    exported = source.find(model, options.raw_input, options.pixels, options.image_options, general=True)
    graph = convert.convert(
        exported, options.opset, options.ir, options.layout, options.static_batch, runtime=options.runtime
    )
    if options.target is None:
        return write(graph, exported, path, data)
    targets.check_graph(options.target, graph, exported.raw_input)
    if isinstance(exported, GeneralSource):
        return write(graph, exported, path, data, read_by=lambda written: NOT_PARSED)
    profile = None if options.static_batch else (1, 8, 64)
    return write(graph, exported, path, data, read_by=lambda written: _parsed(written, path, profile))


def _parsed(written, path, profile):
    """Return what NVIDIA's parser and builder say about a file, or that they are not installed.

    Raises:
        ZooError: if they refuse it.
    """
    if not rtx.available():
        return f"not read by NVIDIA's parser, which is not installed; {rtx.INSTALL}"
    try:
        return rtx.check(written, profile).line()
    except ZooError as error:
        raise ZooError(str(error).replace(str(written), str(path))) from error


def write(
    graph: ir.Model,
    exported: source.Source,
    path: str | Path,
    data: str | Path | None = None,
    precision: Precision = Precision.FP32,
    read_by: Callable[[Path], str] | None = None,
) -> parity.Report:
    """Write a graph to a file that gets its name only after the comparison with its model.

    Args:
        graph: `onnx_ir.Model` with metadata.
        exported: `exporters.source.Source` that the graph was converted from.
        path: .onnx file to write.
        data: as in `to_onnx`.
        precision: of the graph.
        read_by: function of the file's temporary path that raises `ZooError` if a device cannot read it, else returns a line
            for the report.

    Returns, Raises:
        As `to_onnx`.
    """
    path = Path(path)
    metadata.sidecar(path)
    with files.saving(graph, path) as temporary:
        report = prove(graph, exported, temporary, data, precision)
        report.raise_if_failed()
        parsed = read_by(temporary) if read_by else ""
    metadata.write_sidecar(path)
    return dataclasses.replace(report, file=str(path), parsed=parsed)


def prove(
    graph: ir.Model,
    exported: source.Source,
    path: Path,
    data: str | Path | None = None,
    precision: Precision = Precision.FP32,
    trusted: bool = True,
) -> parity.Report:
    """Compare a file with its model in every installed runtime.

    Args:
        graph: content of the file.
        exported: `exporters.source.Source` of the model.
        path: of the file.
        data: as in `to_onnx`.
        precision: of the graph; sets the tolerance.
        trusted: False for a file of unknown origin; see `exporters.onnx.runtimes.candidates`.

    Returns:
        `exporters.parity.Report`; if the comparison failed, with the first layer whose output differs.
    """
    if isinstance(exported, GeneralSource):
        return _prove_all_outputs(graph, exported, path, data, trusted)
    layout = metadata.find(graph).get("layout")
    (graph_input,), (graph_output,) = graph.graph.inputs, graph.graph.outputs
    static = graph_input.shape[0] if isinstance(graph_input.shape[0], int) else None
    found = exported.samples(data)
    inputs, batches = found.inputs, (static,) if static else exported.compiled.batches
    spec = parity.FileSpec(precision, str(graph_output.dtype.numpy()), batches)
    exported.compiled.check_eager(inputs)
    settings = path, layout, trusted, precision, static, exported.compiled.cost.operations, graph
    candidates = runtimes.candidates(*settings)
    with console.progress() as bars, console.counting(bars, "comparing with the model", 1 + len(candidates)) as advance:
        if graph_output.dtype.is_floating_point():
            report = parity.compare(
                exported.predict, candidates, inputs, spec, found.real, advance, exported.compiled.float64
            )
        else:
            every = runtimes.all_outputs(*settings)
            report = outputs.compare_whole_numbers(exported.predict, every, inputs, spec.dtype, batches)
    report = dataclasses.replace(report, skipped={**found.skipped, **report.skipped})
    if report.cause == "file":
        layer = _first_difference(exported, path, inputs, layout, precision, static)
        report = dataclasses.replace(report, first_divergent_layer=layer)
    notes = (saturation.NOTE,) if saturation.may_saturate(graph) else ()
    return dataclasses.replace(report, file=str(path), assumed=exported.assumed, notes=notes)


def _first_difference(exported, path, inputs, layout, precision, static):
    """Return the first layer whose output differs, on a few inputs whose activations fit in memory."""
    few = max(1, min(activations.BATCH, ACTIVATIONS // max(1, exported.compiled.cost.written)))
    batch = static or few
    shown = inputs[np.linspace(0, len(inputs) - 1, batch).astype(int)]
    return activations.first_difference(exported.model, path, shown, layout, parity.TOLERANCES[precision].relative, batch)


def _prove_all_outputs(graph, exported, path, data, trusted):
    """Compare a file with several inputs or outputs, or of free size, with its model, once for all sizes."""
    if data:
        raise ZooError(f"--data needs a model with one input and one output; {exported.origin} has {exported.signature}")
    layout = metadata.find(graph).get("layout")
    static = graph.graph.inputs[0].shape[0] if isinstance(graph.graph.inputs[0].shape[0], int) else None
    types = {value.name: str(value.dtype.numpy()) for value in graph.graph.outputs}
    reports, layer = [], None
    with console.progress() as bars, console.counting(bars, "comparing with the model", len(exported.sizes)) as advance:
        for sizes in exported.sizes:
            inputs = exported.inputs(sizes, static)
            compiled = exported.compiled(inputs.dtype)
            compiled.check_eager(inputs)
            batches = (static,) if static else tuple(sorted({min(size, len(inputs)) for size in compiled.batches}))
            operations = compiled.cost.operations
            candidates = runtimes.all_outputs(path, layout, trusted, batch=static, operations=operations, graph=graph)
            reports.append(outputs.compare(compiled, candidates, inputs, types, batches, compiled.float64))
            advance()
            if not reports[-1].passed:
                relative, batch = parity.TOLERANCES[Precision.FP32].relative, static or min(compiled.batches)
                some = inputs[: len(inputs) // batch * batch]
                call = exported.call
                layer = activations.first_difference(exported.model, path, some, layout, relative, batch, call)
                break
    report = outputs.of_all_sizes(reports, exported.sizes[: len(reports)])
    return dataclasses.replace(report, file=str(path), first_divergent_layer=layer, assumed=exported.assumed)
