"""ReLU against tanh: how many epochs a four-layer net needs to 25 % training error on CIFAR-10, fig. 1 of AlexNet's paper.

The paper says that the net with ReLU is six times as fast, that the rate of each was chosen to make it as fast as possible,
and that nothing regularized them. The rates are chosen here by a trial of two epochs on a part of the pictures. The net is
alexnet-cifar without normalization, which sees the middle of each picture; an epoch's error is counted while it learns.
"""

import json

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
TRIAL = 2, 10_000  # epochs, pictures, evenly spread over the training part
BATCH = 128


def run(out, seeds=1, data="cifar10", epochs=EPOCHS):
    """Train both nets until they err in 25 % of the training pictures; print and draw the curves, and write result.json.

    Args:
        out: the folder for result.json and relu_tanh.png.
        seeds: number of starts of each net.
        data: what `training.data.load` takes: pictures of ten classes.
        epochs: how long a net is trained at most.

    Returns:
        dict: by activation, its rate, the training errors by epoch of each start, in percent, and the epochs to the goal,
        None where it was not reached.
    """
    picture = registry.card("alexnet-cifar").picture.model_dump()
    train, *_ = sources.split(sources.load(data, picture), 0, 0, seed=1)
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
            result[activation] = {"rate": rate, "errors": curves, "epochs": [to_goal(curve) for curve in curves]}
    with atomic(out / "result.json") as temporary:
        temporary.write_text(json.dumps({"seeds": seeds, "published_ratio": PUBLISHED, **result}, indent=2) + "\n", "utf-8")
    _draw(result, out / "relu_tanh.png")
    Console().print(_table(result))
    return result


def _errors(train, activation, rate, seed, epochs, advance):
    """Return the training error of each epoch, in percent, up to the first at the goal."""
    keras.utils.set_random_seed(seed)
    card = registry.card("alexnet-cifar")
    net = registry.build("alexnet-cifar", activation=activation, normalization=False)
    machine = registry.wrap(net, card, range(net.output_shape[-1]))
    trainer = fused_steps.make(machine, [], train.images, train.labels, BATCH)
    trainer.prepare(keras.optimizers.SGD(rate, momentum=0.9), keras_objects.loss(card.loss))
    until = _UntilGoal(advance)
    steps = trainer.steps_per_epoch
    trainer.fit(trainer.feed(seed, 0), steps_per_epoch=steps, epochs=epochs, shuffle=False, verbose=0, callbacks=[until])
    return until.errors


class _UntilGoal(keras.callbacks.Callback):
    """Keeps the training error of each epoch, in percent, and stops at the goal, or where the loss is no number any more."""

    def __init__(self, advance):
        super().__init__()
        self.errors = []
        self.advance = advance

    def on_epoch_end(self, epoch, logs=None):
        finite = np.isfinite(logs["loss"])
        self.errors.append(100 * (1 - float(logs["accuracy"])) if finite else 100.0)
        self.advance()
        self.model.stop_training = not finite or self.errors[-1] <= GOAL


def to_goal(errors):
    """Return after how many epochs a curve crosses the goal, a straight line between two epochs; None if it never does."""
    below = [number for number, error in enumerate(errors) if error <= GOAL]
    if not below:
        return None
    first = below[0]
    if first == 0:
        return 1.0
    before, after = errors[first - 1], errors[first]
    return first + (before - GOAL) / (before - after)


def ratio(result):
    """Return how many times the epochs of ReLU tanh takes, and whether it arrived: if not, the ratio is more than that.

    Where ReLU did not arrive there is no ratio, and None stands for it.
    """
    relu, tanh = (result[activation] for activation in ACTIVATIONS)
    if not all(relu["epochs"]):
        return None, False
    taken = [epochs or len(curve) for epochs, curve in zip(tanh["epochs"], tanh["errors"], strict=True)]
    return float(np.mean(taken) / np.mean(relu["epochs"])), all(tanh["epochs"])


def _table(result):
    table = Table(title=f"Epochs to {GOAL:g} % training error on CIFAR-10")
    for column in ("activation", "rate", "epochs, each start", "last training error, %"):
        table.add_column(column)
    for activation, row in result.items():
        epochs = ", ".join("not reached" if each is None else f"{each:.1f}" for each in row["epochs"])
        last = ", ".join(f"{curve[-1]:.1f} after {len(curve)}" for curve in row["errors"])
        table.add_row(activation, f"{row['rate']:g}", epochs, last)
    found, arrived = ratio(result)
    if found is not None:
        table.caption = f"tanh / relu: {'' if arrived else 'more than '}{found:.1f}; published: {PUBLISHED:g}"
    return table


def _draw(result, path):
    """Draw the training error of each start by epoch, as in the paper: ReLU solid, tanh dashed."""
    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for (activation, row), line in zip(result.items(), ("-", "--"), strict=True):
        for number, curve in enumerate(row["errors"]):
            label = f"{activation}, rate {row['rate']:g}" if number == 0 else None
            axis.plot(range(1, len(curve) + 1), [error / 100 for error in curve], f"k{line}", label=label)
    axis.axhline(GOAL / 100, color="grey", linestyle=":")
    axis.set(xlabel="epochs", ylabel="training error rate", ylim=(0, 0.8), xlim=(0, None))
    axis.legend()
    report.save_figure(figure, path)
