"""The commands `zoo export` and `zoo verify`."""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from zoo import cli, registry

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Data = Annotated[
    Path | None, typer.Option(help="A folder of pictures for the proof; by default real pictures of scikit-learn.")
]


class Format(StrEnum):
    ONNX = "onnx"


class Pixels(StrEnum):
    UINT8 = "uint8"
    FLOAT32 = "float32"


def export(
    model: Annotated[str, typer.Argument(metavar="NAME-or-FILE", help="Such as lenet5.mnist, or a .keras file.")],
    to: Annotated[Format, typer.Option(help="The format.")],
    out: Annotated[Path | None, typer.Option(help="The file to write; by default NAME.onnx here.")] = None,
    opset: Annotated[int, typer.Option(help="ONNX operator set.")] = 13,
    ir: Annotated[int, typer.Option(help="Version of the ONNX file format.")] = 8,
    pixels: Annotated[Pixels, typer.Option(help="Type of the raw 0-255 pixels that the file takes.")] = Pixels.UINT8,
    data: Data = None,
    as_json: Json = False,
):
    """Export a model to a file that takes raw pictures, proved against the model before it gets its name.

    Example: zoo export lenet5.mnist --to onnx --out lenet5.onnx
    """
    cli.start_keras(model)
    from exporters import to_onnx

    out = out or Path(f"{Path(model).stem if registry.is_path(model) else model}.onnx")
    report = to_onnx(model, out, opset, ir, pixels.value, data)
    apart = registry.is_path(model) and Path(model).resolve().parent != out.resolve().parent
    _tell(report, as_json, f"zoo verify {out}{f' --against {model}' if apart else ''}")


def verify(
    file: Annotated[Path, typer.Argument(help="An ONNX file of the zoo.")],
    against: Annotated[
        str | None, typer.Option(metavar="NAME-or-FILE", help="The model; by default the one that the file names.")
    ] = None,
    data: Data = None,
    as_json: Json = False,
):
    """Prove again that an exported file computes what its model computes.

    Example: zoo verify lenet5.onnx
    """
    cli.start_keras(against)
    import exporters

    report = exporters.verify(file, against, data)
    _tell(report, as_json, "zoo info lenet5")
    report.raise_if_failed()


def _tell(report, as_json, following):
    """Print a proof's report; the problems of a failed one follow as the error."""
    if as_json:
        print(json.dumps({**asdict(report), "passed": report.passed}, indent=2))
        return
    size = Path(report.file).stat().st_size
    print(f"{report.file}: {size:,} bytes")
    if report.passed:
        print(
            f"computes what the model computes: {report.pictures} pictures in batches of "
            f"{' and '.join(map(str, report.batches))}, the same labels, scores within {report.largest_difference:.2g}"
        )
        print(f"next: {following}")
