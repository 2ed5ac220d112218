"""The commands `zoo export` and `zoo verify`."""

import json
import shlex
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from exporters import targets
from exporters.targets import Runtime
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
    out = out_path(out, model, SUFFIX[to])
    if to == Format.ONNX:
        targets.check(target, opset, ir)
    if untrained := model in registry.list_models():
        print(
            f"note: {model} has random weights, others in each process; `zoo list` shows the trained ones", file=sys.stderr
        )
    cli.start_keras(None if ":" in model else model)
    import exporters

    if to == Format.ONNX:
        report = exporters.to_onnx(
            model,
            out,
            opset=opset,
            ir=ir,
            pixels=pixels.value,
            data=data,
            layout=layout.value,
            raw_input=raw_input == RawInput.YES,
            static_batch=static_batch,
            target=target,
            runtime=runtime.value,
        )
    else:
        report = (exporters.to_tflite if to == Format.TFLITE else exporters.to_savedmodel)(model, out, data)
    if to != Format.ONNX:
        following = ["zoo", "export", model, "--to", "onnx"]
    elif untrained:
        following = ["zoo", "info", str(out)]
    else:
        following = ["zoo", "verify", str(out), *against_words(model, out)]
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
    if file.is_dir():
        raise ZooError(f"{file} is a folder; only files that zoo export --to onnx writes can be verified")
    cli.start_keras(None if against and ":" in against else against)
    import exporters

    report = exporters.verify(file, against, data)
    tell(report, as_json, shlex.join(["zoo", "info", str(file)]))
    report.raise_if_failed()


def out_path(out, model, suffix, mark=""):
    """Return the path to write to: by default the model's name, with a mark behind it, here.

    Args:
        out: what was given with --out, or None.
        model: name of a model, of its file, or module:attribute.
        suffix: of a file of the format, such as ".onnx"; "" for any.
        mark: what tells the file from others of the model, such as "-int8".

    Raises:
        ZooError: if what was given has another suffix.
    """
    if out is None:
        return Path(f"{Path(model).stem if registry.is_path(model) else model.replace(':', '.')}{mark}{suffix}")
    if suffix and out.suffix != suffix:
        raise ZooError(f"the file is to be named {suffix}; given was --out {out}. Give --out {out}{suffix}")
    return out


def against_words(origin, out):
    """Return the words that `zoo verify` needs to find what a file was made of.

    Args:
        origin: name of a model, its .keras file, or module:attribute.
        out: path of the file, beside which a .keras file is found without.
    """
    apart = registry.is_path(origin) and Path(origin).resolve().parent != out.resolve().parent
    return ["--against", origin] if apart or ":" in origin else []


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
