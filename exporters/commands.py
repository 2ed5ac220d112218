"""The commands `zoo export` and `zoo verify`."""

import json
import shlex
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from zoo import cli, registry
from zoo.errors import ZooError

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Data = Annotated[
    Path | None, typer.Option(help="A folder of pictures for the proof; by default real pictures of scikit-learn.")
]


class Format(StrEnum):
    ONNX = "onnx"
    TFLITE = "tflite"
    SAVEDMODEL = "savedmodel"


class Pixels(StrEnum):
    UINT8 = "uint8"
    FLOAT32 = "float32"


class Layout(StrEnum):
    NCHW = "nchw"
    NHWC = "nhwc"


class Runtime(StrEnum):
    TENSORRT = "tensorrt"
    ONNXRUNTIME = "onnxruntime"


class RawInput(StrEnum):
    YES = "yes"
    NO = "no"


SUFFIX = {Format.ONNX: ".onnx", Format.TFLITE: ".tflite", Format.SAVEDMODEL: ""}
ONLY_ONNX = {
    **{"opset": 13, "ir": 8, "pixels": Pixels.UINT8, "layout": Layout.NCHW},
    **{"raw_input": RawInput.YES, "runtime": Runtime.TENSORRT},
}


def export(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Such as lenet5.mnist, a .keras file, or module:attribute of a Keras model."),
    ],
    to: Annotated[Format, typer.Option(help="The format.")],
    out: Annotated[Path | None, typer.Option(help="The file to write; by default NAME.onnx here.")] = None,
    opset: Annotated[int, typer.Option(help="ONNX operator set.")] = ONLY_ONNX["opset"],
    ir: Annotated[int, typer.Option(help="Version of the ONNX file format.")] = ONLY_ONNX["ir"],
    target: Annotated[str | None, typer.Option(help="A board, such as orin-nano, that is to read both.")] = None,
    layout: Annotated[
        Layout, typer.Option(help="Of the pictures that the file takes: rows and columns last, or channels last.")
    ] = ONLY_ONNX["layout"],
    pixels: Annotated[Pixels, typer.Option(help="Type of the raw 0-255 pixels that the file takes.")] = ONLY_ONNX["pixels"],
    raw_input: Annotated[
        RawInput, typer.Option(help="Whether the file takes raw pixels, or what the preprocessing makes of them.")
    ] = ONLY_ONNX["raw_input"],
    runtime: Annotated[Runtime, typer.Option(help="What the file is to be fast in; either computes the same.")] = ONLY_ONNX[
        "runtime"
    ],
    static_batch: Annotated[
        int | None, typer.Option(help="The one number of pictures that the file takes at a time; by default any.")
    ] = None,
    data: Data = None,
    as_json: Json = False,
):
    """Export a model to a file that takes raw pictures, proved against the model before it gets its name.

    Example: zoo export lenet5.mnist --to onnx --out lenet5.onnx
    """
    given = {"opset": opset, "ir": ir, "pixels": pixels, "layout": layout, "raw_input": raw_input, "runtime": runtime}
    others = [name for name, value in given.items() if value != ONLY_ONNX[name]]
    others += [name for name, value in {"target": target, "static_batch": static_batch}.items() if value is not None]
    if to != Format.ONNX and others:
        raise ZooError(f"--{others[0].replace('_', '-')} is for --to onnx; {to.value} takes raw uint8 pixels, channels last")
    cli.start_keras(None if ":" in model else model)
    import exporters

    stem = Path(model).stem if registry.is_path(model) else model.replace(":", ".")
    out = out or Path(f"{stem}{SUFFIX[to]}")
    if to == Format.ONNX:
        report = exporters.to_onnx(
            model,
            out,
            opset,
            ir,
            pixels.value,
            data,
            layout.value,
            raw_input == RawInput.YES,
            static_batch,
            target,
            runtime.value,
        )
    else:
        report = (exporters.to_tflite if to == Format.TFLITE else exporters.to_savedmodel)(model, out, data)
    apart = registry.is_path(model) and Path(model).resolve().parent != out.resolve().parent
    against = ["--against", model] if apart or ":" in model else []
    following = ["zoo", "verify", str(out), *against] if to == Format.ONNX else ["zoo", "export", model, "--to", "onnx"]
    tell(report, as_json, shlex.join(following))


def verify(
    file: Annotated[Path, typer.Argument(help="An ONNX file of the zoo.")],
    against: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The model; by default the one that the file names.")
    ] = None,
    data: Data = None,
    as_json: Json = False,
):
    """Prove again that an exported file computes what its model computes.

    Example: zoo verify lenet5.onnx
    """
    cli.start_keras(None if against and ":" in against else against)
    import exporters

    report = exporters.verify(file, against, data)
    tell(report, as_json, shlex.join(["zoo", "info", str(file)]))
    report.raise_if_failed()


def tell(report, as_json, following):
    """Print a proof's report; the problems of a failed one follow as the error.

    Args:
        report: `exporters.parity.Report`.
        as_json: print JSON.
        following: the command that a person would run next.
    """
    if as_json:
        print(json.dumps({**asdict(report), "passed": report.passed}, indent=2))
        return
    path = Path(report.file)
    size = sum(each.stat().st_size for each in path.rglob("*") if each.is_file()) if path.is_dir() else path.stat().st_size
    print(f"{report.file}: {size:,} bytes")
    if report.passed:
        for line in report.lines():
            print(line)
        print(f"next: {following}")
