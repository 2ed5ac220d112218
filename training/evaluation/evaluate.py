"""How right a classifier is, and where it is wrong."""

import functools
import time
from dataclasses import dataclass

import numpy as np

from training import data
from training.evaluation.metrics import Answers
from zoo.errors import ZooError
from zoo.images import batch_size_for, center_crop, without_crop

# With more classes than this the right one need only be among the first five, which is ImageNet's measure too.
MANY_CLASSES = 20
# How many views of a picture can be scored: it, or what `ten_views` cuts.
VIEWS = (1, 10)


@dataclass(frozen=True)
class Evaluation(Answers):
    """The scores of a classifier on samples, and all that follows from them."""

    class_names: tuple
    labels: np.ndarray
    scores: np.ndarray
    seconds: float
    split: str = "all"
    views: int = 1

    @functools.cached_property
    def predictions(self):
        return self.scores.argmax(axis=1)

    @property
    def wrong(self):
        """Indices of the wrong ones, the most confidently wrong first."""
        wrong = np.flatnonzero(self.predictions != self.labels)
        lead = self.scores[wrong].max(axis=1) - self.scores[wrong, self.labels[wrong]]
        return wrong[np.argsort(-lead, kind="stable")]

    @property
    def top5_error(self):
        """Share of pictures whose class is not among the best five, in percent; of equal scores the first is the better."""
        own = self.scores[np.arange(len(self.labels)), self.labels][:, None]
        earlier = np.arange(self.scores.shape[1]) < self.labels[:, None]
        better = (self.scores > own) | ((self.scores == own) & earlier)
        return 100 * float(np.mean(better.sum(axis=1) >= 5))

    def summary(self):
        """Return what a program would read, as a dict of plain values; errors, and the 95 % interval of one, in percent."""
        return {
            "part": self.split,
            "pictures": len(self.labels),
            "wrong": len(self.wrong),
            "error": round(self.error, 4),
            "accuracy": round(100 - self.error, 4),
            "interval": [round(bound, 4) for bound in self.interval],
            **({"top5_error": round(self.top5_error, 4)} if len(self.class_names) > MANY_CLASSES else {}),
            **({"views": self.views} if self.views > 1 else {}),
            "error_by_class": {
                name: None if each["recall"] is None else round(100 - each["recall"], 4)
                for name, each in self.by_class().items()
            },
            "seconds": round(self.seconds, 3),
        }


def score(classifier, samples, split="all", views=1):
    """Run a classifier over samples.

    Args:
        classifier: `zoo.Classifier`.
        samples: `training.data.Samples` with labels that index its class names.
        split: what the samples are, "test" for one.
        views: 1 for the scores of the middle of each picture, 10 for the probabilities by `predict_ten_views`.

    Returns:
        `Evaluation`.
    """
    start = time.perf_counter()
    scores = (predict if views == 1 else predict_ten_views)(classifier, samples.images)
    seconds = time.perf_counter() - start
    return Evaluation(tuple(classifier.class_names), samples.labels, scores, seconds, split, views)


def predict(classifier, pictures):
    """Return the (n, classes) scores of (n, height, width, channels) pictures, or of the middle of larger ones, by batches.

    Keras' own `predict` feeds arrays through tf.data, whose tuning thread keeps it waiting when all is done.
    """
    pictures = center_crop(pictures, *classifier.input_image_shape[:2])
    batch_size = batch_size_for(pictures.shape[1:])
    batches = [pictures[start : start + batch_size] for start in range(0, len(pictures), batch_size)]
    return np.concatenate([classifier.predict_on_batch(batch) for batch in batches])


def ten_views(pictures, height, width):
    """Cut the four corners and the middle out of pictures, and add their mirror images.

    Args:
        pictures: (n, larger height, larger width, channels).
        height, width: of a view.

    Returns:
        (n, 10, height, width, channels): top left, top right, bottom left, bottom right, middle, and these five mirrored.

    References:
        Krizhevsky, Sutskever, Hinton (2012), section 4.1.
    """
    down, right = pictures.shape[1] - height, pictures.shape[2] - width
    corners = [pictures[:, top : top + height, left : left + width] for top in (0, down) for left in (0, right)]
    views = np.stack([*corners, center_crop(pictures, height, width)], axis=1)
    return np.concatenate([views, views[:, :, :, ::-1]], axis=1)


def predict_ten_views(classifier, pictures):
    """Return the (n, classes) probabilities, means over ten views, of pictures larger than the classifier's.

    Args:
        classifier: `zoo.Classifier` whose scores are logits.
        pictures: (n, larger height, larger width, channels).
    """
    height, width, _ = shape = classifier.input_image_shape
    batch_size = max(1, batch_size_for(shape) // 10)
    means = []
    for start in range(0, len(pictures), batch_size):
        views = ten_views(pictures[start : start + batch_size], height, width)
        scores = np.asarray(classifier.predict_on_batch(views.reshape(-1, *shape)), "float64")
        exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
        probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        means.append(probabilities.reshape(len(views), 10, -1).mean(axis=1))
    return np.concatenate(means)


def evaluate(classifier, source, part="test", strict=False, views=1):
    """Evaluate a classifier on a TFDS data set or a folder.

    Args:
        classifier: `zoo.Classifier`.
        source: TFDS name, or a folder of class folders whose names are among the classifier's.
        part: the part to use; a folder without parts is used whole.
        strict: refuse a folder with files that cannot be read.
        views: 1 for the middle of each picture, 10 for the mean probabilities of its corners, its middle and their mirror
            images, which a classifier can be asked for whose pictures are cut out of larger ones.

    Returns:
        (`Evaluation`, list of messages about files that were left out).

    Raises:
        ZooError: if the data have other classes than the classifier, or no such part; if there are no such views.
    """
    if views not in VIEWS:
        raise ZooError(f"--views {views}: a picture has {' or '.join(map(str, VIEWS))} views")
    if views > 1 and not classifier.image_spec.get("crop_from"):
        raise ZooError(
            f"{classifier.name} takes whole pictures: its [picture] has no crop_from, the larger square that ten views are "
            "cut out of; leave out --views"
        )
    picture = classifier.image_spec if views == 1 else without_crop(classifier.image_spec)
    found = data.load(source, picture, strict).align_labels(classifier.class_names, classifier.class_ids)
    if part not in found.splits and "all" not in found.splits:
        raise ZooError(f"{source} has no part '{part}', but {', '.join(found.splits)}")
    used = part if part in found.splits else "all"
    return score(classifier, found.splits[used], used, views), found.problems
