"""Reads run directories, and writes and reads predictions.csv."""

import csv
import io
import json
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.samples import Samples, image_digests
from training.data.split_file import DIGEST_DIGITS
from training.evaluation.evaluate import Evaluation
from training.evaluation.metrics import ClassificationMetrics
from training.history import best
from zoo.errors import ZooError, printable
from zoo.files import atomic

COLUMNS = ("picture", "true", "answer", "margin", "sha256")
ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}  # a file name may not be UTF-8


@dataclass(frozen=True)
class SavedEvaluation(ClassificationMetrics):
    """The evaluation in predictions.csv.

    Attributes:
        class_names: tuple of str.
        labels: (n,) int, true labels.
        predictions: (n,) int, predicted labels.
        split: split of the images.
        images: (n,) str, paths of the images, or row numbers if the images are not files.
        margins: (n,) float, score of the true class minus the best other score.
        digests: (n,) str, first digits of the SHA-256 of the pixels.
    """

    class_names: tuple[str, ...]
    labels: np.ndarray
    predictions: np.ndarray
    split: str
    images: tuple[str, ...]
    margins: np.ndarray
    digests: tuple[str, ...]

    def most_confident_mistakes(self, count: int) -> list[tuple[str, str, str, float]]:
        """Return (image, true class, predicted class, lead of the predicted class in score), the largest lead first."""
        wrong = np.flatnonzero(self.predictions != self.labels)
        order = wrong[np.argsort(self.margins[wrong], kind="stable")][:count]
        names = self.class_names
        return [(self.images[i], names[self.labels[i]], names[self.predictions[i]], -self.margins[i]) for i in order]


@dataclass(frozen=True)
class Run:
    """The content of a run directory.

    Attributes:
        folder: the run directory.
        recipe: the recipe as a dict.
        history: list of dicts, one per epoch.
        metrics: the content of metrics.json; None if the run is not finished.
        evaluation: the content of predictions.csv; None if the run is not finished or has no such file.
    """

    folder: Path
    recipe: dict
    history: list[dict]
    metrics: dict | None = None
    evaluation: SavedEvaluation | None = None

    @property
    def best(self) -> dict:
        """The epoch with the best validation error, or the last one if there is no validation split."""
        return best(self.history)

    @property
    def marks(self) -> list[tuple[int, str]]:
        """(epoch, label) of the events to mark in the curves."""
        thawed = self.recipe["thaw"]["epochs"] if "thaw" in self.recipe else 0
        return [(thawed, "thawed")] if 0 < thawed < len(self.history) else []

    @property
    def next_commands(self) -> list[str]:
        """Commands that use the result of this run."""
        best = str(self.folder / "best.keras")
        if self.metrics is None:
            return [shlex.join(["zoo", "report", str(self.folder)])]
        return [
            shlex.join(["zoo", "export", best, "--to", "onnx", "--out", str(self.folder / "best.onnx")]),
            f"{shlex.join(['zoo', 'predict', best])} IMAGE",
        ]


def write_predictions(evaluation: Evaluation, samples: Samples, path: Path) -> None:
    """Write the prediction for each image to a CSV file.

    The columns are the path of the image, or its row if the samples have no names; the true class; the predicted class; the
    margin, which is the score of the true class minus the best other score, negative for a mistake; and the first digits of
    the SHA-256 of the pixels, which show whether two runs were evaluated on the same images.

    Args:
        evaluation: evaluation of the samples.
        samples: the evaluated samples.
        path: the file.
    """
    rows = np.arange(len(evaluation.labels))
    true_scores = evaluation.scores[rows, evaluation.labels]
    others = np.array(evaluation.scores, "float64")
    others[rows, evaluation.labels] = -np.inf
    digests = image_digests(samples.images) if samples.digests is None else samples.digests
    names = evaluation.class_names
    with atomic(path) as temporary, temporary.open("w", newline="", **ENCODING) as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row, margin in enumerate(true_scores - others.max(axis=1)):
            image = row if samples.names is None else printable(str(samples.names[row]))
            label, prediction = names[evaluation.labels[row]], names[evaluation.predictions[row]]
            writer.writerow((image, label, prediction, f"{margin:.6g}", digests[row].tobytes().hex()[:DIGEST_DIGITS]))


def read_run(folder: str | Path) -> Run:
    """Read a run directory.

    Args:
        folder: the run directory.

    Returns:
        `Run`.

    Raises:
        ZooError: if it is not a run directory, its first epoch is not finished, or a file in it is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ZooError(f"no folder {folder}; expected a run directory, written by `zoo train` or `zoo finetune` with --out")
    if not (folder / "recipe.toml").is_file():
        raise ZooError(
            f"{folder} is not a run directory: it has no recipe.toml; `zoo train` and `zoo finetune` write one with --out"
        )
    recipe = _parse(
        folder / "recipe.toml",
        lambda text: _require(tomllib.loads(text), "model", "data", "epochs", "seed"),
        "a run cannot be reported without it",
    )
    if not (folder / "history.csv").is_file():
        raise ZooError(f"{folder} has no history.csv: its first epoch is not finished; wait, or continue with --resume")
    history = _parse(folder / "history.csv", _parse_history)
    metrics = evaluation = None
    if (folder / "metrics.json").is_file():
        needed = ("part", "pictures", "wrong", "error", "error_by_class", "best_epoch", "data_fingerprint")
        metrics = _parse(folder / "metrics.json", lambda text: _require(json.loads(text), *needed))
    if metrics and (folder / "predictions.csv").is_file():
        evaluation = _parse(folder / "predictions.csv", lambda text: _parse_predictions(text, metrics))
    return Run(folder, recipe, history, metrics, evaluation)


def _parse(path, parse, remedy="run the command of the run with --resume to write it again"):
    """Parse a file. Errors name the file and the remedy."""
    try:
        with path.open(newline="", **ENCODING) as file:
            return parse(file.read())
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise ZooError(f"{path} is damaged: {str(error) or type(error).__name__}; {remedy}") from error


def _require(values, *keys):
    if not isinstance(values, dict) or not all(key in values for key in keys):
        raise ValueError(f"expected the keys {', '.join(keys)}")
    return values


def _parse_history(text):
    rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(io.StringIO(text))]
    if not rows or not all({"epoch", "loss", "error"} <= set(row) for row in rows):
        raise ValueError("expected the columns epoch, loss and error")
    return [{**row, "epoch": int(row["epoch"])} for row in rows]


def _parse_predictions(text, metrics):
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    names = tuple(metrics["error_by_class"])
    class_index = {name: index for index, name in enumerate(names)}
    if tuple(header) != COLUMNS:
        raise ValueError(f"expected the columns {', '.join(COLUMNS)}")
    images, true, predicted, margins, digests = zip(*rows, strict=True)
    labels, predictions = (np.array([class_index[name] for name in column]) for column in (true, predicted))
    if (len(labels), int(np.sum(labels != predictions))) != (metrics["pictures"], metrics["wrong"]):
        raise ValueError("it does not match metrics.json")
    return SavedEvaluation(names, labels, predictions, metrics["part"], images, np.array(margins, float), digests)
