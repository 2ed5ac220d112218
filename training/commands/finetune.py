"""The command `zoo finetune`."""

from pathlib import Path
from typing import Annotated

import typer

from training.commands import runs
from training.commands.runs import RunOptions
from zoo import cli
from zoo.console import Model, Strict, option_groups, print_skipped


@option_groups(run=RunOptions)
def finetune(
    model: Model,
    data: Annotated[str, typer.Option(help=f"Training images: {runs.DATA}")],
    out: Annotated[Path, typer.Option(help="Run directory.")],
    run: RunOptions,
    augment: Annotated[
        str | None, typer.Option(metavar="none|light|photos", help="Augmentation; photos also mirrors images.")
    ] = None,
    balance: Annotated[bool, typer.Option("--balance", help="Sample all classes equally often.")] = False,
    strict: Strict = False,
) -> None:
    """Fine-tune a model on your own images; write best.keras and a report to the run directory.

    Example: zoo finetune lenet5.mnist --data photos --out runs/photos
    """
    from training import recipe as recipes
    from training.augmentation import presets

    augmentation = None if augment is None else presets.get(augment)
    changes = run.changes(augmentation=augmentation, **{"data.balance": balance or None})
    recipe = recipes.load_for_finetuning(model, data, **changes)  # reports a wrong key before Keras is imported
    cli.start_keras(model, runs.DATA_PACKAGES)
    from training.engine.finetune import finetune_recipe
    from training.engine.fit import FitOptions

    strategy = runs.distribution_strategy(run.devices)
    options = FitOptions(command=runs.typed_command(), checkpoint_every=run.checkpoint_every, placement=strategy)
    metrics = runs.run_resumably(lambda: finetune_recipe(recipe, out, run.resume, strict, options), out)
    print_skipped(metrics["left_out"])
    before = metrics["accuracy_before"]
    known = f"{before:.2f} %" if before is not None else "not measured, because the classes are new"
    print(f"accuracy before fine-tuning: {known}")
    if before is not None and before > metrics["accuracy"]:
        print(f"note: {model} was better on these images before fine-tuning; {_lower_rate(metrics['recipe'])}")
    runs.print_result(metrics, out)


def _lower_rate(recipe: dict) -> str:
    """Return advice to use a tenth of a recipe's learning rate."""
    try:
        rate = recipe["optimizer"]["config"]["learning_rate"]["config"]["initial_learning_rate"]
        return f"try --set optimizer.config.learning_rate.config.initial_learning_rate={rate / 10:g}"
    except (KeyError, TypeError):  # a constant rate, or another schedule
        return "try a smaller learning rate"
