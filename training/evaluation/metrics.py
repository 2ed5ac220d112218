"""How right answers are: counts, shares with the uncertainty that few pictures leave, and words for it."""

from statistics import NormalDist

import numpy as np

SURE = 0.95  # of a hundred intervals so many hold the true share
Z = NormalDist().inv_cdf((1 + SURE) / 2)
CLOSE = 2  # percent on either side that count as a good measurement


class Answers:
    """Answers to labelled pictures, and what follows from them.

    Attributes:
        class_names: tuple of str.
        labels: (n,) int, indices of the class names.
        predictions: (n,) int, what was answered.
        split: what the pictures are: "test", "validation", or "all".
    """

    @property
    def error(self):
        """Share of wrong answers, in percent."""
        return 100 * float(np.mean(self.predictions != self.labels))

    @property
    def interval(self):
        """The 95 % interval of the error, (low, high) in percent."""
        return interval(np.sum(self.predictions != self.labels), len(self.labels))

    def describe_interval(self):
        """Return in words what so many pictures can tell of the true error."""
        return describe_interval(int(np.sum(self.predictions != self.labels)), len(self.labels), self.split)

    def confusion(self):
        """Return (classes, classes) counts, a row a true class, a column an answer."""
        counts = np.zeros((len(self.class_names),) * 2, int)
        np.add.at(counts, (self.labels, self.predictions), 1)
        return counts

    def confused(self):
        """Return what is taken for what: list of (true class, answer, count), what comes about most often first."""
        wrong = self.predictions != self.labels
        pairs, counts = np.unique(
            np.stack([self.labels[wrong], self.predictions[wrong]], axis=1), axis=0, return_counts=True
        )
        order = np.argsort(-counts, kind="stable")
        names = self.class_names
        return [(names[pairs[i, 0]], names[pairs[i, 1]], int(counts[i])) for i in order]

    def by_class(self):
        """Return what is known of each class: a dict by its name, shares in percent.

        Each has `pictures`; `recall`, the share of them that is found; `precision`, the share that is right of what is taken
        for this class; `f1`, the harmonic mean of both; and the 95 % intervals `recall_interval` and `precision_interval`.
        What nothing can be said of is None: the recall of a class without pictures, the precision of one never answered.
        """
        classes = len(self.class_names)
        shown = np.bincount(self.labels, minlength=classes)
        answered = np.bincount(self.predictions, minlength=classes)
        right = np.bincount(self.labels[self.labels == self.predictions], minlength=classes)
        recalls, precisions = wilson(right, shown), wilson(right, answered)
        return {
            name: {
                "pictures": int(shown[i]),
                "precision": _percent(right[i], answered[i]),
                "precision_interval": [round(100 * float(bound[i]), 2) for bound in precisions] if answered[i] else None,
                "recall": _percent(right[i], shown[i]),
                "recall_interval": [round(100 * float(bound[i]), 2) for bound in recalls] if shown[i] else None,
                "f1": _percent(2 * right[i], shown[i] + answered[i]),
            }
            for i, name in enumerate(self.class_names)
        }


def wilson(successes, trials):
    """Return the 95 % intervals of shares, by Wilson's score; it holds for few trials, and for none or all that succeed.

    Args:
        successes, trials: arrays of counts, or one of each.

    Returns:
        (low, high) shares; 0 and 1 of no trials.

    References:
        Brown, Cai, DasGupta (2001), Interval estimation for a binomial proportion, sections 3.1.1 and 5.
    """
    successes, trials = np.asarray(successes, float), np.asarray(trials, float)
    middle = successes + Z**2 / 2
    half = Z * np.sqrt(successes * (trials - successes) / np.maximum(trials, 1) + Z**2 / 4)
    return tuple(np.clip((middle + side * half) / (trials + Z**2), 0, 1) for side in (-1, 1))


def interval(wrong, pictures):
    """Return the 95 % interval of an error, (low, high) in percent."""
    low, high = wilson(wrong, pictures)
    return 100 * float(low), 100 * float(high)


def describe_interval(wrong, pictures, split="all"):
    """Return in words between what bounds the true error lies, and how many pictures would tell it to ±2 %.

    Args:
        wrong, pictures: counts.
        split: what the pictures are, "test" for one; "all" is not told.
    """
    low, high = interval(wrong, pictures)
    words = f"{pictures:,} {kind(split)}: the true error lies between {between(low, high)} % ({100 * SURE:.0f} %)"
    share = (wrong + Z**2 / 2) / (pictures + Z**2)  # the interval's middle, as a share of none would ask for none
    needed = share * (1 - share) * (100 * Z / CLOSE) ** 2
    return f"{words}; for ±{CLOSE} % you need about {float(f'{needed:.1g}'):,.0f}" if needed > pictures else words


def kind(split):
    """Return what pictures of a split are called."""
    return "pictures" if split == "all" else f"{split} pictures"


def between(low, high):
    """Return "low and high" with as many digits as so wide an interval deserves."""
    digits = 0 if high - low > 10 else 1 if high - low > 0.5 else 2
    return f"{low:.{digits}f} and {high:.{digits}f}"


def _percent(part, whole):
    return round(100 * float(part / whole), 4) if whole else None
