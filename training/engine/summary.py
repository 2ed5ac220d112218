"""The lines that a run prints before its first epoch, and the files that it writes after its last one."""

import datetime
import functools
import json
from importlib.metadata import version
from typing import TYPE_CHECKING

import keras
import numpy as np

from training import data, report
from training.distributed import devices
from training.engine import mixed_precision
from training.evaluation.evaluate import score
from training.history import best
from training.report import contact_sheet
from zoo import registry
from zoo.files import atomic

if TYPE_CHECKING:
    from training.engine.callbacks import TrainingRun
    from training.engine.prepared_data import PreparedData


def print_start(run: "TrainingRun", prepared: "PreparedData") -> None:
    """Print what is trained on which data, with notes about the data and the device; write split.csv and seen.png.

    Args:
        run: `training.engine.callbacks.TrainingRun`.
        prepared: `training.engine.prepared_data.PreparedData`.
    """
    recipe, trainer, source, splits = run.recipe, run.trainer, prepared.source, prepared.splits
    write = functools.partial(run.console.print, soft_wrap=True, markup=False, highlight=False)
    sizes = ", ".join(f"{len(splits[name] or ()):,} for {name}" for name in ("validation", "test"))
    write(
        f"{recipe.model} on {trainer.rows:,} images of {len(source.class_names):,} classes, {sizes}; "
        f"{trainer.description} on {keras.backend.backend()}{run.strategy.description}; run directory {run.out}"
    )
    for note in _notes(run, prepared):
        write(f"note: {note}")
    if run.history or run.step:
        return  # a resumed run has split.csv and seen.png from its start
    if splits["train"].names is not None:
        data.write_split(run.out / "split.csv", source, **splits)
    shape = trainer.classifier.input_image_shape
    title = contact_sheet.describe(recipe.model, recipe.augmentation)
    path = run.out / "seen.png"
    contact_sheet.draw(trainer.augmentation, splits["train"], source.class_names, shape, path, title, source.root)


def _notes(run, prepared):
    """Return what the user should know about the data and the arithmetic before the run."""
    recipe, source = run.recipe, prepared.source
    counts = data.class_counts(prepared.splits["train"], source.class_names)
    notes = [
        devices.describe_arithmetic(recipe.precision),
        mixed_precision.warning(recipe.precision),
        f"each image is used {recipe.data.repeat} times per epoch" if recipe.data.repeat > 1 else "",
        "unreadable images are skipped; the report and metrics.json list them" if source.problems else "",
        "" if recipe.data.balance else data.class_imbalance(counts),
        *data.duplicates_across_splits(**prepared.splits),
    ]
    return list(filter(None, notes))


def write_result(run: "TrainingRun", prepared: "PreparedData", seconds: float, about: dict) -> dict:
    """Evaluate the best epoch once, on the test split or else on validation, and write the result and the report.

    Args:
        run: `training.engine.callbacks.TrainingRun`.
        prepared: `training.engine.prepared_data.PreparedData`.
        seconds: duration of the run.
        about: extra entries for metrics.json.

    Returns:
        dict: the content of metrics.json.
    """
    run.write_history()  # again, because a kill may have come between the last checkpoint and its history.csv
    source, splits = prepared.source, prepared.splits
    split = "validation" if splits["test"] is None else "test"
    evaluation, best_epoch = score(registry.load(run.best_path), splits[split], split), best(run.history)
    metrics = {
        "recipe": run.recipe.model_dump(mode="json", exclude_none=True),
        "card": run.trainer.classifier.card,
        "epochs": len(run.history),
        "best_epoch": best_epoch["epoch"],
        **({"validation_error": round(best_epoch["val_error"], 4)} if "val_error" in best_epoch else {}),
        **({"test_error": round(evaluation.error, 4)} if split == "test" else {}),
        **evaluation.summary(),
        **about,
        "images_per_second": round(float(np.median([row["images_per_second"] for row in run.history]))),
        "wall_seconds": round(seconds, 1),
        "device": devices.describe_device(),
        "backend": f"{keras.backend.backend()}, keras {keras.__version__}",
        "versions": {name: version(name) for name in ("history-zoo", "keras", keras.backend.backend(), "numpy")},
        "date": datetime.date.today().isoformat(),
        "data_fingerprint": run.fingerprint,
        "class_counts": {name: data.class_counts(each, source.class_names) for name, each in splits.items() if each},
        "left_out": source.problems,
    }
    report.plot_mistakes(evaluation, splits[split], run.out / "mistakes.png")
    report.write_predictions(evaluation, splits[split], run.out / "predictions.csv")
    with atomic(run.out / "metrics.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
    report.write(run.out)
    return metrics
