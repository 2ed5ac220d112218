"""Training: from a recipe to a run folder, whose files `training.engine.run_directory` lists."""

import datetime
import functools
import json
import time
from importlib.metadata import version

import keras
import numpy as np
from rich.console import Console

from training import CHECKPOINT_SECONDS, data, keras_objects, report
from training.distributed import devices
from training.distributed.strategy import Placement
from training.engine import checkpoint, fused_steps, mixed_precision, run_directory
from training.engine.callbacks import Running
from training.engine.freezing import Thaw
from training.evaluation.evaluate import score
from training.history import best
from training.recipe import Recipe, shown
from training.recipe import load as load_recipe
from training.report import contact_sheet
from zoo import machine, registry
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
    about=None,
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
        about: dict of what else metrics.json is to hold.
        checkpoint_every: seconds between two checkpoints within an epoch; the end of an epoch is one, too.
        placement: `training.distributed.strategy.Placement`, for more than one device.

    Returns:
        dict: what metrics.json holds; None in a process that does not write the run folder.

    Raises:
        ZooError: if the folder holds a run already, the data or recipe cannot be used, or the checkpoint is of other ones.
        CheckFailed: if the loss is no longer a finite number; the last good checkpoint stays.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, when the state is written.
    """
    start = time.perf_counter()
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    placement = placement or Placement()
    console = console or Console(quiet=not placement.writes)
    with run_directory.opened(out, recipe, resume) if placement.writes else run_directory.scratch() as out:
        devices.prepare()
        keras.utils.set_random_seed(recipe.seed)
        with placement.scope():
            placement.compare({"recipe": lambda: f"{recipe.model_dump_json()} {resume}"})
            source, parts, trainer = _prepare(recipe, classifier, source, new_layers, placement)
            run = Running(out, recipe, trainer, source.fingerprint(), console, checkpoint_every)
            placement.share(run.last)
            if resume and run.last.exists():
                notes = checkpoint.notes(run.last)
                _check(run, notes, source)
                run.take_up(notes)
            _introduce(run, source, parts, placement)
            earlier = sum(row["seconds"] for row in run.history) + run.spent
            validation = parts["validation"]
            with mixed_precision.using(trainer.classifier, recipe.precision):
                run.run(**(trainer.validation(validation.images, validation.labels) if validation else {}))
        if not placement.writes:
            return None
        about = {"command": command, **(about or {})}
        return _finish(run, source, parts, time.perf_counter() - start + earlier, about)


def _prepare(recipe, classifier, source, new_layers, placement):
    """Return what a run needs: the source, its parts by name, and the trainer, ready to fit."""
    card = registry.card(classifier.card if classifier else recipe.model)
    picture = classifier.image_spec if classifier else (recipe.picture or card.picture).model_dump()
    source = source or data.load(recipe.data.name, shown(recipe, picture))
    placement.compare({"data": source.fingerprint})
    train, validation, test = data.split(source, recipe.data.validation, recipe.data.test, recipe.seed)
    if validation is None and test is None:
        raise ZooError(f"{recipe.data.name} has no test part, and data.validation and data.test are 0: set one of them")
    described = recipe.rule or (None if recipe.optimizer else card.rule)
    if described is None and recipe.optimizer is None:
        raise ZooError(f"the recipe for {recipe.model} has no [optimizer], and its card no rule to learn by")
    rule = keras_objects.rule(described) if described else None
    mixed_precision.check(recipe.precision, recipe.model, rule)
    batch_size = min(recipe.batch_size, len(train))
    placement.check(batch_size, rule)
    if classifier is None:
        options = {**(rule.options(len(train)) if rule else {}), **recipe.options}
        net = _built(recipe.model, len(source.class_names), options)
        classifier = registry.wrap(net, card, source.class_names, recipe, options)

    augmentation = keras_objects.augmentation(recipe.augmentation, recipe.seed)
    for layer in augmentation:
        if hasattr(layer, "adapt"):
            layer.adapt(train.images, len(train) / batch_size)
    trainer = fused_steps.make(
        classifier,
        augmentation,
        train.images,
        train.labels,
        batch_size,
        placement=placement,
        repeat=recipe.data.repeat,
        rule=rule,
        balance=recipe.data.balance,
    )
    optimizer = None if rule else keras_objects.optimizer(recipe.optimizer, trainer.steps, recipe.epochs)
    optimizer = optimizer and mixed_precision.optimizer(optimizer, recipe.precision)
    thaw = Thaw(new_layers, recipe.thaw.epochs * trainer.steps, recipe.thaw.share) if new_layers and recipe.thaw else None
    with mixed_precision.using(classifier, recipe.precision):
        trainer.prepare(optimizer, keras_objects.loss(recipe.loss or card.loss), recipe.epochs, thaw)
    return source, {"train": train, "validation": validation, "test": test}, trainer


def _check(run, notes, source):
    """Raise `ZooError` if a run cannot go on here: on another backend, or with other pictures.

    Other pictures would be split anew, and what was kept for the test could be learned from.
    """
    if notes["backend"] != keras.backend.backend():
        raise ZooError(
            f"{run.last.parent} was begun on {notes['backend']}, and Keras uses {keras.backend.backend()} now, whose random "
            f"numbers are others; set KERAS_BACKEND={notes['backend']}"
        )
    if notes["data_fingerprint"] == run.fingerprint:
        return
    split = run.last.parent / "split.csv"
    named = split.exists() and all(samples.names is not None for samples in source.splits.values())
    what = f": {data.describe_changes(split, source)}" if named else ""
    raise ZooError(
        f"the pictures have changed since {run.last.parent} was begun{what}; put them back, or start anew with another --out"
    )


def _introduce(run, source, parts, placement):
    """Say what is about to be trained on what, and draw what the net will see."""
    out, recipe, trainer, train = run.last.parent, run.recipe, run.trainer, parts["train"]
    say = functools.partial(run.console.print, soft_wrap=True, markup=False, highlight=False)
    held = ", ".join(f"{len(parts[name] or ()):,} for {name}" for name in ("validation", "test"))
    say(
        f"{recipe.model} on {trainer.rows:,} pictures of {len(source.class_names):,} classes, {held}; "
        f"{trainer.how} on {keras.backend.backend()}{placement.how}; run folder {out}"
    )
    counts = data.class_counts(train, source.class_names)
    uneven = "" if recipe.data.balance else data.class_imbalance(counts)
    repeated = f"an epoch shows each picture {recipe.data.repeat} times" if recipe.data.repeat > 1 else ""
    left_out = "what cannot be read is left out; the report and metrics.json name it" if source.problems else ""
    rounding = devices.arithmetic(recipe.precision), mixed_precision.warning(recipe.precision)
    words = [*rounding, repeated, left_out, uneven, *data.duplicates_across_splits(**parts)]
    for each in filter(None, words):
        say(f"note: {each}")
    if run.history or run.step:
        return  # split.csv and seen.png are there, and tell what it began with
    if train.names is not None:
        data.write_split(out / "split.csv", source, **parts)
    shape = trainer.classifier.input_image_shape
    title = contact_sheet.describe(recipe.model, recipe.augmentation)
    contact_sheet.draw(trainer.augmentation, train, source.class_names, shape, out / "seen.png", title, source.root)


def _built(name, classes, options):
    """Build a net, with what its builder says against the options of a recipe as an error of the recipe."""
    if "classes" in options:
        raise ZooError(f"options.classes: {name} has the classes of its data, here {classes}; leave it out")
    try:
        return registry.build(name, classes=classes, **options)
    except (TypeError, ValueError) as error:
        raise ZooError(f"{name} cannot be built with {options}: {error}") from error


def _finish(run, source, parts, seconds, about):
    """Measure the best epoch once on the test part, or on validation where there is none, and write the report."""
    run.write_table()  # again, as a kill may have come between the last state and its table
    out, chosen = run.best.parent, best(run.history)
    part = "validation" if parts["test"] is None else "test"
    evaluation = score(registry.load(run.best), parts[part], part)
    metrics = {
        "recipe": run.recipe.model_dump(mode="json", exclude_none=True),
        "card": run.trainer.classifier.card,
        "epochs": len(run.history),
        "best_epoch": chosen["epoch"],
        **({"validation_error": round(chosen["val_error"], 4)} if "val_error" in chosen else {}),
        **({"test_error": round(evaluation.error, 4)} if part == "test" else {}),
        **evaluation.summary(),
        **about,
        "images_per_second": round(float(np.median([row["images_per_second"] for row in run.history]))),
        "wall_seconds": round(seconds, 1),
        "device": device(),
        "backend": f"{keras.backend.backend()}, keras {keras.__version__}",
        "versions": {name: version(name) for name in ("history-zoo", "keras", keras.backend.backend(), "numpy")},
        "date": datetime.date.today().isoformat(),
        "data_fingerprint": run.fingerprint,
        "class_counts": {name: data.class_counts(each, source.class_names) for name, each in parts.items() if each},
        "left_out": source.problems,
    }
    report.plot_mistakes(evaluation, parts[part], out / "mistakes.png")
    report.write_predictions(evaluation, parts[part], out / "predictions.csv")
    with atomic(out / "metrics.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
    report.write(out)
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
    cpu = machine.cpu()
    return f"{cpu['name']}, {cpu['cores']} core{'s' * (cpu['cores'] > 1)}"
