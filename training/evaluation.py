"""How right a classifier is, and where it is wrong."""

import time
from dataclasses import dataclass

import numpy as np

from training import data
from zoo.errors import ZooError


@dataclass(frozen=True)
class Evaluation:
    """The scores of a classifier on samples, and all that follows from them."""

    class_names: tuple
    labels: np.ndarray
    scores: np.ndarray
    seconds: float
    part: str = "all"

    @property
    def predictions(self):
        return self.scores.argmax(axis=1)

    @property
    def wrong(self):
        """Indices of the wrong ones, the most confidently wrong first."""
        wrong = np.flatnonzero(self.predictions != self.labels)
        lead = self.scores[wrong].max(axis=1) - self.scores[wrong, self.labels[wrong]]
        return wrong[np.argsort(-lead, kind="stable")]

    @property
    def error(self):
        """Share of wrong answers, in percent."""
        return 100 * float(np.mean(self.predictions != self.labels))

    def confusion(self):
        """Return (classes, classes) counts, a row a true class, a column an answer."""
        counts = np.zeros((len(self.class_names),) * 2, int)
        np.add.at(counts, (self.labels, self.predictions), 1)
        return counts

    def summary(self):
        """Return what a program would read, as a dict of plain values; errors in percent."""
        confusion = self.confusion()
        shown = confusion.sum(axis=1)
        return {
            "part": self.part,
            "pictures": len(self.labels),
            "wrong": len(self.wrong),
            "error": round(self.error, 4),
            "accuracy": round(100 - self.error, 4),
            "error_by_class": {
                name: round(100 * (1 - float(confusion[i, i] / shown[i])), 4) if shown[i] else None
                for i, name in enumerate(self.class_names)
            },
            "seconds": round(self.seconds, 3),
        }


def score(classifier, samples, part="all", batch_size=1000):
    """Run a classifier over samples.

    Args:
        classifier: `zoo.Classifier`.
        samples: `training.data.Samples` with labels that index its class names.
        part: what the samples are, "test" for one.
        batch_size: pictures at a time.

    Returns:
        `Evaluation`.
    """
    start = time.perf_counter()
    scores = predict(classifier, samples.pictures, batch_size)
    return Evaluation(tuple(classifier.class_names), samples.labels, scores, time.perf_counter() - start, part)


def predict(classifier, pictures, batch_size=1000):
    """Return the (n, classes) scores of (n, height, width, channels) pictures, batch by batch.

    Keras' own `predict` feeds arrays through tf.data, whose tuning thread keeps it waiting when all is done.
    """
    batches = [pictures[start : start + batch_size] for start in range(0, len(pictures), batch_size)]
    return np.concatenate([classifier.predict_on_batch(batch) for batch in batches])


def evaluate(classifier, source, part="test", strict=False):
    """Evaluate a classifier on a TFDS data set or a folder.

    Args:
        classifier: `zoo.Classifier`.
        source: TFDS name, or a folder of class folders whose names are among the classifier's.
        part: the part to use; a folder without parts is used whole.
        strict: refuse a folder with files that cannot be read.

    Returns:
        (`Evaluation`, list of messages about files that were left out).

    Raises:
        ZooError: if the data have other classes than the classifier, or no such part.
    """
    found = data.load(source, classifier.picture, strict).in_order(classifier.class_names)
    if part not in found.parts and "all" not in found.parts:
        raise ZooError(f"{source} has no part '{part}', but {', '.join(found.parts)}")
    used = part if part in found.parts else "all"
    return score(classifier, found.parts[used], used), found.problems
