"""The command `zoo verify`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from exporters import formats
from exporters.commands import shared
from zoo import cli
from zoo.console import Json
from zoo.errors import ZooError


def verify(
    file: Annotated[Path, typer.Argument(help="ONNX file that `zoo export` wrote, or folder of a bundle.")],
    against: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Model to compare with. Default: the one in the file's metadata.")
    ] = None,
    data: shared.Data = None,
    as_json: Json = False,
) -> None:
    """Verify the scores of an exported file or a bundle against those of its model.

    Example: zoo verify lenet5.onnx
    """
    if file.is_dir() and not (file / "manifest.json").exists():
        readable = " and ".join(each.title for each in formats.FORMATS.values() if each.verified)
        raise ZooError(f"{file} is a folder without manifest.json; `zoo verify` reads {readable}")
    cli.start_keras(None if against and ":" in against else against)
    from exporters import verification

    report = verification.verify(file, against, data)
    shared.print_report(report, as_json, shlex.join(["zoo", "info", report.file]))
    report.raise_if_failed()
