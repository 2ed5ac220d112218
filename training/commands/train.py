"""The command `zoo train`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.commands import run as runs
from training.commands.run import ProcessOptions, RunOptions
from zoo import cli
from zoo.console import option_groups

if TYPE_CHECKING:
    from training.distributed.strategy import Placement


@option_groups(run=RunOptions, processes=ProcessOptions)
def train(
    recipe: Annotated[str, typer.Argument(help="Name of a packaged recipe, or a .toml file.")],
    run: RunOptions,
    processes: ProcessOptions,
    out: Annotated[Path | None, typer.Option(help="Run directory. Default: runs/RECIPE.")] = None,
) -> None:
    """Train a model from a recipe and write a run directory.

    Example: zoo train lenet5-mnist --set seed=2 --out runs/lenet5-2
    """
    from training import recipe as recipes

    checked = recipes.load(recipe, **run.changes())
    out = out or Path("runs") / Path(recipe).stem

    def fit(placement: "Placement") -> None:
        from training.engine.fit import fit

        if not placement.writes:
            number, count = processes.process_id, processes.num_processes
            print(f"process {number} of {count}; process 0 prints the progress and writes {out}", flush=True)
        options = {"checkpoint_every": run.checkpoint_every, "placement": placement}
        if metrics := runs.run_resumably(out, fit, checked, out, run.resume, **options):
            runs.print_result(metrics, out)

    if processes.given:
        from training.distributed import multi_process, supervisor

        multi_process.check(*processes.place[:3], run.devices)
        again = f"{runs.typed_command()} --resume"
        supervisor.run(lambda: fit(multi_process.join(*processes.place)), *processes.place, again=again)
    cli.start_keras(also=runs.DATA_PACKAGES)
    fit(runs.placement(run.devices))
