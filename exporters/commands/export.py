"""The commands `zoo export` and `zoo verify`."""

import json
import shlex
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from exporters import targets
from exporters.precision import Precision
from exporters.targets import Runtime
from zoo import cli, registry
from zoo.console import Json, note_random_weights
from zoo.errors import ZooError

Data = Annotated[
    Path | None, typer.Option(help="A folder of pictures for the proof; by default real pictures of scikit-learn.")
]


class Format(StrEnum):
    ONNX = "onnx"
    TFLITE = "tflite"
    SAVEDMODEL = "savedmodel"
    TENSORRT = "tensorrt"


class Method(StrEnum):
    PERCENTILE = "percentile"
    ENTROPY = "entropy"
    MINMAX = "minmax"


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
ONNX_OPTIONS = ("opset", "target", "ir", "layout", "pixels", "raw_input", "runtime", "static_batch")
BOARD_OPTIONS = ("opset", "target", "precision", "calibration", "method", "exclude", "jetpack", "tensorrt", "dla")
BOARD_OPTIONS += ("batch",)
OPTIONS = {Format.ONNX: ONNX_OPTIONS, Format.TENSORRT: BOARD_OPTIONS}
INSTEAD = {
    Format.ONNX: "onnx is float32, and zoo quantize makes smaller files of it",
    Format.TENSORRT: "a folder for a board follows the board",
    Format.TFLITE: "tflite takes raw uint8 pixels, channels last",
    Format.SAVEDMODEL: "savedmodel takes raw uint8 pixels, channels last",
}


def _for_onnx(text):
    return typer.Option(help=text, rich_help_panel="For --to onnx")


def _for_board(text, *names):
    return typer.Option(*names, help=text, rich_help_panel="For --to tensorrt")


def export(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Such as lenet5.mnist, a .keras file, or module:attribute of a Keras model."),
    ],
    to: Annotated[Format, typer.Option(help="The format; tensorrt is a folder for a board.")],
    out: Annotated[
        Path | None, typer.Option(help="What to write; by default NAME.onnx here, for tensorrt NAME-TARGET-PRECISION.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="A board, such as orin-nano, that is to read it; see zoo targets.")
    ] = None,
    opset: Annotated[
        int | None, typer.Option(help="ONNX operator set; by default 13, for older boards what they read.")
    ] = None,
    data: Data = None,
    as_json: Json = False,
    ir: Annotated[int, _for_onnx("Version of the ONNX file format.")] = targets.NEWEST_IR,
    layout: Annotated[
        Layout, _for_onnx("Of the pictures that the file takes: rows and columns last, or channels last.")
    ] = Layout.NCHW,
    pixels: Annotated[Pixels, _for_onnx("Type of the raw 0-255 pixels that the file takes.")] = Pixels.UINT8,
    raw_input: Annotated[
        RawInput, _for_onnx("Whether the file takes raw pixels, or what the preprocessing makes of them.")
    ] = RawInput.YES,
    runtime: Annotated[Runtime, _for_onnx("What the file is to be fast in; either computes the same.")] = Runtime.TENSORRT,
    static_batch: Annotated[
        int | None, _for_onnx("The one number of pictures that the file takes at a time; by default any.")
    ] = None,
    precision: Annotated[Precision | None, _for_board("By default fp16.")] = None,
    calibration: Annotated[
        str | None, _for_board("For int8: a folder of pictures such as the net will see, or a TFDS name.")
    ] = None,
    method: Annotated[Method | None, _for_board("For int8: how ranges are found; by default percentile.")] = None,
    exclude: Annotated[list[str] | None, _for_board("For int8: a layer that stays float32; may be given again.")] = None,
    jetpack: Annotated[str | None, _for_board("On the board; by default the newest documented.")] = None,
    tensorrt: Annotated[str | None, _for_board("Version, for a GPU that has no JetPack.")] = None,
    dla: Annotated[bool, _for_board("Run on DLA what it takes.", "--dla")] = False,
    batch: Annotated[
        str | None, _for_board("Smallest, best and largest number of pictures at a time; by default 1,8,64, on DLA 1.")
    ] = None,
):
    """Export a model to a file that takes raw pictures, or to a folder for a board, proved against the model first.

    Example: zoo export lenet5.mnist --to onnx --out lenet5.onnx, or with --to tensorrt --target orin-nano
    """
    _check_options(context, to)
    if to == Format.TENSORRT:
        from exporters.commands import export_tensorrt

        board = {
            "target": target,
            "precision": (precision or Precision.FP16).value,
            "jetpack": jetpack,
            "tensorrt": tensorrt,
        }
        board |= {"dla": dla, "opset": opset}
        ranges = {"calibration": calibration, "method": method and method.value, "exclude": tuple(exclude or ())}
        out = out or out_path(None, model, "", f"-{target}-{board['precision']}")
        note_random_weights(model)
        export_tensorrt.export(model, out, board, batch, ranges, data, as_json)
        return
    out = out_path(out, model, SUFFIX[to])
    opset = targets.OPSET if opset is None else opset
    if to == Format.ONNX:
        targets.check(target, opset, ir)
    untrained = note_random_weights(model)
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


def _check_options(context, to):
    """Refuse an option that was given and that this format does not read."""
    for name in dict.fromkeys(ONNX_OPTIONS + BOARD_OPTIONS):
        given = context.get_parameter_source(name).name == "COMMANDLINE"
        if given and name not in OPTIONS.get(to, ()):
            readers = " and ".join(f"--to {each.value}" for each, names in OPTIONS.items() if name in names)
            raise ZooError(f"--{name.replace('_', '-')} is for {readers}; {INSTEAD[to]}")


def verify(
    file: Annotated[Path, typer.Argument(help="An ONNX file of the zoo, or a bundle's folder.")],
    against: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The model; by default the one that the file names.")
    ] = None,
    data: Data = None,
    as_json: Json = False,
):
    """Prove again that an exported file, or that of a bundle, computes what its model computes.

    Example: zoo verify lenet5.onnx
    """
    if file.is_dir() and not (file / "manifest.json").exists():
        raise ZooError(f"{file} is a folder without manifest.json; ONNX files and bundles of zoo export can be verified")
    cli.start_keras(None if against and ":" in against else against)
    import exporters

    report = exporters.verify(file, against, data)
    tell(report, as_json, shlex.join(["zoo", "info", report.file]))
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
