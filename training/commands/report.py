"""The command `zoo report`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from zoo.console import Json
from zoo.errors import printable


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directory. Give several to compare them.")],
    out: Annotated[
        Path | None, typer.Option(help="HTML file. Default: RUN/report.html; comparison.html for several runs.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the report of a run, or compare several runs: settings, errors, learning curves, significance.

    Example: zoo report runs/first runs/second --out comparison.html
    """
    if len(runs) == 1:
        _report_one(runs[0], out, as_json)
    else:
        _compare(runs, out or Path("comparison.html"), as_json)


def _report_one(folder, out, as_json):
    from training.report import page

    run = page.write(folder, out)
    file = str(out or folder / "report.html")
    if as_json:
        print(
            json.dumps({"run": str(folder), "finished": bool(run.metrics), "file": file, "metrics": run.metrics}, indent=2)
        )
        return
    print(printable(" ".join(page.headline(run))))
    print(f"report: {file}\nnext: {run.next_commands[0]}")


def _compare(folders, out, as_json):
    from rich.console import Console

    from training.report import comparison

    compared = comparison.compare(folders, out)
    if as_json:
        print(json.dumps({**compared, "file": str(out)}, indent=2))
        return
    same, columns = comparison.table_columns(compared)
    for name, value in same.items():
        print(printable(f"{name}: {value}"))
    console = Console()
    table = _table([list(columns), *zip(*columns.values(), strict=True)])
    if console.measure(table, options=console.options.update(max_width=1000)).maximum > console.width:
        table = _table([[name, *values] for name, values in columns.items()])
    console.print(table)
    for words in (*(f"warning: {each}" for each in compared["warnings"]), *(test["words"] for test in compared["tests"])):
        print(printable(words))
    print(f"report: {out}\nnext: {compared['next']}")


def _table(rows):
    """Return a Rich table of rows of text. The first row is the header."""
    from rich.table import Table
    from rich.text import Text

    header, *rest = [[Text(printable(cell)) for cell in row] for row in rows]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rest:
        table.add_row(*row)
    return table
