"""The figures of a run: curves, confusion matrix, the worst mistakes; and the curves of several runs."""

import functools
import math
import warnings

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from training.history import best
from zoo.errors import printable
from zoo.files import atomic

MISTAKES = 12
ACROSS = 4  # mistakes in a row
MOST_CLASSES = 30  # that a matrix can name; of more, the pairs that are confused most are drawn
PAIRS = 20
LONGEST = 22  # characters of a name in a figure
TRAINING, VALIDATION, QUIET = "#2f6db3", "#d9601a", "#6b7280"
STYLE = {
    "text.parse_math": False,  # a class may be called $a$
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": QUIET,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "font.size": 10,
    "legend.frameon": False,
}


def styled(draw):
    """Draw in one style, and silently where the font lacks a letter of a name."""

    @functools.wraps(draw)
    def styled(*arguments, **options):
        with plt.rc_context(STYLE), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            return draw(*arguments, **options)

    return styled


@styled
def plot_curves(history, path, marks=()):
    """Draw loss and error of training and validation by epoch, and the learning rate where the history has it.

    Args:
        history: list of dicts, one an epoch, with loss, error, and perhaps val_loss, val_error, learning_rate; errors in
            percent.
        path: the PNG to write.
        marks: list of (epoch, words), drawn as lines at the end of that epoch.
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
        for epoch, words in marks:
            axis.axvline(epoch + 0.5, color=QUIET, linestyle=(0, (4, 3)), linewidth=1)
            if key == "loss":  # the next one has the legend there
                place = {"xy": (epoch + 0.5, 0.98), "xycoords": ("data", "axes fraction"), "va": "top"}
                axis.annotate(f" {words}", **place, color=QUIET, fontsize=8)
    if "val_error" in history[0]:
        top = best(history)
        words = f"best on validation: {top['val_error']:.2f} %, epoch {top['epoch']}"
        star = {"color": VALIDATION, "markersize": 14, "markeredgecolor": "white"}
        axes[1].plot(top["epoch"], top["val_error"], "*", **star, label=words)
    axes[1].legend()
    save_figure(figure, path)


@styled
def plot_comparison(runs, path):
    """Draw the loss and error of several runs by epoch, on validation where all have it.

    Args:
        runs: list of (name, history), each history as for `curves`.
        path: the PNG to write.
    """
    validated = all("val_error" in history[0] for _, history in runs)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    colors = plt.get_cmap("tab10" if len(runs) <= 10 else "turbo")(
        np.arange(len(runs)) if len(runs) <= 10 else np.linspace(0, 1, len(runs))
    )
    for axis, key, label in zip(axes, ("loss", "error"), ("loss", "error, %"), strict=True):
        for (name, history), color in zip(runs, colors, strict=True):
            _line(axis, history, f"val_{key}" if validated else key, color=color, label=short(name, 2 * LONGEST))
        _by_epoch(axis, f"{'validation' if validated else 'training'} {label}")
    axes[1].legend()
    save_figure(figure, path)


def _line(axis, history, key, **options):
    epochs = [row["epoch"] for row in history]
    axis.plot(epochs, [row[key] for row in history], marker="." if len(history) <= 60 else None, linewidth=1.8, **options)


def _by_epoch(axis, label):
    """Label the axes; values that span more than a power of ten get a logarithmic one."""
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
def plot_confusion_matrix(evaluation, path):
    """Draw the confusion matrix, a row a true class, a column an answer: what is right in blue, what is wrong in red.

    A cell is as dark as its share of the row. Of more classes than a matrix can name, the pairs that are confused most are
    drawn as bars.

    Args:
        evaluation: `training.evaluation.metrics.Answers`.
        path: the PNG to write.
    """
    wrong = np.sum(evaluation.predictions != evaluation.labels)
    title = f"{wrong:,} wrong of {len(evaluation.labels):,}: {evaluation.error:.2f} %"
    names = [short(name) for name in evaluation.class_names]
    if len(names) > MOST_CLASSES:
        _pairs(evaluation.confused()[:PAIRS], title, path)
        return
    counts = evaluation.confusion()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    right = np.eye(len(names), dtype=bool)
    darkest = max(0.1, shares[~right].max(initial=0))
    colors = np.where(right[..., None], plt.get_cmap("Blues")(0.75 * shares), plt.get_cmap("Reds")(0.75 * shares / darkest))
    colors[counts == 0] = to_rgba("#f6f7f8")
    side = 2.6 + 0.44 * len(names)
    figure, axis = plt.subplots(figsize=(side, side), layout="constrained")
    axis.imshow(colors)
    for row, column in zip(*counts.nonzero(), strict=True):
        ink = "white" if colors[row, column, :3] @ (0.3, 0.59, 0.11) < 0.5 else "black"
        axis.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", fontsize=9, color=ink)
    axis.set(xticks=range(len(names)), yticks=range(len(names)), xlabel="answer", ylabel="true class", title=title)
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
    """Draw how often each (true class, answer, count) came about."""
    figure, axis = plt.subplots(figsize=(8, 1.2 + 0.28 * max(1, len(pairs))), layout="constrained")
    bars = axis.barh(
        [f"{short(true)} → {short(answer)}" for true, answer, _ in pairs], [count for *_, count in pairs], color=VALIDATION
    )
    axis.bar_label(bars, padding=3, fontsize=8)
    axis.invert_yaxis()
    axis.set(title=f"{title}\nmost confused: true class → answer", xlabel="pictures")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    save_figure(figure, path)


@styled
def plot_mistakes(evaluation, samples, path):
    """Draw the pictures that were most confidently wrong, with true class, answer, and the file where that is known.

    Args:
        evaluation: `training.evaluation.evaluate.Evaluation` of the samples.
        samples: `training.data.Samples`.
        path: the PNG to write.
    """
    worst, names = evaluation.wrong[:MISTAKES], [short(name) for name in evaluation.class_names]
    columns, rows = max(2, min(ACROSS, len(worst))), max(1, math.ceil(len(worst) / ACROSS))
    size = 2.5 * columns, 3.05 * rows + 0.3
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for axis in axes.flat[len(worst) :]:
        axis.axis("off")
    for axis, index in zip(axes.flat, worst, strict=False):
        picture = samples.images[index]
        grey = picture.shape[-1] == 1
        pixels = "nearest" if max(picture.shape[:2]) <= 64 else "antialiased"
        axis.imshow(picture.squeeze(-1) if grey else picture, cmap="gray", vmin=0, vmax=255, interpolation=pixels)
        label, answer = names[evaluation.labels[index]], names[evaluation.predictions[index]]
        line = "" if len(label + answer) <= LONGEST else "\n"
        axis.set_title(f"{label} {line}→ {answer}", loc="center", pad=4)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        if samples.names is not None:
            axis.set_xlabel(short(samples.names[index], 34, end=True), fontsize=7, color=QUIET)
    number = len(evaluation.wrong)
    counted = f"the {MISTAKES} most confident of {number:,} mistakes" if number > MISTAKES else f"mistakes: {number}"
    figure.suptitle(f"{counted}; true class → answer", color=QUIET, fontsize=10)
    save_figure(figure, path)


def short(name, longest=LONGEST, end=False):
    """Return a name as a figure can show it, on one line; of a long one the beginning, or the end."""
    name = printable(str(name))
    if len(name) <= longest:
        return name
    return f"…{name[1 - longest :]}" if end else f"{name[: longest - 1]}…"


def save_figure(figure, path):
    """Write a figure as a PNG file, atomically, and close it."""
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=144)
    plt.close(figure)
