"""Training: from a recipe to a run folder, whose files `training.run_folder` lists."""

import datetime
import json
import os
import platform
import time
from pathlib import Path

import keras
import numpy as np
from rich.console import Console

from training import data, keras_objects, report, run_folder
from training import trainer as trainers
from training.evaluation import score
from training.placement import Placement
from training.recipe import Recipe
from training.recipe import load as load_recipe
from training.running import CHECKPOINT_SECONDS, Running, rank
from training.thaw import Thaw
from zoo import pictures, registry
from zoo.errors import ZooError
from zoo.files import atomic


def fit(
    recipe,
    out,
    resume=False,
    classifier=None,
    source=None,
    console=None,
    new_layers=(),
    command="",
    checkpoint_every=CHECKPOINT_SECONDS,
    placement=None,
):
    """Train as a recipe says.

    Args:
        recipe: `training.recipe.Recipe`, or what `training.recipe.load` takes: a name, or the path of a TOML file.
        out: the run folder; it must not hold a run already, unless `resume`.
        resume: go on from the folder's last checkpoint. On the CPU the result is, to the bit, that of a run that was never
            interrupted.
        classifier: `zoo.Classifier` to go on with, instead of the recipe's model with random weights.
        source: `training.data.Source`, instead of loading the recipe's data.
        console: rich console for progress; a quiet one says nothing.
        new_layers: names of the classifier's layers that are new, above others that have learned before.
        command: what was typed, for the report.
        checkpoint_every: seconds between two checkpoints within an epoch; the end of an epoch is one, too.
        placement: `training.placement.Placement`, for more than one device.

    Returns:
        dict: what metrics.json holds.

    Raises:
        ZooError: if the folder holds a run already, the data or recipe cannot be used, or the checkpoint is of other ones.
        CheckFailed: if the loss is no longer a finite number; the last good checkpoint stays.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, when the state is written.
    """
    start = time.perf_counter()
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    console = console or Console()
    placement = placement or Placement()
    with run_folder.opened(out, recipe, resume) as out:
        keras.utils.set_random_seed(recipe.seed)
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.experimental.enable_op_determinism()

        with placement.scope():
            source, validation, test, trainer = _prepare(recipe, classifier, source, new_layers, placement)
            run = Running(out, recipe, trainer, source.fingerprint(), console, checkpoint_every)
            if resume and run.last.exists():
                run.take_up()
            console.print(
                f"{recipe.model} on {trainer.rows:,} pictures, {len(validation or ()):,} for validation; "
                f"{trainer.how} on {keras.backend.backend()}{placement.how}; run folder {out}",
                soft_wrap=True,
            )
            earlier = sum(row["seconds"] for row in run.history) + run.spent
            run.run(**(trainer.validation(validation.pictures, validation.labels) if validation else {}))
        return _finish(recipe, run, source, validation, test, time.perf_counter() - start + earlier, command)


def _prepare(recipe, classifier, source, new_layers, placement):
    """Return what a run needs: source, validation and test samples, and the trainer, ready to fit."""
    card = registry.card(classifier.card if classifier else recipe.model)
    picture = classifier.picture if classifier else (recipe.picture or card.picture).model_dump()
    source = source or data.load(recipe.data.name, shown(recipe, picture))
    train, validation, test = data.split(source, recipe.data.validation, recipe.data.test, recipe.seed)
    if validation is None and test is None:
        raise ZooError(f"{recipe.data.name} has no test part, and data.validation and data.test are 0: set one of them")
    described = recipe.rule or (None if recipe.optimizer else card.rule)
    if described is None and recipe.optimizer is None:
        raise ZooError(f"the recipe for {recipe.model} has no [optimizer], and its card no rule to learn by")
    rule = keras_objects.rule(described) if described else None
    if classifier is None:
        options = {**(rule.options(len(train)) if rule else {}), **recipe.options}
        net = _built(recipe.model, len(source.class_names), options)
        classifier = registry.wrap(net, card, source.class_names, recipe, options)

    augmentation = keras_objects.augmentation(recipe.augmentation, recipe.seed)
    for layer in augmentation:
        if hasattr(layer, "adapt"):
            layer.adapt(train.pictures)
    trainer = trainers.make(
        classifier,
        augmentation,
        train.pictures,
        train.labels,
        min(recipe.batch_size, len(train)),
        placement=placement,
        repeat=recipe.data.repeat,
        rule=rule,
        balance=recipe.data.balance,
    )
    optimizer = None if rule else keras_objects.optimizer(recipe.optimizer, trainer.steps, recipe.epochs)
    thaw = Thaw(new_layers, recipe.thaw.epochs * trainer.steps, recipe.thaw.share) if new_layers and recipe.thaw else None
    trainer.prepare(optimizer, keras_objects.loss(recipe.loss or card.loss), recipe.epochs, thaw)
    return source, validation, test, trainer


def shown(recipe, picture):
    """Return the format in which a recipe's pictures are read: whole, where its augmentation cuts out of them."""
    cuts = any(each.class_name == "training>RandomCrop" for each in recipe.augmentation)
    return pictures.uncropped(picture) if cuts else picture


def _built(name, classes, options):
    """Build a net, with what its builder says against the options of a recipe as an error of the recipe."""
    if "classes" in options:
        raise ZooError(f"options.classes: {name} has the classes of its data, here {classes}; leave it out")
    try:
        return registry.build(name, classes=classes, **options)
    except (TypeError, ValueError) as error:
        raise ZooError(f"{name} cannot be built with {options}: {error}") from error


def _finish(recipe, run, source, validation, test, seconds, command):
    """Measure the best epoch once on the test part, or on validation where there is none, and write the report."""
    run.write_table()  # again, as a kill may have come between the last state and its table
    out, samples = run.best.parent, validation if test is None else test
    best = min(run.history, key=rank)
    evaluation = score(registry.load(run.best), samples, "validation" if test is None else "test")
    metrics = {
        "command": command,
        "recipe": recipe.model_dump(mode="json", exclude_none=True),
        "epochs": len(run.history),
        "best_epoch": best["epoch"],
        **({"validation_error": round(best["val_error"], 4)} if "val_error" in best else {}),
        **({} if test is None else {"test_error": round(evaluation.error, 4)}),
        **evaluation.summary(),
        "images_per_second": round(float(np.median([row["images_per_second"] for row in run.history]))),
        "wall_seconds": round(seconds, 1),
        "device": device(),
        "backend": f"{keras.backend.backend()}, keras {keras.__version__}",
        "date": datetime.date.today().isoformat(),
        "data_fingerprint": run.fingerprint,
        "left_out": source.problems,
    }
    report.curves(run.history, out / "curves.png")
    report.confusion(evaluation, out / "confusion.png")
    report.mistakes(evaluation, samples, out / "mistakes.png")
    with atomic(out / "metrics.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
    return metrics


def device():
    """Return what the run was computed on, as a person would name it."""
    if keras.backend.backend() == "jax":
        import jax

        if jax.default_backend() != "cpu":
            return jax.devices()[0].device_kind
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            return tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} core{'s' * (cores > 1)}"
