"""What people would rather look at than read: curves, confusion matrix, the worst mistakes."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator

from zoo.files import atomic

MISTAKES = 12


def curves(history, path):
    """Draw loss and error of training and validation by epoch.

    Args:
        history: list of dicts, one an epoch, with loss, error, val_loss, val_error; errors in percent.
        path: the PNG to write.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    epochs = [row["epoch"] for row in history]
    for axis, key, label in zip(axes, ("loss", "error"), ("loss", "error, %"), strict=True):
        axis.plot(epochs, [row[key] for row in history], label="training", marker=".")
        if f"val_{key}" in history[0]:
            axis.plot(epochs, [row[f"val_{key}"] for row in history], label="validation", marker=".")
        axis.set(xlabel="epoch", ylabel=label, yscale="log" if min(row[key] for row in history) > 0 else "linear")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
    if "val_error" in history[0]:
        best = min(history, key=lambda row: (row["val_error"], row["val_loss"]))
        axes[1].axvline(best["epoch"], color="grey", linestyle=":", label="best on validation")
    axes[1].legend()
    save(figure, path)


def confusion(evaluation, path):
    """Draw the confusion matrix, a row a true class, a column an answer; the diagonal is left pale so that errors show.

    Args:
        evaluation: `training.evaluation.Evaluation`.
        path: the PNG to write.
    """
    counts = evaluation.confusion()
    names = evaluation.class_names
    wrong = counts.copy()
    wrong[range(len(names)), range(len(names))] = 0
    side = min(16, 2.5 + 0.45 * len(names))
    figure, axis = plt.subplots(figsize=(side, side), layout="constrained")
    axis.imshow(wrong, cmap="Reds")
    if len(names) <= 30:
        for (row, column), count in ((index, counts[index]) for index in zip(*counts.nonzero(), strict=True)):
            ink = "white" if wrong[row, column] > 0.6 * wrong.max() else "black"
            axis.text(column, row, str(count), ha="center", va="center", fontsize=7, color=ink)
    axis.set(xticks=range(len(names)), yticks=range(len(names)), xlabel="answer", ylabel="true class")
    axis.set_xticklabels(names, rotation=90)
    axis.set_yticklabels(names)
    axis.set_title(f"{len(evaluation.wrong)} wrong of {len(evaluation.labels)}: {evaluation.error:.2f} %")
    save(figure, path)


def mistakes(evaluation, samples, path):
    """Draw the pictures that were most confidently wrong.

    Args:
        evaluation: `training.evaluation.Evaluation` of the samples.
        samples: `training.data.Samples`.
        path: the PNG to write.
    """
    figure, axes = plt.subplots(2, MISTAKES // 2, figsize=(MISTAKES, 4.6), layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for axis, index in zip(axes.flat, evaluation.wrong, strict=False):
        names = evaluation.class_names
        picture = samples.pictures[index]
        axis.imshow(picture.squeeze(-1) if picture.shape[-1] == 1 else picture, cmap="gray", vmin=0, vmax=255)
        axis.set_title(f"{names[evaluation.labels[index]]} read as {names[evaluation.predictions[index]]}", fontsize=9)
    figure.suptitle(f"the {min(MISTAKES, len(evaluation.wrong))} most confident mistakes")
    save(figure, path)


def save(figure, path):
    """Write a figure as a PNG file, atomically, and close it."""
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    plt.close(figure)
