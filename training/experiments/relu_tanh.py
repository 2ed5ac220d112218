"""ReLU versus tanh: epochs that a four-layer network needs for 25 % training error on CIFAR-10 (AlexNet, fig. 1).

In the paper the network with ReLU is six times as fast. Each learning rate was chosen for the fastest training, without any
regularization. Here each rate is chosen by two epochs on a subset of the images. The network is alexnet-cifar without
normalization, on the center crop of each image. The training error of an epoch is averaged while the weights change.
"""

import json
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console
from rich.table import Table

from training import data as sources
from training import keras_objects, report
from training.engine import fused_steps
from zoo import console, registry
from zoo.files import atomic

ACTIVATIONS = ("relu", "tanh")
RATES = (0.0003, 0.001, 0.003, 0.01)
GOAL = 25.0  # percent of training error
PUBLISHED = 6.0
EPOCHS = 40
TRIAL = 2, 10_000  # epochs, and images evenly spaced in the training split
BATCH = 128


def run(out: Path, seeds: int = 1, data: str = "cifar10", epochs: int = EPOCHS) -> dict:
    """Train both networks to 25 % training error; print a table, plot the curves, and write result.json.

    Args:
        out: folder for result.json and relu_tanh.png.
        seeds: number of runs of each network.
        data: name of a data set with ten classes; see `training.data.load`.
        epochs: maximum number of epochs.

    Returns:
        dict: for each activation `rate`; `errors`, the training errors of each run by epoch, in percent; `epochs`, the
        epochs to the goal of each run, None if it was not reached.
    """
    image_spec = registry.card("alexnet-cifar").picture.model_dump()
    train, *_ = sources.split(sources.load(data, image_spec), 0, 0, seed=1)
    result = {}
    with console.progress() as progress:
        for activation in ACTIVATIONS:
            task = progress.add_task(f"{activation}: trying rates", total=len(RATES))
            trials = {}
            for rate in RATES:
                trials[rate] = _errors(
                    train[:: max(1, len(train) // TRIAL[1])], activation, rate, 0, TRIAL[0], lambda: None
                )[-1]
                progress.advance(task)
            rate = min(trials, key=trials.get)
            task = progress.add_task(f"{activation}, rate {rate:g}", total=seeds * epochs)
            curves = [
                _errors(train, activation, rate, seed, epochs, lambda task=task: progress.advance(task))
                for seed in range(1, seeds + 1)
            ]
            result[activation] = {"rate": rate, "errors": curves, "epochs": [epochs_to_goal(curve) for curve in curves]}
    with atomic(out / "result.json") as temporary:
        temporary.write_text(json.dumps({"seeds": seeds, "published_ratio": PUBLISHED, **result}, indent=2) + "\n", "utf-8")
    _draw(result, out / "relu_tanh.png")
    Console().print(_table(result))
    return result


def _errors(train, activation, rate, seed, epochs, advance):
    """Train until the goal and return the training error of each epoch, in percent."""
    keras.utils.set_random_seed(seed)
    card = registry.card("alexnet-cifar")
    network = registry.build("alexnet-cifar", activation=activation, normalization=False)
    machine = registry.wrap(network, card, range(network.output_shape[-1]))
    trainer = fused_steps.make(machine, [], train.images, train.labels, BATCH)
    trainer.prepare(keras.optimizers.SGD(rate, momentum=0.9), keras_objects.loss(card.loss))
    until = _UntilGoal(advance)
    steps = trainer.steps_per_epoch
    trainer.fit(
        trainer.train_dataset(seed, 0), steps_per_epoch=steps, epochs=epochs, shuffle=False, verbose=0, callbacks=[until]
    )
    return until.errors


class _UntilGoal(keras.callbacks.Callback):
    """Records the training error of each epoch, in percent, and stops at the goal or when the loss is not finite."""

    def __init__(self, advance):
        super().__init__()
        self.errors = []
        self.advance = advance

    def on_epoch_end(self, epoch, logs=None):
        finite = np.isfinite(logs["loss"])
        self.errors.append(100 * (1 - float(logs["accuracy"])) if finite else 100.0)
        self.advance()
        self.model.stop_training = not finite or self.errors[-1] <= GOAL


def epochs_to_goal(errors: list[float]) -> float | None:
    """Return the epoch, interpolated linearly, at which the error reaches the goal, or None if it never does.

    Args:
        errors: training error of each epoch, in percent.
    """
    reached = [number for number, error in enumerate(errors) if error <= GOAL]
    if not reached:
        return None
    first = reached[0]
    if first == 0:
        return 1.0
    before, after = errors[first - 1], errors[first]
    return first + (before - GOAL) / (before - after)


def ratio(result: dict) -> tuple[float | None, bool]:
    """Return the ratio of the epochs of tanh to those of ReLU, and whether tanh reached the goal in every run.

    If tanh did not reach the goal, the ratio is a lower bound. If ReLU did not, the ratio is None.
    """
    relu, tanh = (result[activation] for activation in ACTIVATIONS)
    if not all(relu["epochs"]):
        return None, False
    taken = [epochs or len(curve) for epochs, curve in zip(tanh["epochs"], tanh["errors"], strict=True)]
    return float(np.mean(taken) / np.mean(relu["epochs"])), all(tanh["epochs"])


def _table(result):
    table = Table(title=f"Epochs to {GOAL:g} % training error on CIFAR-10")
    for column in ("activation", "rate", "epochs of each run", "last training error, %"):
        table.add_column(column)
    for activation, row in result.items():
        epochs = ", ".join("not reached" if each is None else f"{each:.1f}" for each in row["epochs"])
        last = ", ".join(f"{curve[-1]:.1f} after {len(curve)}" for curve in row["errors"])
        table.add_row(activation, f"{row['rate']:g}", epochs, last)
    found, reached = ratio(result)
    if found is not None:
        table.caption = f"tanh / relu: {'' if reached else 'more than '}{found:.1f}; published: {PUBLISHED:g}"
    return table


def _draw(result, path):
    """Plot the training error of each run by epoch, as in the paper: ReLU solid, tanh dashed."""
    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for (activation, row), line in zip(result.items(), ("-", "--"), strict=True):
        for number, curve in enumerate(row["errors"]):
            label = f"{activation}, rate {row['rate']:g}" if number == 0 else None
            axis.plot(range(1, len(curve) + 1), [error / 100 for error in curve], f"k{line}", label=label)
    axis.axhline(GOAL / 100, color="gray", linestyle=":")
    axis.set(xlabel="epochs", ylabel="training error rate", ylim=(0, 0.8), xlim=(0, None))
    axis.legend()
    report.save_figure(figure, path)
