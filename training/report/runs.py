"""What a run folder says, read back: its recipe, history, result, and the answer to each picture."""

import csv
import io
import json
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.samples import image_digests
from training.data.split_file import HEX
from training.evaluation.metrics import Answers
from training.history import best
from zoo.errors import ZooError, printable
from zoo.files import atomic

COLUMNS = ("picture", "true", "answer", "margin", "sha256")
ENCODED = {"encoding": "utf-8", "errors": "surrogateescape"}  # a file's name need not be UTF-8


@dataclass(frozen=True)
class Read(Answers):
    """The answers of predictions.csv; `images` are paths, or numbers where there are none; `hashes` are of the pixels."""

    class_names: tuple
    labels: np.ndarray
    predictions: np.ndarray
    split: str
    images: tuple
    margins: np.ndarray
    hashes: tuple

    def worst(self, most):
        """Return the most confident mistakes: a list of (picture, true class, answer, lead of that in score)."""
        wrong = np.flatnonzero(self.predictions != self.labels)
        order = wrong[np.argsort(self.margins[wrong], kind="stable")][:most]
        names = self.class_names
        return [(self.images[i], names[self.labels[i]], names[self.predictions[i]], -self.margins[i]) for i in order]


@dataclass(frozen=True)
class Run:
    """A run folder. `metrics` is None while the run is not finished, `answers` also where it holds no predictions.csv."""

    folder: Path
    recipe: dict
    history: list
    metrics: dict | None = None
    answers: Read | None = None

    @property
    def best(self):
        """The epoch that is best on validation, or the last where there is none, as a dict."""
        return best(self.history)

    @property
    def marks(self):
        """What happened after an epoch that its curves should show: list of (epoch, words)."""
        thawed = self.recipe["thaw"]["epochs"] if "thaw" in self.recipe else 0
        return [(thawed, "thawed")] if 0 < thawed < len(self.history) else []

    @property
    def next(self):
        """The commands that go on from here."""
        best = str(self.folder / "best.keras")
        if self.metrics is None:
            return [shlex.join(["zoo", "report", str(self.folder)])]
        return [
            shlex.join(["zoo", "export", best, "--to", "onnx", "--out", str(self.folder / "best.onnx")]),
            f"{shlex.join(['zoo', 'predict', best])} PICTURE",
        ]


def write_predictions(evaluation, samples, path):
    """Write the answer to each picture as a CSV file.

    Its columns are the picture, a path where the samples have names and else a number; its true class; the answer; the
    margin, the score of the true class less that of the best other one, which is below 0 for what is wrong; and the first
    digits of the sha256 of the pixels, by which two runs know that they were asked the same.

    Args:
        evaluation: `training.evaluation.evaluate.Evaluation` of the samples.
        samples: `training.data.Samples`.
        path: the file.
    """
    rows = np.arange(len(evaluation.labels))
    own = evaluation.scores[rows, evaluation.labels]
    others = np.array(evaluation.scores, "float64")
    others[rows, evaluation.labels] = -np.inf
    hashes = image_digests(samples.images) if samples.digests is None else samples.digests
    names = evaluation.class_names
    with atomic(path) as temporary, temporary.open("w", newline="", **ENCODED) as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row, margin in enumerate(own - others.max(axis=1)):
            picture = row if samples.names is None else printable(str(samples.names[row]))
            label, answer = names[evaluation.labels[row]], names[evaluation.predictions[row]]
            writer.writerow((picture, label, answer, f"{margin:.6g}", hashes[row].tobytes().hex()[:HEX]))


def read_run(folder):
    """Read a run folder.

    Args:
        folder: its path.

    Returns:
        `Run`.

    Raises:
        ZooError: if it is no run folder, nothing is finished in it yet, or a file in it is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ZooError(f"no folder {folder}; a run folder is what `zoo train` and `zoo finetune` write with --out")
    if not (folder / "recipe.toml").is_file():
        raise ZooError(
            f"{folder} is no run folder: it has no recipe.toml; `zoo train` and `zoo finetune` write one with --out"
        )
    recipe = _parsed(
        folder / "recipe.toml",
        lambda text: _with(tomllib.loads(text), "model", "data", "epochs", "seed"),
        "nothing of the run can be told without it",
    )
    if not (folder / "history.csv").is_file():
        raise ZooError(f"{folder} has no history.csv: its first epoch is not finished; wait for it, or go on with --resume")
    history = _parsed(folder / "history.csv", _history)
    metrics = answers = None
    if (folder / "metrics.json").is_file():
        needed = ("part", "pictures", "wrong", "error", "error_by_class", "best_epoch", "data_fingerprint")
        metrics = _parsed(folder / "metrics.json", lambda text: _with(json.loads(text), *needed))
    if metrics and (folder / "predictions.csv").is_file():
        answers = _parsed(folder / "predictions.csv", lambda text: _answers(text, metrics))
    return Run(folder, recipe, history, metrics, answers)


def _parsed(path, parse, remedy="the run's own command with --resume writes it again"):
    try:
        with path.open(newline="", **ENCODED) as file:
            return parse(file.read())
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise ZooError(f"{path} is damaged: {str(error) or type(error).__name__}; {remedy}") from error


def _with(values, *keys):
    if not isinstance(values, dict) or not all(key in values for key in keys):
        raise ValueError(f"it should hold {', '.join(keys)}")
    return values


def _history(text):
    rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(io.StringIO(text))]
    if not rows or not all({"epoch", "loss", "error"} <= set(row) for row in rows):
        raise ValueError("it should hold epoch, loss and error")
    return [{**row, "epoch": int(row["epoch"])} for row in rows]


def _answers(text, metrics):
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    names = tuple(metrics["error_by_class"])
    place = {name: index for index, name in enumerate(names)}
    if tuple(header) != COLUMNS:
        raise ValueError(f"its columns should be {', '.join(COLUMNS)}")
    pictures, true, answered, margins, hashes = zip(*rows, strict=True)
    labels, predictions = (np.array([place[name] for name in column]) for column in (true, answered))
    if (len(labels), int(np.sum(labels != predictions))) != (metrics["pictures"], metrics["wrong"]):
        raise ValueError("it is of another result than metrics.json")
    return Read(names, labels, predictions, metrics["part"], pictures, np.array(margins, float), hashes)
