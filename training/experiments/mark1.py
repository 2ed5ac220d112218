"""Mark I: accuracy on squares and circles of one or several sizes and on E and F, with random wiring, compared with 1960.

The accuracies of 1960 are published, the images are not. The table shows how much the result depends on them: with squares
and circles of one size the machine reaches the published accuracy, with varying sizes it does not.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console
from rich.table import Table

from training import data, keras_objects, report
from training.data.synthetic import square_circle
from training.engine import fused_steps
from training.evaluation.evaluate import score
from zoo import console, registry
from zoo.files import atomic

if TYPE_CHECKING:
    from zoo.classifier import Classifier


@dataclass(frozen=True)
class Task:
    """A task with two classes of figures.

    Attributes:
        name: name in the table.
        source: function that returns the images.
        associations: number of association units.
        passes: number of epochs.
        published: published accuracy in percent, as text.
    """

    name: str
    source: Callable[[], data.Source]
    associations: int
    passes: int
    published: str


def _e_and_f():
    return data.load("drawn:ef", registry.card("mark1").picture.model_dump())


# Squares and circles: 10,000 images, one epoch.
TASKS = (
    *(
        Task(f"square or circle, {name} px", lambda widths=widths: square_circle.of_widths(*widths), 500, 1, "99.8")
        for name, widths in {"13": (13, 13), "12-14": (12, 14), "10-16": (10, 16), "6-17": (6, 17)}.items()
    ),
    Task("E or F, 60 images", _e_and_f, 512, 20, "> 80"),
)


def run(out: Path, seeds: int = 3) -> dict:
    """Train machines with different wirings on each task; print and plot their accuracies, and write result.json.

    Args:
        out: folder for result.json and mark1.png.
        seeds: number of random wirings; each has its own order of the images.

    Returns:
        dict: for each task by name, `published`, a string, and `accuracy`, the test accuracies in percent, one per seed.
    """
    result, drawn = {}, {}
    for task in console.track(TASKS, "training"):
        source = task.source()
        trained = [train(task, source, seed) for seed in range(1, seeds + 1)]
        accuracy = [100 - score(machine, source.splits["test"]).error for machine in trained]
        result[task.name] = {"published": task.published, "accuracy": accuracy}
        drawn[task.name] = templates(trained[0])
    with atomic(out / "result.json") as temporary:
        temporary.write_text(json.dumps({"seeds": seeds, **result}, indent=2) + "\n", "utf-8")
    _draw(result, drawn, out / "mark1.png")
    Console().print(_table(result))
    return result


def train(task: Task, source: data.Source, seed: int) -> "Classifier":
    """Train a machine by Rosenblatt's rule. The seed determines its wiring and the order of the images."""
    keras.utils.set_random_seed(seed)
    card = registry.card("mark1")
    net = registry.build("mark1", classes=len(source.class_names), associations=task.associations, seed=seed)
    machine = registry.wrap(net, card, source.class_names)
    samples = source.splits["train"]
    trainer = fused_steps.make(machine, [], samples.images, samples.labels, 1)
    trainer.prepare(keras.optimizers.SGD(1.0), keras_objects.loss(card.loss))
    steps = trainer.steps_per_epoch
    trainer.fit(trainer.train_dataset(seed, 0), steps_per_epoch=steps, epochs=task.passes, shuffle=False, verbose=0)
    return machine


def templates(machine: "Classifier") -> dict[str, np.ndarray]:
    """Return the effective weights of each R-unit on the retina, (20, 20) arrays by class name."""
    weights = machine.net.get_layer("response").kernel
    found = keras.ops.convert_to_numpy(machine.net.get_layer("association").project_to_input(weights))
    return {name: found[:, unit].reshape(20, 20) for unit, name in enumerate(machine.class_names)}


def _table(result):
    table = Table(title="Mark I: test accuracy, %")
    for column in ("task", "measured, mean", "range", "published"):
        table.add_column(column)
    for name, row in result.items():
        values = row["accuracy"]
        table.add_row(name, f"{np.mean(values):.2f}", f"{min(values):.2f} to {max(values):.2f}", row["published"])
    return table


def _draw(result, drawn, path):
    """Plot one row per task: the accuracy of each machine, and the templates of the first."""
    figure, axes = plt.subplots(
        len(drawn), 3, figsize=(8, 2 * len(drawn)), layout="constrained", width_ratios=(2, 1, 1), squeeze=False
    )
    for (dots, *fields), (name, found) in zip(axes, drawn.items(), strict=True):
        values = result[name]["accuracy"]
        dots.plot(values, np.zeros(len(values)), "o", alpha=0.5)
        dots.axvline(float(result[name]["published"].lstrip("> ")), color="gray", linestyle=":")
        dots.set(xlim=(50, 101), yticks=[], xlabel="accuracy, %; dotted: published", title=name)
        for field, (title, template) in zip(fields, found.items(), strict=True):
            limit = np.abs(template).max() or 1
            field.imshow(template, cmap="RdBu_r", vmin=-limit, vmax=limit)
            field.set(title=title, xticks=[], yticks=[])
    report.save_figure(figure, path)
