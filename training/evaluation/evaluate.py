"""Evaluates a classifier on labeled images."""

import functools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from training import data
from training.data import Samples
from training.evaluation.metrics import ClassificationMetrics
from zoo.errors import ZooError
from zoo.images import batch_size_for, center_crop, without_crop

if TYPE_CHECKING:
    from zoo.classifier import Classifier

MANY_CLASSES = 20  # with more classes the top-5 error is reported too, as for ImageNet
VIEWS = (1, 10)  # views that can be averaged: the image itself, or the crops of `ten_views`


@dataclass(frozen=True)
class Evaluation(ClassificationMetrics):
    """The scores of a classifier on labeled images, and the metrics computed from them.

    Attributes:
        class_names: tuple of str.
        labels: (n,) int, true labels.
        scores: (n, classes) float, larger is better.
        seconds: time that the predictions took.
        split: split of the images, or "all".
        views: number of views per image.
    """

    class_names: tuple[str, ...]
    labels: np.ndarray
    scores: np.ndarray
    seconds: float
    split: str = "all"
    views: int = 1

    @functools.cached_property
    def predictions(self) -> np.ndarray:
        """(n,) int, predicted labels."""
        return self.scores.argmax(axis=1)

    @property
    def wrong(self) -> np.ndarray:
        """Indices of the misclassified images, sorted by the lead of the predicted class in score, the largest first."""
        wrong = np.flatnonzero(self.predictions != self.labels)
        lead = self.scores[wrong].max(axis=1) - self.scores[wrong, self.labels[wrong]]
        return wrong[np.argsort(-lead, kind="stable")]

    @property
    def top5_error(self) -> float:
        """Top-5 error in percent. Of equal scores, the one of the earlier class ranks higher."""
        true_scores = self.scores[np.arange(len(self.labels)), self.labels][:, None]
        earlier = np.arange(self.scores.shape[1]) < self.labels[:, None]
        better = (self.scores > true_scores) | ((self.scores == true_scores) & earlier)
        return 100 * float(np.mean(better.sum(axis=1) >= 5))

    def summary(self) -> dict:
        """Return the metrics as a dict of plain values for JSON. Errors and the 95 % confidence interval are in percent."""
        return {
            "part": self.split,
            "pictures": len(self.labels),
            "wrong": len(self.wrong),
            "error": round(self.error, 4),
            "accuracy": round(100 - self.error, 4),
            "interval": [round(bound, 4) for bound in self.confidence_interval],
            **({"top5_error": round(self.top5_error, 4)} if len(self.class_names) > MANY_CLASSES else {}),
            **({"views": self.views} if self.views > 1 else {}),
            "error_by_class": {
                name: None if metrics["recall"] is None else round(100 - metrics["recall"], 4)
                for name, metrics in self.per_class().items()
            },
            "seconds": round(self.seconds, 3),
        }


def score(classifier: "Classifier", samples: Samples, split: str = "all", views: int = 1) -> Evaluation:
    """Evaluate a classifier on samples.

    Args:
        classifier: `zoo.classifier.Classifier`.
        samples: `training.data.Samples` whose labels index the class names of the classifier.
        split: split of the samples, such as "test".
        views: 1 to score the center crop of each image, 10 to average the probabilities of ten views; see
            `predict_ten_views`.

    Returns:
        `Evaluation`.
    """
    start = time.perf_counter()
    scores = (predict if views == 1 else predict_ten_views)(classifier, samples.images)
    seconds = time.perf_counter() - start
    return Evaluation(tuple(classifier.class_names), samples.labels, scores, seconds, split, views)


def predict(classifier: "Classifier", images: np.ndarray) -> np.ndarray:
    """Predict in batches. Larger images are center-cropped to the input size of the classifier.

    Keras' `predict` feeds arrays through tf.data, whose autotuning thread delays its return.

    Args:
        classifier: `zoo.classifier.Classifier`.
        images: (n, height, width, channels) uint8.

    Returns:
        (n, classes) scores.
    """
    images = center_crop(images, *classifier.input_image_shape[:2])
    batch_size = batch_size_for(images.shape[1:])
    batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
    return np.concatenate([classifier.predict_on_batch(batch) for batch in batches])


def ten_views(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Crop the four corners and the center of images, and add their mirror images (ten-crop).

    Args:
        images: (n, height, width, channels), at least as large as a view.
        height: height of a view.
        width: width of a view.

    Returns:
        (n, 10, height, width, channels): top left, top right, bottom left, bottom right, center, and these five mirrored.

    References:
        Krizhevsky, Sutskever, Hinton (2012), section 4.1.
    """
    bottom, right = images.shape[1] - height, images.shape[2] - width
    corners = [images[:, top : top + height, left : left + width] for top in (0, bottom) for left in (0, right)]
    views = np.stack([*corners, center_crop(images, height, width)], axis=1)
    return np.concatenate([views, views[:, :, :, ::-1]], axis=1)


def predict_ten_views(classifier: "Classifier", images: np.ndarray) -> np.ndarray:
    """Return the mean probabilities of ten views of each image.

    Args:
        classifier: `zoo.classifier.Classifier` whose scores are logits.
        images: (n, height, width, channels), larger than the input of the classifier.

    Returns:
        (n, classes) float64 probabilities.
    """
    height, width, _ = shape = classifier.input_image_shape
    batch_size = max(1, batch_size_for(shape) // 10)
    means = []
    for start in range(0, len(images), batch_size):
        views = ten_views(images[start : start + batch_size], height, width)
        scores = np.asarray(classifier.predict_on_batch(views.reshape(-1, *shape)), "float64")
        exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
        probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        means.append(probabilities.reshape(len(views), 10, -1).mean(axis=1))
    return np.concatenate(means)


def evaluate(
    classifier: "Classifier", source: str, part: str = "test", strict: bool = False, views: int = 1
) -> tuple[Evaluation, list[str]]:
    """Evaluate a classifier on a data set.

    Args:
        classifier: `zoo.classifier.Classifier`.
        source: name of a data set, or path of a folder or list; see `training.data.load`. Its classes must be among those
            of the classifier.
        part: the split to use. All images are used if the data set has no splits.
        strict: raise an error for a file that cannot be read. By default such files are skipped.
        views: 1 to score the center crop of each image, 10 to average the probabilities of the corners, the center and
            their mirror images, for classifiers trained on crops of larger images.

    Returns:
        `Evaluation`, and a list of messages about skipped files.

    Raises:
        ZooError: if the data have a class that the classifier lacks, or no such split, or the classifier does not support
            ten views.
    """
    if views not in VIEWS:
        raise ZooError(f"--views {views}: expected {' or '.join(map(str, VIEWS))}")
    if views > 1 and not classifier.image_spec.get("crop_from"):
        raise ZooError(
            f"{classifier.name} takes whole images: its [picture] has no crop_from, the size of the larger square that ten "
            "views are cropped from; remove --views"
        )
    image_spec = classifier.image_spec if views == 1 else without_crop(classifier.image_spec)
    loaded = data.load(source, image_spec, strict).align_labels(classifier.class_names, classifier.class_ids)
    if part not in loaded.splits and "all" not in loaded.splits:
        raise ZooError(f"{source} has no split '{part}'; it has {', '.join(loaded.splits)}. Choose one with --split")
    split = part if part in loaded.splits else "all"
    return score(classifier, loaded.splits[split], split, views), loaded.problems
