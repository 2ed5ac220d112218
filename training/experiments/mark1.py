"""Mark I: what its random plugboard can tell apart, figures of one size or of many, E from F, beside the results of 1960.

The accuracies of 1960 are known, the pictures are not. The table shows how much hangs on them: with squares and circles of
one size the machine is as good as they said, with sizes that vary it is not.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Task:
    """Two classes of figures, how often the machine is shown them, and the published accuracy, in percent."""

    name: str
    source: Callable[[], data.Source]
    associations: int
    passes: int
    published: str


def _e_and_f():
    return data.load("drawn:ef", registry.card("mark1").picture.model_dump())


# Squares and circles: 10,000 images, each shown once.
TASKS = (
    *(
        Task(f"square or circle, {name} px", lambda widths=widths: square_circle.of_widths(*widths), 500, 1, "99.8")
        for name, widths in {"13": (13, 13), "12-14": (12, 14), "10-16": (10, 16), "6-17": (6, 17)}.items()
    ),
    Task("E or F, 60 images", _e_and_f, 512, 20, "> 80"),
)


def run(out, seeds=3):
    """Teach machines of different wirings each task; print and draw their accuracies, and write result.json.

    Args:
        out: the folder for result.json and mark1.png.
        seeds: number of wirings; each has its own order of the pictures.

    Returns:
        dict: by name of the task, published, a string, and accuracy, a list of percent on the test part, one a seed.
    """
    result, drawn = {}, {}
    for task in console.track(TASKS, "learning"):
        source = task.source()
        taught = [learn(task, source, seed) for seed in range(1, seeds + 1)]
        accuracy = [100 - score(machine, source.splits["test"]).error for machine in taught]
        result[task.name] = {"published": task.published, "accuracy": accuracy}
        drawn[task.name] = templates(taught[0])
    with atomic(out / "result.json") as temporary:
        temporary.write_text(json.dumps({"seeds": seeds, **result}, indent=2) + "\n", "utf-8")
    _draw(result, drawn, out / "mark1.png")
    Console().print(_table(result))
    return result


def learn(task, source, seed):
    """Return a machine whose wiring and whose order of the pictures follow from a seed, taught by Rosenblatt's rule."""
    keras.utils.set_random_seed(seed)
    card = registry.card("mark1")
    net = registry.build("mark1", classes=len(source.class_names), associations=task.associations, seed=seed)
    machine = registry.wrap(net, card, source.class_names)
    train = source.splits["train"]
    trainer = fused_steps.make(machine, [], train.images, train.labels, 1)
    trainer.prepare(keras.optimizers.SGD(1.0), keras_objects.loss(card.loss))
    steps = trainer.steps_per_epoch
    trainer.fit(trainer.feed(seed, 0), steps_per_epoch=steps, epochs=task.passes, shuffle=False, verbose=0)
    return machine


def templates(machine):
    """Return what each R-unit looks for on the retina, by class name: (20, 20) arrays."""
    weights = machine.net.get_layer("response").kernel
    found = keras.ops.convert_to_numpy(machine.net.get_layer("association").project_to_input(weights))
    return {name: found[:, unit].reshape(20, 20) for unit, name in enumerate(machine.class_names)}


def _table(result):
    table = Table(title="Mark I: accuracy on the test pictures, %")
    for column in ("task", "measured, mean", "range", "published"):
        table.add_column(column)
    for name, row in result.items():
        values = row["accuracy"]
        table.add_row(name, f"{np.mean(values):.2f}", f"{min(values):.2f} to {max(values):.2f}", row["published"])
    return table


def _draw(result, drawn, path):
    """Draw a row a task: the accuracy of each machine, and the templates of the first."""
    figure, axes = plt.subplots(
        len(drawn), 3, figsize=(8, 2 * len(drawn)), layout="constrained", width_ratios=(2, 1, 1), squeeze=False
    )
    for (dots, *fields), (name, found) in zip(axes, drawn.items(), strict=True):
        values = result[name]["accuracy"]
        dots.plot(values, np.zeros(len(values)), "o", alpha=0.5)
        dots.axvline(float(result[name]["published"].lstrip("> ")), color="grey", linestyle=":")
        dots.set(xlim=(50, 101), yticks=[], xlabel="accuracy, %; dotted: published", title=name)
        for field, (title, template) in zip(fields, found.items(), strict=True):
            limit = np.abs(template).max() or 1
            field.imshow(template, cmap="RdBu_r", vmin=-limit, vmax=limit)
            field.set(title=title, xticks=[], yticks=[])
    report.save_figure(figure, path)
