"""The command `zoo experiment`."""

import inspect
import sys
from pathlib import Path
from typing import Annotated

import typer

from zoo import cli
from zoo.errors import ZooError


def experiment(
    name: Annotated[str | None, typer.Argument(help="Name of the experiment. Default: list all experiments.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Number of random seeds.")] = None,
    data: Annotated[
        str | None, typer.Option(help="A folder or TFDS name, for an experiment that trains on a data set.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for result.json and figures. Default: runs/NAME.")] = None,
) -> None:
    """Run an experiment that reproduces a published result, such as a success rate over many random seeds.

    Example: zoo experiment backprop1986 --seeds 20
    """
    from training import experiments

    if name is None:
        for each in experiments.names():
            print(f"{each:18} {experiments.summary(each)}")
        print(f"\nnext: zoo experiment {experiments.names()[0]}", file=sys.stderr)
        return
    experiments.check(name)
    cli.start_keras()
    out = out or Path("runs") / name
    out.mkdir(parents=True, exist_ok=True)
    run = experiments.load(name).run
    given = {key: value for key, value in (("seeds", seeds), ("data", data)) if value is not None}
    if "data" in given and "data" not in inspect.signature(run).parameters:
        raise ZooError(f"the experiment {name} generates its own data; remove --data")
    run(out, **given)
    print(f"files in {out}: {', '.join(sorted(file.name for file in out.iterdir()))}")
