"""Training: from a recipe to a run folder that holds all of the run, at every moment.

recipe.toml     the recipe as it was resolved
history.csv     loss and error of each epoch
logs/           the same for TensorBoard
best.keras      the classifier of the epoch that was best on validation
last.npz        the state after the last epoch, for --resume
metrics.json    the result, and what it was measured with
curves.png, confusion.png, mistakes.png
"""

import csv
import datetime
import json
import math
import os
import platform
import time
from pathlib import Path

import keras
import numpy as np
import tomli_w
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training import checkpoint, data, keras_objects, report
from training import trainer as trainers
from training.evaluation import score
from training.recipe import Recipe
from training.recipe import load as load_recipe
from zoo import pictures, registry
from zoo.errors import CheckFailed, ZooError
from zoo.files import PART, atomic


def fit(recipe, out, resume=False, classifier=None, source=None, console=None):
    """Train as a recipe says.

    Args:
        recipe: `training.recipe.Recipe`, or what `training.recipe.load` takes: a name, or the path of a TOML file.
        out: the run folder; it must not hold a run already, unless `resume`.
        resume: go on from the folder's last checkpoint. On the CPU the result is, to the bit, that of a run that was never
            interrupted.
        classifier: `zoo.Classifier` to go on with, instead of the recipe's model with random weights.
        source: `training.data.Source`, instead of loading the recipe's data.
        console: rich console for progress; a quiet one says nothing.

    Returns:
        dict: what metrics.json holds.

    Raises:
        ZooError: if the folder holds a run already, the data or recipe cannot be used, or the checkpoint is of other ones.
        CheckFailed: if the loss is no longer a finite number; the last good checkpoint stays.
    """
    start = time.perf_counter()
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    console = console or Console()
    out = _open_folder(Path(out), recipe, resume)
    keras.utils.set_random_seed(recipe.seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()

    source, validation, test, trainer = _prepare(recipe, classifier, source)
    run = _Run(out, recipe.epochs, trainer.presentations, source.fingerprint(), console)
    if resume and run.last.exists():
        run.take_up(trainer)
    console.print(
        f"{recipe.model} on {trainer.rows:,} pictures, {len(validation or ()):,} for validation; "
        f"{trainer.how} on {keras.backend.backend()}; run folder {out}",
        soft_wrap=True,
    )
    done = len(run.history)
    if done < recipe.epochs:
        trainer.fit(
            trainer.feed(recipe.seed, done),
            steps_per_epoch=trainer.steps_per_epoch,
            epochs=recipe.epochs,
            initial_epoch=done,
            **(trainer.validation(validation.pictures, validation.labels) if validation else {}),
            shuffle=False,  # the feed is in the epoch's order
            verbose=0,
            callbacks=[run, keras.callbacks.TensorBoard(out / "logs", write_graph=False)],
        )
    earlier = sum(row["seconds"] for row in run.history[:done])
    return _finish(recipe, run, source, validation, test, start, earlier)


def _prepare(recipe, classifier=None, source=None):
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

    batch_size = min(recipe.batch_size, len(train))
    augmentation = keras_objects.augmentation(recipe.augmentation, recipe.seed)
    for layer in augmentation:
        if hasattr(layer, "adapt"):
            layer.adapt(train.pictures)
    trainer = trainers.make(classifier, augmentation, train.pictures, train.labels, batch_size, recipe.data.repeat, rule)
    optimizer = None if rule else keras_objects.optimizer(recipe.optimizer, trainer.steps, recipe.epochs)
    trainer.prepare(optimizer, keras_objects.loss(recipe.loss or card.loss), recipe.epochs)
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


def _open_folder(out, recipe, resume):
    """Make the run folder and write the recipe into it, or check that a run can go on in it."""
    written = tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))
    kept = out / "recipe.toml"
    if resume:
        if not kept.is_file():
            raise ZooError(f"{out} holds no run to resume; leave out --resume to start one")
        if kept.read_text("utf-8") != written:
            raise ZooError(f"{out} holds a run of another recipe (see {kept}); resume with the same recipe and settings")
    elif out.exists() and (not out.is_dir() or any(not _is_left_over(each) for each in out.iterdir())):
        raise ZooError(f"{out} is not empty; go on there with --resume, or name another folder with --out")
    else:
        with atomic(kept) as temporary:
            temporary.write_text(written, "utf-8")
    for half_written in out.glob(f"{PART}*"):  # only now: a folder that is refused is not touched
        half_written.unlink(missing_ok=True)
    return out


def _is_left_over(path):
    """Tell what a run leaves that could not begin, or that was killed while it wrote: it is no run to keep."""
    return path.name in ("recipe.toml", "logs") or path.name.startswith(PART)


class _Run(keras.callbacks.Callback):
    """Shows progress, and at the end of each epoch writes the best classifier, the state and the history."""

    def __init__(self, out, epochs, rows, fingerprint, console):
        super().__init__()
        self.best, self.last, self.table = out / "best.keras", out / "last.npz", out / "history.csv"
        self.rows = rows
        self.fingerprint = fingerprint
        self.history = []
        self.console = console
        self.bar = Progress(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self.task = self.bar.add_task("", total=epochs, rate="")

    @staticmethod
    def state_of(trainer):
        """All that the rest of a run depends on: weights, seed states and optimizer slots."""
        return [*trainer.variables, *trainer.optimizer.variables]

    def take_up(self, trainer):
        """Put the last checkpoint into the trainer, if the pictures are still those that it has learned from.

        Others would be split anew, and what was kept for the test could be learned from.
        """
        notes = checkpoint.restore(self.last, self.state_of(trainer))
        if notes["data_fingerprint"] != self.fingerprint:
            raise ZooError(f"the pictures have changed since {self.last.parent} was begun; start anew with another --out")
        self.history = notes["history"]

    def on_train_begin(self, logs=None):
        self.bar.update(self.task, completed=len(self.history))
        self.bar.start()

    def on_train_end(self, logs=None):
        self.bar.stop()

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_test_begin(self, logs=None):
        self.trained = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        validated = (
            {}
            if "val_loss" not in logs
            else {
                "val_loss": float(logs["val_loss"]),
                "val_error": 100 * (1 - float(logs["val_accuracy"])),
            }
        )
        now = time.perf_counter()
        row = {
            "epoch": epoch + 1,
            "loss": float(logs["loss"]),
            "error": 100 * (1 - float(logs["accuracy"])),
            **validated,
            "images_per_second": self.rows / ((self.trained if validated else now) - self.started),
            "seconds": now - self.started,
        }
        # The loss is measured before each step; what the last step of an epoch did shows on validation.
        if not all(map(math.isfinite, row.values())):
            self.bar.stop()
            on_validation = f" ({row['val_loss']} on validation)" if validated else ""
            raise CheckFailed(
                f"the loss is {row['loss']}{on_validation} in epoch {epoch + 1}: the learning rate is "
                f"too large, or the data are wrong; {self.best.parent} keeps the epochs before"
            )
        earlier = min((rank(each) for each in self.history), default=(math.inf,))
        self.history.append(row)
        # In this order a kill between any two lines loses at most this epoch, which a resumed run does again, to the bit.
        if rank(row) < earlier:
            with atomic(self.best) as temporary:
                self.model.classifier.save(temporary)
        notes = {"history": self.history, "data_fingerprint": self.fingerprint}
        checkpoint.save(self.last, self.state_of(self.model), notes)
        self.write_table()
        rate = f"{row['images_per_second']:,.0f} images/s"
        self.bar.update(self.task, completed=epoch + 1, rate=rate)
        on_validation = f"validation {row['val_error']:6.2f} %  " if validated else ""
        self.console.print(
            f"epoch {epoch + 1:3}  loss {row['loss']:8.4f}  error {row['error']:6.2f} %  {on_validation}{rate}",
            soft_wrap=True,
        )

    def write_table(self):
        """Write the history as CSV."""
        with atomic(self.table) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.history[0])
            writer.writeheader()
            writer.writerows(self.history)


def rank(row):
    """Order epochs by what they reach on validation: fewest errors, then smallest loss; without it the last is the best."""
    return (row["val_error"], row["val_loss"]) if "val_error" in row else (-row["epoch"],)


def _finish(recipe, run, source, validation, test, start, earlier):
    """Measure the best epoch once on the test part, or on validation where there is none, and write the report."""
    run.write_table()  # again, as a kill may have come between the last state and its table
    out, samples = run.best.parent, validation if test is None else test
    best = min(run.history, key=rank)
    evaluation = score(registry.load(run.best), samples, "validation" if test is None else "test")
    metrics = {
        "recipe": recipe.model_dump(mode="json", exclude_none=True),
        "best_epoch": best["epoch"],
        **({"validation_error": round(best["val_error"], 4)} if "val_error" in best else {}),
        **({} if test is None else {"test_error": round(evaluation.error, 4)}),
        **evaluation.summary(),
        "images_per_second": round(float(np.median([row["images_per_second"] for row in run.history]))),
        "wall_seconds": round(time.perf_counter() - start + earlier, 1),
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
