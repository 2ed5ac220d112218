"""Training: from a recipe to a run directory, whose files `training.engine.run_directory` lists."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import keras
from rich.console import Console

from training import CHECKPOINT_SECONDS, data, keras_objects
from training.distributed import devices
from training.distributed.strategy import Strategy
from training.engine import checkpoint, fused_steps, mixed_precision, prepared_data, run_directory, summary
from training.engine.callbacks import TrainingRun
from training.engine.freezing import GradualUnfreezing
from training.engine.prepared_data import PreparedData
from training.engine.trainer import TrainerOptions
from training.recipe import Recipe
from training.recipe import load as load_recipe
from zoo import registry
from zoo.errors import ZooError

if TYPE_CHECKING:
    from training.data import Source
    from training.engine.trainer import Trainer
    from zoo.classifier import Classifier
    from zoo.rules import Rule
    from zoo.schema import Card


@dataclass(frozen=True)
class FitOptions:
    """Options of `fit` and `finetune` that do not depend on the recipe.

    Attributes:
        console: Rich console for progress. Default: the standard output, quiet if this process is not the chief.
        command: the command that the user typed, for the report.
        about: extra entries for metrics.json.
        checkpoint_every: seconds between checkpoints within an epoch. The end of an epoch saves one too.
        placement: distribution strategy, for more than one device.
    """

    console: Console | None = None
    command: str = ""
    about: dict | None = None
    checkpoint_every: float = CHECKPOINT_SECONDS
    placement: Strategy | None = None

    @property
    def strategy(self) -> Strategy:
        """The distribution strategy, which is one device by default."""
        return self.placement or Strategy()


class FitKeywords(TypedDict, total=False):
    """Keyword arguments of `fit`: the fields of `FitOptions`."""

    console: Console | None
    command: str
    about: dict | None
    checkpoint_every: float
    placement: Strategy | None


def fit(
    recipe: Recipe | str | Path,
    out: Path | str,
    resume: bool = False,
    classifier: "Classifier | None" = None,
    source: "Source | None" = None,
    new_layers: Iterable[str] = (),
    **options: Unpack[FitKeywords],
) -> dict | None:
    """Train a model from a recipe and write a run directory.

    Args:
        recipe: `training.recipe.Recipe`, name of a packaged recipe, or path of a TOML file.
        out: run directory. It must not contain a run, unless `resume`.
        resume: resume from the last checkpoint in the run directory. On the CPU the resulting weights are bit-identical to
            those of an uninterrupted run.
        classifier: `zoo.classifier.Classifier` to continue from. Default: the recipe's model with random weights.
        source: `training.data.Source`. Default: the recipe's data.
        new_layers: names of layers of the classifier that are not pretrained; the others are first frozen, as the recipe's
            [thaw] describes.
        **options: fields of `FitOptions`: console, command, about, checkpoint_every and placement.

    Returns:
        dict: the content of metrics.json; None in a process that does not write the run directory.

    Raises:
        ZooError: if the directory contains a run already, the data or recipe cannot be used, or the checkpoint belongs to
            other data.
        CheckFailed: if the loss is no longer finite; the last good checkpoint stays.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, after the state is saved.
    """
    options = FitOptions(**options)
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    card = registry.card(classifier.card if classifier else recipe.model)

    def prepare(rule: "Rule | None") -> tuple["Classifier", PreparedData]:
        image_spec = classifier.image_spec if classifier else (recipe.picture or card.picture).model_dump()
        prepared = prepared_data.prepare(recipe, source or prepared_data.load(recipe, image_spec), options.strategy)
        return classifier or _build_classifier(recipe, card, prepared, rule), prepared

    devices.prepare()
    keras.utils.set_random_seed(recipe.seed)
    return run(recipe, card, out, resume, prepare, new_layers, options)


def run(
    recipe: Recipe,
    card: "Card",
    out: Path | str,
    resume: bool,
    prepare: Callable[["Rule | None"], tuple["Classifier", PreparedData]],
    new_layers: Iterable[str],
    options: FitOptions,
) -> dict | None:
    """Train a classifier in a run directory, for `fit` and `finetune`. The caller sets the random seed.

    Args:
        recipe: `training.recipe.Recipe`.
        card: card of the model.
        out: run directory.
        resume: resume from its last checkpoint.
        prepare: function from the learning rule, or None, to the classifier and its data.
        new_layers: names of layers that are not pretrained.
        options: `FitOptions`.

    Returns:
        dict: the content of metrics.json; None in a process that does not write the run directory.
    """
    start = time.perf_counter()
    strategy = options.strategy
    console = options.console or Console(quiet=not strategy.is_chief)
    with run_directory.opened(out, recipe, resume) if strategy.is_chief else run_directory.scratch() as out:
        with strategy.scope():
            strategy.check_equal({"recipe": lambda: f"{recipe.model_dump_json()} {resume}"})
            rule = _learning_rule(recipe, card)
            classifier, prepared = prepare(rule)
            trainer = _build_trainer(recipe, classifier, prepared, rule, strategy)
            _compile(trainer, recipe, card, new_layers)
            training_run = TrainingRun(out, recipe, trainer, prepared.fingerprint, console, options.checkpoint_every)
            strategy.broadcast(training_run.checkpoint_path)
            if resume and training_run.checkpoint_path.exists():
                notes = checkpoint.notes(training_run.checkpoint_path)
                _check_resumable(training_run, notes, prepared.source)
                training_run.restore(notes)
            summary.print_start(training_run, prepared)
            earlier = sum(row["seconds"] for row in training_run.history) + training_run.earlier_seconds
            validation = prepared.splits["validation"]
            with mixed_precision.using(classifier, recipe.precision):
                training_run.train(trainer.validation_dataset(validation.images, validation.labels) if validation else None)
        if not strategy.is_chief:
            return None
        about = {"command": options.command, **(options.about or {})}
        return summary.write_result(training_run, prepared, time.perf_counter() - start + earlier, about)


def _learning_rule(recipe: Recipe, card: "Card") -> "Rule | None":
    """Return the learning rule of a recipe or card, or None if an optimizer trains the model."""
    described = recipe.rule or (None if recipe.optimizer else card.rule)
    if described is None and recipe.optimizer is None:
        raise ZooError(f"the recipe for {recipe.model} has no [optimizer], and its card has no learning rule")
    rule = keras_objects.rule(described) if described else None
    mixed_precision.check(recipe.precision, recipe.model, rule)
    return rule


def _build_classifier(recipe: Recipe, card: "Card", prepared: PreparedData, rule: "Rule | None") -> "Classifier":
    """Build the recipe's model with random weights. An error of the builder is reported as an error of the recipe."""
    class_names = prepared.source.class_names
    options = {**(rule.options(len(prepared.splits["train"])) if rule else {}), **recipe.options}
    if "classes" in options:
        raise ZooError(f"options.classes: {recipe.model} has the classes of its data, here {len(class_names)}; remove it")
    try:
        net = registry.build(recipe.model, classes=len(class_names), **options)
    except (TypeError, ValueError) as error:
        raise ZooError(f"{recipe.model} cannot be built with {options}: {error}") from error
    return registry.wrap(net, card, class_names, recipe, options)


def _build_trainer(
    recipe: Recipe, classifier: "Classifier", prepared: PreparedData, rule: "Rule | None", strategy: Strategy
) -> "Trainer":
    """Return a trainer with the recipe's augmentation, fitted to the training split where a layer needs that."""
    train = prepared.splits["train"]
    batch_size = min(recipe.batch_size, len(train))
    strategy.check_batch_size(batch_size, rule)
    augmentation = keras_objects.augmentation(recipe.augmentation, recipe.seed)
    for layer in augmentation:
        if hasattr(layer, "adapt"):
            layer.adapt(train.images, len(train) / batch_size)
    options = TrainerOptions(recipe.data.repeat, rule, recipe.data.balance, strategy)
    return fused_steps.make(classifier, augmentation, train.images, train.labels, batch_size, options)


def _compile(trainer: "Trainer", recipe: Recipe, card: "Card", new_layers: Iterable[str]) -> None:
    """Give a trainer the recipe's optimizer and loss, and build all variables."""
    optimizer = unfreezing = None
    if trainer.rule is None:
        optimizer = keras_objects.optimizer(recipe.optimizer, trainer.steps, recipe.epochs)
        optimizer = mixed_precision.optimizer(optimizer, recipe.precision)
    if new_layers and recipe.thaw:
        unfreezing = GradualUnfreezing(new_layers, recipe.thaw.epochs * trainer.steps, recipe.thaw.share)
    with mixed_precision.using(trainer.classifier, recipe.precision):
        trainer.prepare(optimizer, keras_objects.loss(recipe.loss or card.loss), recipe.epochs, unfreezing)


def _check_resumable(training_run: TrainingRun, notes: dict, source: "Source") -> None:
    """Raise `ZooError` if a run cannot be resumed because the backend or the images have changed.

    Changed images would be split differently, and images of the test split could get into the training split.
    """
    out = training_run.out
    if notes["backend"] != keras.backend.backend():
        raise ZooError(
            f"{out} was started on {notes['backend']}, and Keras now uses {keras.backend.backend()}, which draws other "
            f"random numbers; set KERAS_BACKEND={notes['backend']}"
        )
    if notes["data_fingerprint"] == training_run.fingerprint:
        return
    listed = out / "split.csv"
    named = listed.exists() and all(samples.names is not None for samples in source.splits.values())
    changes = f": {data.describe_changes(listed, source)}" if named else ""
    raise ZooError(
        f"the images have changed since {out} was started{changes}; restore them, or start a new run with another --out"
    )
