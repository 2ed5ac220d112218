"""The command `zoo train`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.commands import runs
from training.commands.runs import ProcessOptions, RunOptions
from zoo import cli
from zoo.console import option_groups

if TYPE_CHECKING:
    from training.distributed.strategy import Strategy


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

    def train_on(strategy: "Strategy") -> None:
        from training.engine.fit import fit

        if not strategy.is_chief:
            number, count = processes.process_id, processes.num_processes
            print(f"process {number} of {count}; process 0 prints the progress and writes {out}", flush=True)
        options = {"command": runs.typed_command(), "checkpoint_every": run.checkpoint_every, "placement": strategy}
        metrics = runs.run_resumably(lambda: fit(checked, out, run.resume, **options), out, strategy.is_chief)
        if metrics:
            runs.print_result(metrics, out)

    if processes.given:
        from training.distributed import multi_process, supervisor

        arguments = processes.join_arguments
        multi_process.check_options(*arguments[:3], run.devices)
        resume_command = f"{runs.typed_command()} --resume"
        supervisor.run(lambda: train_on(multi_process.join(*arguments)), *arguments, resume_command)
    cli.start_keras(also=runs.DATA_PACKAGES)
    train_on(runs.distribution_strategy(run.devices))
