"""The command `zoo quantize`."""

import json
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from exporters import formats
from exporters.commands import shared
from exporters.options import CalibrationOptions, QuantizeOptions, check_suffix
from exporters.precision import QUANTIZED, Precision
from zoo import cli, registry
from zoo.console import Json, option_groups
from zoo.errors import ZooError


@option_groups(options=QuantizeOptions)
def quantize(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="NAME-or-FILE", help="A model such as lenet5.mnist, a .keras file or an .onnx file.")
    ],
    options: QuantizeOptions,
    out: Annotated[Path | None, typer.Option(help="File to write. Default: NAME-PRECISION.onnx.")] = None,
    precision: Annotated[
        Precision,
        typer.Option(help="int8: about a quarter of the size; fp16: about half.", metavar=f"[{'|'.join(QUANTIZED)}]"),
    ] = Precision.INT8,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="Only print the accuracy that is lost by quantizing each layer alone.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Convert a model to INT8 or float16, verify the file and measure its loss of accuracy.

    Example: zoo quantize lenet5.mnist --calibration photos --data photos --max-drop 0.5
    """
    if model.endswith(".onnx") and not Path(model).is_file():
        raise ZooError(f"no file {model}; make it with zoo export NAME --to onnx --out {model}")
    _check_options(shared.given_options(context), model, precision, sensitivity)
    path = formats.default_path(model, ".onnx", f"-{precision}") if out is None else out
    check_suffix(path, ".onnx")
    known = (registry.is_path(model) and not model.endswith(".keras")) or ":" in model
    cli.start_keras(None if known else model)
    from exporters.quantization import pipeline

    if sensitivity:
        arguments = {
            name: getattr(options, name) for name in ("calibration", "method", "data", "runtime", "against", "full_range")
        }
        _print_table(pipeline.rank_layers(model, **arguments), as_json)
        return
    report = pipeline.quantize(model, path, precision, **vars(options))
    if as_json:
        print(json.dumps(report.plain(), indent=2))
        return
    _print_report(report)
    origin = options.against or ("" if model.endswith(".onnx") else model)
    folder = options.typical_images()
    data = [] if folder is None else ["--data", str(folder)]
    shared.print_report(report.proof, False, shlex.join(["zoo", "verify", str(path), *formats.against(origin, path), *data]))


def _check_options(given, model, precision, sensitivity):
    """Raise `ZooError` for a precision that is not written, or an option that nothing reads."""
    Precision.parse(precision, QUANTIZED)
    if precision == Precision.FP16 and sensitivity:
        raise ZooError("--sensitivity is for --precision int8: it measures what each layer loses in INT8")
    is_file = model.endswith(".onnx")
    ignored = (
        (precision == Precision.FP16, ("max_drop", *_names(CalibrationOptions)), "--precision int8"),
        (precision == Precision.INT8, ("scores",), "--precision fp16; INT8 files return float32"),
        (sensitivity, ("out", "exclude", "max_drop"), "a file that is written; --sensitivity writes none"),
        (is_file, ("runtime",), "a model; `zoo export --runtime` has set it for an .onnx file"),
        (not is_file, ("against",), f"an .onnx file; {model} is the model itself"),
    )
    for applies, names, purpose in ignored:
        for name in names:
            if applies and name in given:
                raise ZooError(f"{given[name]} is for {purpose}")


def _names(group):
    return [field.name for field in fields(group)]


def _print_report(report):
    """Print the calibration, the excluded layers and the comparison of precisions."""
    if report.calibration:
        count = report.calibration.pictures
        origin = "from the cache" if report.calibration.cached else f"from {count:,} images"
        print(
            f"calibration: ranges of {len(report.calibration.ranges)} activations by {report.calibration.method}, {origin}"
        )
    if report.excluded:
        print(f"kept in float32: {', '.join(report.excluded)}")
    if report.comparison:
        _print_table(report.comparison, False)


def _print_table(table, as_json):
    """Print a table that Rich draws, or JSON."""
    if as_json:
        print(json.dumps(table.plain(), indent=2))
        return
    from rich.console import Console

    Console().print(table)
