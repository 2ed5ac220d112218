"""Classification metrics with confidence intervals."""

from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
PRECISE = 2  # percent: an error known to within ± this is called precise


class ClassificationMetrics:
    """Metrics of predicted labels. Base class of evaluations, which provide these attributes:

    Attributes:
        class_names: tuple of str.
        labels: (n,) int, true labels, indices into the class names.
        predictions: (n,) int, predicted labels.
        split: split of the images: "test", "validation", "train", or "all".
    """

    @property
    def error(self) -> float:
        """Error rate in percent."""
        return 100 * float(np.mean(self.predictions != self.labels))

    @property
    def confidence_interval(self) -> tuple[float, float]:
        """95 % confidence interval of the error, (low, high) in percent."""
        return confidence_interval(np.sum(self.predictions != self.labels), len(self.labels))

    def describe_interval(self) -> str:
        """Describe the confidence interval of the error; see `describe_interval`."""
        return describe_interval(int(np.sum(self.predictions != self.labels)), len(self.labels), self.split)

    def confusion_matrix(self) -> np.ndarray:
        """Return the (classes, classes) int confusion matrix: one row per true class, one column per predicted class."""
        counts = np.zeros((len(self.class_names),) * 2, int)
        np.add.at(counts, (self.labels, self.predictions), 1)
        return counts

    def confused_pairs(self) -> list[tuple[str, str, int]]:
        """Return (true class, predicted class, count) for each kind of mistake, the most frequent first."""
        wrong = self.predictions != self.labels
        pairs, counts = np.unique(
            np.stack([self.labels[wrong], self.predictions[wrong]], axis=1), axis=0, return_counts=True
        )
        order = np.argsort(-counts, kind="stable")
        names = self.class_names
        return [(names[pairs[i, 0]], names[pairs[i, 1]], int(counts[i])) for i in order]

    def per_class(self) -> dict[str, dict]:
        """Return the metrics of each class, by class name, in percent.

        The keys are `pictures`, the number of images; `precision`; `recall`; `f1`; and the 95 % confidence intervals
        `precision_interval` and `recall_interval`. Undefined values are None: the recall of a class without images, and
        the precision of a class that is never predicted.
        """
        classes = len(self.class_names)
        images = np.bincount(self.labels, minlength=classes)
        predicted = np.bincount(self.predictions, minlength=classes)
        correct = np.bincount(self.labels[self.labels == self.predictions], minlength=classes)
        recalls, precisions = wilson_interval(correct, images), wilson_interval(correct, predicted)
        return {
            name: {
                "pictures": int(images[i]),
                "precision": _percent(correct[i], predicted[i]),
                "precision_interval": [round(100 * float(bound[i]), 2) for bound in precisions] if predicted[i] else None,
                "recall": _percent(correct[i], images[i]),
                "recall_interval": [round(100 * float(bound[i]), 2) for bound in recalls] if images[i] else None,
                "f1": _percent(2 * correct[i], images[i] + predicted[i]),
            }
            for i, name in enumerate(self.class_names)
        }


def wilson_interval(successes: np.ndarray | int, trials: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """Return the Wilson score intervals of proportions at 95 % confidence. They hold for few trials and for extreme counts.

    Args:
        successes: number of successes, an int or an array.
        trials: number of trials, of the same shape.

    Returns:
        (low, high) proportions; 0 and 1 for no trials.

    References:
        Brown, Cai, DasGupta (2001), Interval estimation for a binomial proportion, sections 3.1.1 and 5.
    """
    successes, trials = np.asarray(successes, float), np.asarray(trials, float)
    center = successes + Z**2 / 2
    half_width = Z * np.sqrt(successes * (trials - successes) / np.maximum(trials, 1) + Z**2 / 4)
    return tuple(np.clip((center + sign * half_width) / (trials + Z**2), 0, 1) for sign in (-1, 1))


def confidence_interval(wrong: int, images: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of an error rate, (low, high) in percent.

    Args:
        wrong: number of misclassified images.
        images: number of images.
    """
    low, high = wilson_interval(wrong, images)
    return 100 * float(low), 100 * float(high)


def describe_interval(wrong: int, images: int, split: str = "all") -> str:
    """Describe the confidence interval of an error rate, and how many images would narrow it to ±2 %.

    Args:
        wrong: number of misclassified images.
        images: number of images.
        split: split of the images; "all" is not mentioned.
    """
    interval = format_interval(*confidence_interval(wrong, images))
    words = f"{100 * CONFIDENCE:.0f} % confidence interval of the error: {interval} % ({images:,} {split_images(split)})"
    center = (wrong + Z**2 / 2) / (images + Z**2)  # of the interval; with the error itself, no mistakes would need no images
    needed = center * (1 - center) * (100 * Z / PRECISE) ** 2
    narrower = f"about {float(f'{needed:.1g}'):,.0f} images would narrow it to ±{PRECISE} %"
    return f"{words}; {narrower}" if needed > images else words


def split_images(split: str) -> str:
    """Return "images", or "test images" for the split "test"."""
    return "images" if split == "all" else f"{split} images"


def format_interval(low: float, high: float) -> str:
    """Return "LOW to HIGH" with more digits the narrower the interval is."""
    digits = 0 if high - low > 10 else 1 if high - low > 0.5 else 2
    return f"{low:.{digits}f} to {high:.{digits}f}"


def _percent(count, total):
    return round(100 * float(count / total), 4) if total else None
