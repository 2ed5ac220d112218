"""How far a file in coarse numbers may be from its model: not each score, but all of them together, and their labels."""

import math

import numpy as np

# Error of the scores over how far the scores of a picture lie apart, both as root of the mean square.
MOST_NOISE = 0.25
# Share of labels that may be others than the model's, beyond twice as many as errors of that size make if they are random:
# those that turn the same two classes at every picture are not.
MOST_UNEXPLAINED = 0.05
ADVICE = "leave layers out with --exclude, or as many as it takes with --data and --max-drop"


def judge(expected, given, tolerance):
    """Return the error of a file's scores as a part of how far they lie apart, and what is wrong with them.

    Args:
        expected: (n, places, classes) scores of the model.
        given: those of the file.
        tolerance: what scores may differ by if the model's are all the same, which is no scale for errors.

    Returns:
        (float, or None if the model's scores are all the same; list of str).
    """
    expected = expected.astype("float64")
    error = _root_mean_square(given - expected)
    # Where a picture has one score, others tell the scale.
    spread = _root_mean_square(expected - expected.mean(axis=-1, keepdims=True)) or float(expected.std())
    if not spread:
        largest = np.abs(given - expected).max()
        return None, [f"differs by up to {largest:.3g} where all scores are the same"] if largest > tolerance else []
    noise, problems = error / spread, []
    if noise > MOST_NOISE:
        problems.append(f"errs by {noise:.0%} of how far scores lie apart, more than {MOST_NOISE:.0%}; {ADVICE}")
    flips, labels = expected.argmax(axis=-1) != given.argmax(axis=-1), expected[..., 0].size
    explained = _explained_flips(expected, error)
    if flips.sum() > 2 * explained + max(1, MOST_UNEXPLAINED * labels):
        said = f"{flips.sum()} of {labels} labels of real pictures differ, of which random errors explain {explained:.0f}"
        problems.append(f"{said}; {ADVICE}")
    return noise, problems


def _root_mean_square(array):
    return float(np.sqrt(np.mean(np.square(array))))


def _explained_flips(expected, error):
    """Return how many labels are others on average where each score errs by a normal variable of this standard deviation."""
    if not error:
        return 0.0
    margins = expected.max(axis=-1, keepdims=True) - expected
    # How likely the difference of two errors is to exceed a margin, for each class that is not the label.
    chances = np.vectorize(math.erfc)(margins / (2 * error)) / 2
    np.put_along_axis(chances, expected.argmax(axis=-1)[..., None], 0, axis=-1)
    return float(chances.sum(axis=-1).clip(max=1).sum())
