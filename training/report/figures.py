"""Figures of runs: learning curves, confusion matrix, most confident mistakes, and the curves of several runs."""

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from training.data import Samples
from training.evaluation.evaluate import Evaluation
from training.evaluation.metrics import ClassificationMetrics
from training.history import best
from zoo.errors import printable
from zoo.files import atomic

MISTAKES = 12  # images in the figure of mistakes
COLUMNS = 4
MAX_MATRIX_CLASSES = 30  # with more classes the most confused pairs are plotted instead of the matrix
PAIRS = 20
MAX_NAME = 22  # characters
TRAINING, VALIDATION, QUIET = "#2f6db3", "#d9601a", "#6b7280"
STYLE = {
    "text.parse_math": False,  # a class name may contain $
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": QUIET,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "font.size": 10,
    "legend.frameon": False,
}


def styled(plot: Callable) -> Callable:
    """Decorate a plot function: use the style of this module, and ignore characters that the font lacks."""

    @functools.wraps(plot)
    def styled_plot(*arguments, **options):
        with plt.rc_context(STYLE), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            return plot(*arguments, **options)

    return styled_plot


@styled
def plot_curves(history: list[dict], path: Path, marks: Sequence[tuple[int, str]] = ()) -> None:
    """Plot training and validation loss and error by epoch, and the learning rate if the history has it.

    Args:
        history: one dict per epoch: loss, error, and optionally val_loss, val_error, learning_rate. Errors are in percent.
        path: the PNG file.
        marks: (epoch, label) of events, drawn as vertical lines at the end of the epoch.
    """
    panels = [("loss", "loss"), ("error", "error, %")]
    if "learning_rate" in history[0]:
        panels.append(("learning_rate", "learning rate"))
    figure, axes = plt.subplots(1, len(panels), figsize=(4.6 * len(panels), 3.7), layout="constrained")
    for axis, (key, label) in zip(axes, panels, strict=True):
        _line(axis, history, key, color=QUIET if key == "learning_rate" else TRAINING, label="training")
        if f"val_{key}" in history[0]:
            _line(axis, history, f"val_{key}", color=VALIDATION, label="validation")
        _by_epoch(axis, label)
        for epoch, event in marks:
            axis.axvline(epoch + 0.5, color=QUIET, linestyle=(0, (4, 3)), linewidth=1)
            if key == "loss":  # the next panel has its legend there
                place = {"xy": (epoch + 0.5, 0.98), "xycoords": ("data", "axes fraction"), "va": "top"}
                axis.annotate(f" {event}", **place, color=QUIET, fontsize=8)
    if "val_error" in history[0]:
        top = best(history)
        words = f"best validation error: {top['val_error']:.2f} %, epoch {top['epoch']}"
        star = {"color": VALIDATION, "markersize": 14, "markeredgecolor": "white"}
        axes[1].plot(top["epoch"], top["val_error"], "*", **star, label=words)
    axes[1].legend()
    save_figure(figure, path)


@styled
def plot_comparison(runs: list[tuple[str, list[dict]]], path: Path) -> None:
    """Plot the loss and error of several runs by epoch: of validation if all runs have it, otherwise of training.

    Args:
        runs: (name, history) of each run; see `plot_curves` for the history.
        path: the PNG file.
    """
    validated = all("val_error" in history[0] for _, history in runs)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    colors = plt.get_cmap("tab10" if len(runs) <= 10 else "turbo")(
        np.arange(len(runs)) if len(runs) <= 10 else np.linspace(0, 1, len(runs))
    )
    for axis, key, label in zip(axes, ("loss", "error"), ("loss", "error, %"), strict=True):
        for (name, history), color in zip(runs, colors, strict=True):
            _line(axis, history, f"val_{key}" if validated else key, color=color, label=short(name, 2 * MAX_NAME))
        _by_epoch(axis, f"{'validation' if validated else 'training'} {label}")
    axes[1].legend()
    save_figure(figure, path)


def _line(axis, history, key, **options):
    epochs = [row["epoch"] for row in history]
    axis.plot(epochs, [row[key] for row in history], marker="." if len(history) <= 60 else None, linewidth=1.8, **options)


def _by_epoch(axis, label):
    """Label the axes. The scale is logarithmic if the values span more than a factor of ten."""
    values = np.concatenate([line.get_ydata() for line in axis.lines])
    if values.min() > 0 and values.max() > 10 * values.min():
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
    else:
        axis.set_ylim(bottom=0)
    axis.set(xlabel="epoch", title=label)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.25)


@styled
def plot_confusion_matrix(evaluation: ClassificationMetrics, path: Path) -> None:
    """Plot the confusion matrix: one row per true class, one column per predicted class, mistakes in red.

    The darkness of a cell is its share of the row. With more than `MAX_MATRIX_CLASSES` classes, plot the most confused pairs
    as bars.

    Args:
        evaluation: labels and predictions.
        path: the PNG file.
    """
    wrong = np.sum(evaluation.predictions != evaluation.labels)
    title = f"{wrong:,} wrong of {len(evaluation.labels):,}: {evaluation.error:.2f} %"
    names = [short(name) for name in evaluation.class_names]
    if len(names) > MAX_MATRIX_CLASSES:
        _pairs(evaluation.confused_pairs()[:PAIRS], title, path)
        return
    counts = evaluation.confusion_matrix()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    correct = np.eye(len(names), dtype=bool)
    darkest = max(0.1, shares[~correct].max(initial=0))
    colors = np.where(
        correct[..., None], plt.get_cmap("Blues")(0.75 * shares), plt.get_cmap("Reds")(0.75 * shares / darkest)
    )
    colors[counts == 0] = to_rgba("#f6f7f8")
    side = 2.6 + 0.44 * len(names)
    figure, axis = plt.subplots(figsize=(side, side), layout="constrained")
    axis.imshow(colors)
    for row, column in zip(*counts.nonzero(), strict=True):
        ink = "white" if colors[row, column, :3] @ (0.3, 0.59, 0.11) < 0.5 else "black"
        axis.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", fontsize=9, color=ink)
    axis.set(xticks=range(len(names)), yticks=range(len(names)), xlabel="predicted class", ylabel="true class", title=title)
    axis.set_xticklabels(names, rotation=0 if max(map(len, names)) <= 3 else 90)
    axis.set_yticklabels(names)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axis.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axis.grid(which="minor", color="white", linewidth=1)
    axis.tick_params(which="minor", length=0)
    save_figure(figure, path)


def _pairs(pairs, title, path):
    """Plot the count of each (true class, predicted class, count) as a bar."""
    figure, axis = plt.subplots(figsize=(8, 1.2 + 0.28 * max(1, len(pairs))), layout="constrained")
    bars = axis.barh(
        [f"{short(true)} → {short(predicted)}" for true, predicted, _ in pairs],
        [count for *_, count in pairs],
        color=VALIDATION,
    )
    axis.bar_label(bars, padding=3, fontsize=8)
    axis.invert_yaxis()
    axis.set(title=f"{title}\nmost confused: true class → predicted class", xlabel="images")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    save_figure(figure, path)


@styled
def plot_mistakes(evaluation: Evaluation, samples: Samples, path: Path) -> None:
    """Plot the most confidently misclassified images with true class, predicted class, and file name if there is one.

    Args:
        evaluation: evaluation of the samples.
        samples: the evaluated samples.
        path: the PNG file.
    """
    shown, names = evaluation.wrong[:MISTAKES], [short(name) for name in evaluation.class_names]
    columns, rows = max(2, min(COLUMNS, len(shown))), max(1, math.ceil(len(shown) / COLUMNS))
    size = 2.5 * columns, 3.05 * rows + 0.3
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for axis in axes.flat[len(shown) :]:
        axis.axis("off")
    for axis, index in zip(axes.flat, shown, strict=False):
        image = samples.images[index]
        gray = image.shape[-1] == 1
        pixels = "nearest" if max(image.shape[:2]) <= 64 else "antialiased"
        axis.imshow(image.squeeze(-1) if gray else image, cmap="gray", vmin=0, vmax=255, interpolation=pixels)
        label, predicted = names[evaluation.labels[index]], names[evaluation.predictions[index]]
        line = "" if len(label + predicted) <= MAX_NAME else "\n"
        axis.set_title(f"{label} {line}→ {predicted}", loc="center", pad=4)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        if samples.names is not None:
            axis.set_xlabel(short(samples.names[index], 34, end=True), fontsize=7, color=QUIET)
    number = len(evaluation.wrong)
    counted = f"the {MISTAKES} most confident of {number:,} mistakes" if number > MISTAKES else f"mistakes: {number}"
    figure.suptitle(f"{counted}; true class → predicted class", color=QUIET, fontsize=10)
    save_figure(figure, path)


def short(name: str, longest: int = MAX_NAME, end: bool = False) -> str:
    """Shorten a name for a figure and escape line breaks. Keep the beginning of a long name, or its end."""
    name = printable(str(name))
    if len(name) <= longest:
        return name
    return f"…{name[1 - longest :]}" if end else f"{name[: longest - 1]}…"


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure to a PNG file, atomically, and close it."""
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=144)
    plt.close(figure)
