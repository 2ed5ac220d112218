"""The command `zoo export`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from exporters import formats
from exporters.commands import shared
from exporters.options import CommandOptions, check_suffix
from exporters.precision import Precision
from zoo import cli
from zoo.console import Json, note_random_weights, option_groups
from zoo.errors import ZooError


@option_groups(options=CommandOptions)
def export(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model such as lenet5.mnist, a .keras file, or module:attribute.")
    ],
    to: Annotated[formats.Name, typer.Option(help="Format; tensorrt writes a folder for a board.")],
    options: CommandOptions,
    out: Annotated[
        Path | None, typer.Option(help="File or folder to write. Default: named after the model, in the working directory.")
    ] = None,
    data: shared.Data = None,
    as_json: Json = False,
) -> None:
    """Export a model to a file or to a folder for a board, and verify its scores against those of the model.

    The options of a TensorRT engine and of INT8 are for --to tensorrt.

    Example: zoo export lenet5.mnist --to onnx --out lenet5.onnx, or with --to tensorrt --target orin-nano
    """
    kind = formats.FORMATS[to]
    _check_options(shared.given_options(context), kind)
    path = formats.default_path(model, kind.suffix, _mark(kind, options)) if out is None else out
    check_suffix(path, kind.suffix)
    resolved = kind.resolve(options)
    note_random_weights(model)
    cli.start_keras(None if ":" in model else model)
    report = kind.export(model, path, data, resolved)
    shared.print_report(report, as_json, shlex.join(kind.next_command(model, path, report)))


def _check_options(given, kind):
    """Raise `ZooError` if an option was given that the format does not read."""
    for name, flag in given.items():
        readers = [each for each in formats.FORMATS.values() if each.reads(name)]
        if readers and kind not in readers:
            raise ZooError(f"{flag} is for {' and '.join(f'--to {each.name}' for each in readers)}; {kind.instead}")


def _mark(kind, options):
    """Return what follows the model's name in the name of a folder for a board."""
    return f"-{options.target}-{options.precision or Precision.FP16}" if kind.reads("precision") else ""
