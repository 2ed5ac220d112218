"""Shared by the commands: the option --data, the options that were given, and the printed report."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from exporters import parity
    from exporters.tensorrt import export

Data = Annotated[Path | None, typer.Option(help="Images to verify on, or an .npy file of inputs. Default: sample images.")]


def given_options(context: typer.Context) -> dict[str, str]:
    """Return the options on the command line: dict, name of the parameter -> its flag, such as "--max-drop"."""
    return {
        parameter.name: parameter.opts[0]
        for parameter in context.command.params
        if parameter.opts[0].startswith("--") and context.get_parameter_source(parameter.name).name == "COMMANDLINE"
    }


def print_report(report: "parity.Report | export.Report", as_json: bool, next_command: str) -> None:
    """Print the report of an export or a verification. The problems of one that failed are printed as an error later.

    Args:
        report: of the exporter.
        as_json: whether to print JSON.
        next_command: command to suggest.
    """
    if as_json:
        print(json.dumps(report.plain(), indent=2))
        return
    for path in report.paths:
        print(f"{path}: {_size(path):,} bytes")
    if report.passed:
        for line in report.lines():
            print(line)
        print(f"next: {next_command}")


def _size(path: Path) -> int:
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file()) if path.is_dir() else path.stat().st_size
