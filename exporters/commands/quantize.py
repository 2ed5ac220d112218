"""The command `zoo quantize`."""

import json
import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from exporters.commands.export import Method, against_words, out_path, tell
from exporters.precision import Precision
from exporters.targets import Runtime
from zoo import cli, registry
from zoo.console import Json
from zoo.errors import ZooError


class Scores(StrEnum):
    FLOAT32 = "float32"
    FLOAT16 = "float16"


def quantize(
    model: Annotated[str, typer.Argument(metavar="NAME-or-FILE", help="Such as lenet5.mnist, a .keras or an .onnx file.")],
    out: Annotated[Path | None, typer.Option(help="The file to write; by default NAME-PRECISION.onnx here.")] = None,
    precision: Annotated[Precision, typer.Option(help="A quarter of the size, or half of it.")] = Precision.INT8,
    calibration: Annotated[
        str | None, typer.Option(help="For int8: a folder of pictures such as the net will see, or a TFDS name.")
    ] = None,
    method: Annotated[
        Method | None, typer.Option(help="How the ranges of activations are found; by default percentile.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="To measure accuracy: a folder with a folder of pictures a class, or a TFDS name.")
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(help="Percentage points that may be lost; worse layers stay float32.")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="A layer that stays float32; may be given again.")] = None,
    scores: Annotated[Scores | None, typer.Option(help="Type of the scores, for fp16; by default float32.")] = None,
    runtime: Annotated[
        Runtime | None, typer.Option(help="What the file is to be fast in, by default tensorrt; either computes the same.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="What an .onnx file was exported from; by default what it names.")
    ] = None,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="Tell what each layer loses, and write nothing.")
    ] = False,
    as_json: Json = False,
):
    """Make a file of a quarter of the size in INT8, or of half of it in float16, and tell what it loses.

    Example: zoo quantize lenet5.mnist --calibration photos --data photos --max-drop 0.5
    """
    if model.endswith(".onnx") and not Path(model).is_file():
        raise ZooError(f"no file {model}; make it with zoo export NAME --to onnx --out {model}")
    every = {"calibration": calibration, "method": method, "data": data, "max_drop": max_drop, "exclude": exclude}
    every |= {"scores": scores, "runtime": runtime, "against": against}
    given = {name: value for name, value in every.items() if value not in (None, [])}
    _refuse_ignored(model, precision, sensitivity, {*given, *(["out"] if out else [])})
    target = out_path(out, model, ".onnx", f"-{precision.value}")
    known = (registry.is_path(model) and not model.endswith(".keras")) or ":" in model
    cli.start_keras(None if known else model)
    from exporters.quantization import pipeline

    if sensitivity:
        _print(pipeline.rank_layers(model, **{"calibration": None, **given}), as_json)
        return
    report = pipeline.quantize(model, target, precision.value, **given)
    if as_json:
        print(json.dumps(report.plain(), indent=2))
        return
    if report.calibration:
        origin = "from the cache" if report.calibration.cached else f"from {report.calibration.pictures:,} pictures"
        print(f"ranges of {len(report.calibration.ranges)} activations by {report.calibration.method}, {origin}")
    if report.excluded:
        print(f"left in float32: {', '.join(report.excluded)}")
    if report.comparison:
        _print(report.comparison, False)
    if precision == Precision.INT8:
        print("note: on a PC without VNNI its answers are these only with onnxruntime's session.x64quantprecision = 1")
    origin = against or ("" if model.endswith(".onnx") else model)
    tell(report.proof, False, shlex.join(["zoo", "verify", str(target), *against_words(origin, target)]))


def _refuse_ignored(model, precision, sensitivity, given):
    """Raise `ZooError` for an option, of the set of those given, that nothing would read."""
    file, half = model.endswith(".onnx"), precision == Precision.FP16
    idle = (
        (half, ("calibration", "method", "max_drop", "exclude"), "--precision int8"),
        (not half, ("scores",), "--precision fp16; INT8 gives float32"),
        (sensitivity, ("out", "exclude", "max_drop"), "a file that is written; --sensitivity writes none"),
        (file, ("runtime",), "a model; an .onnx file is what zoo export --runtime made it"),
        (not file, ("against",), f"an .onnx file; {model} is the model itself"),
    )
    if half and sensitivity:
        raise ZooError("--sensitivity is for --precision int8, and tells what each layer loses in it")
    for applies, names, purpose in idle:
        for name in names:
            if applies and name in given:
                raise ZooError(f"--{name.replace('_', '-')} is for {purpose}")


def _print(table, as_json):
    """Print what rich draws as a table, or JSON."""
    if as_json:
        print(json.dumps(table.plain(), indent=2))
        return
    from rich.console import Console

    Console().print(table)
