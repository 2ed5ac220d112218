"""The gate: are these the model's scores? The same on the workstation and on the board."""

import collections
import math

import numpy as np

# One picture, a few, and many at a time: a batch that was frozen, or a normalization over it, shows at the second.
BATCHES = (1, 3, 64)
# Pictures that are run in other batches than the largest, from the first to the last: so many small ones, fewer large ones.
MOST_IN_SMALL_BATCHES, FEWEST_IN_SMALL_BATCHES, VALUES_IN_SMALL_BATCHES = 18, 3, 10**6

# Of a file in coarse numbers not each score is judged, but all of them together, and their labels.
# Error of the scores over how far the scores of a picture lie apart, both as root of the mean square.
MOST_NOISE = 0.25
# Share of labels that may be others than the model's, beyond twice as many as errors of that size make if they are random:
# those that turn the same two classes at every picture are not.
MOST_UNEXPLAINED = 0.05
# A probability below this part of the largest one counts as this part: of less, coarse numbers hold no digit.
LEAST_PROBABILITY = 1e-3
WHOLE = 0.5  # what whole numbers may differ by: none of them is nearly another
SUM_OF_PROBABILITIES = 1e-3  # how far the sum of a softmax may be from 1, in float16 too
ADVICE = "leave layers out with --exclude, or as many as it takes with --data and --max-drop"


class Tolerance(collections.namedtuple("Tolerance", "absolute relative")):
    """What scores may differ by: a part of the picture's largest score and a floor.

    A score is a sum, and what another order of its additions or coarser numbers change grows with what is added, not with
    what is left of it: a score near 0 differs by as much as the largest of the same picture. The floor is for pictures of
    which little is left at all, and is never more than the same part of the largest score of all pictures.
    """

    def of(self, scores, largest):
        """Return the difference that each picture may have: (batch, 1, ...) for (batch, ..., classes) scores.

        Args:
            largest: magnitude of the scores of all pictures; where they are 0, nothing is known of their scale.
        """
        floor = min(self.absolute, self.relative * largest) if largest else self.absolute
        return floor + self.relative * np.abs(scores).max(axis=tuple(range(1, scores.ndim)), keepdims=True)


TOLERANCES = {
    "fp32": Tolerance(1e-4, 1e-4),
    # Twenty times what rounding one number to float16 changes; LeNet-5 and AlexNet take three.
    "fp16": Tolerance(1e-3, 1e-2),
    # Eight steps, between the batches of one runtime: where one rounds up and another down, the next layers go on with other
    # numbers.
    "int8": Tolerance(1e-3, 8 / 128),
}


class CannotRun(Exception):
    """A runtime does not read a file, or lacks an operator of it; the message says why."""


class Comparison:
    """The scores of a model beside those of runtimes, batch after batch.

    Probabilities in coarse numbers are compared by their logarithms, which are the sums below the softmax. The errors of
    these sums are alike at all pictures. A softmax makes them large where two classes are alike, and small elsewhere.

    Attributes:
        largest_difference: of a score of any runtime from the model's.
        flipped: set of the numbers of pictures that have another label.
        drawn: those, and others with another label whose two best scores are a draw to the model, within tolerance.
        asked: set of the numbers of pictures that the last runtime was asked.
        noise: of an "int8" file, its error on the real pictures as a part of how far their scores lie apart.
    """

    def __init__(self, expected, order, precision, dtype, real, rounding=None):
        """Take what is expected.

        Args:
            expected: the model's scores, (places, ..., classes).
            order: the number of the picture at each place.
            precision: key of `TOLERANCES`.
            dtype: of the file's scores.
            real: how many of the pictures, the first, are real ones.
            rounding: (pictures,) what the scores of each picture may differ by beyond the tolerance, because the model
                itself rounds by about as much. Default: 0.
        """
        self.rounding = np.zeros(len(expected)) if rounding is None else rounding
        self.asked = set()
        if expected.dtype.kind in "iu":  # differences of whole numbers may not fit in their own type
            expected = expected.astype("float64")
        self.scores, self.order, self.dtype, self.real = expected, order, dtype, real
        self.tolerance, self.coarse = TOLERANCES[precision], precision == "int8"
        self.softmax = precision != "fp32" and _are_probabilities(expected)
        self.expected = self._judged(expected, slice(None))
        self.largest = float(np.abs(self.expected).max()) if expected.size else 0.0
        self.values = self.expected  # what each batch is compared with; of a coarse file the runtime's own first scores
        self.largest_difference, self.noise = 0.0, None
        self.labelled, self.flipped, self.drawn = set(), set(), set()  # numbers of pictures

    def ask(self, run, pictures, batches, most=None):
        """Return what is wrong with the scores of a runtime, a list; one problem is enough of a batch size.

        Args:
            run: function (batch, ...) -> (batch, ..., classes); may raise `CannotRun`.
            pictures: array of what it takes.
            batches: numbers of pictures at a time; the largest of them are asked every picture.
            most: of a slow one, the largest batch that it is asked, and about how many pictures of each size.
        """
        problems = []
        self.asked = set()
        if self.coarse:
            self.values = np.full(self.expected.shape, np.nan)
        for size in sorted((size for size in batches if size <= (most or size)), reverse=True):
            places = np.arange(len(self.order))
            if size < max(batches) or most:
                some = VALUES_IN_SMALL_BATCHES // pictures[0].size
                some = min(max(some, FEWEST_IN_SMALL_BATCHES), MOST_IN_SMALL_BATCHES, most or some)
                places = np.linspace(0, len(pictures) - 1, -(-some // size) * size).astype(int)
                if len(places) == 1:
                    places[0] = len(pictures) // 2  # the first may be black
            found = [self._problem(run, pictures, batch) for batch in places.reshape(-1, size)]
            problems += [f"a batch of {size} {problem}" for problem in found if problem][:1]
        return problems + (self._too_coarse() if self.coarse and not problems else [])

    def _problem(self, run, pictures, places):
        """Run the pictures at some places as one batch; return what is wrong with the scores, or None."""
        expected = self.scores[places]
        self.asked.update(self.order[places].tolist())
        try:
            given = np.asarray(run(pictures[self.order[places]]))
        except CannotRun:
            raise
        except Exception as error:  # what a runtime raises for a batch that it cannot take
            return f"fails: {(str(error).strip().splitlines() or [type(error).__name__])[0]}"
        if given.shape != expected.shape:
            return f"gives {given.shape}, the model {expected.shape}"
        if given.dtype != self.dtype:
            return f"gives {given.dtype} instead of {self.dtype}"
        if not np.isfinite(given).all():
            return "gives scores that are not finite"
        whole = given.dtype.kind in "iu"
        self.largest_difference = max(self.largest_difference, float(np.abs(given - expected).max()))
        expected, given = self.expected[places], self._judged(given, places)
        self.values[places] = np.where(np.isnan(self.values[places]), given, self.values[places])
        # Probabilities do not show the constant that all sums of a picture share: the sums of all pictures give the scale.
        tolerance = self.tolerance.of(np.full_like(expected, self.largest) if self.softmax else expected, self.largest)
        if not self.softmax:
            tolerance = tolerance + self.rounding[self.order[places]].reshape(tolerance.shape)
        if whole:
            tolerance = np.minimum(tolerance, WHOLE)
        self._compare_labels(_by_class(expected), _by_class(given), self.order[places], tolerance.reshape(-1, 1))
        difference = np.abs(given - self.values[places])
        domain = " in the logarithm" if self.softmax else ""
        return f"differs by up to {difference.max():.3g}{domain}" if (difference > tolerance).any() else None

    def _judged(self, scores, places):
        """Return what is compared of the scores at some places: the scores themselves, or the sums below a softmax."""
        if not self.softmax:
            return scores
        largest = self.scores[places].max(axis=-1, keepdims=True).astype("float64")
        return np.log(np.maximum(scores / largest, LEAST_PROBABILITY))

    def _compare_labels(self, expected, given, numbers, tolerance):
        """Note the pictures whose label is another one, apart from those where it is as good to the model."""
        labels, others = expected.argmax(axis=-1), given.argmax(axis=-1)
        lost = expected.max(axis=-1) - _picked(expected, others)
        self.labelled.update(numbers.tolist())
        self.drawn.update(numbers[(labels != others).any(axis=1)].tolist())
        self.flipped.update(numbers[((labels != others) & (lost > tolerance)).any(axis=1)].tolist())

    def _too_coarse(self):
        """Return in a list what is wrong with the scores of the real pictures, all in all."""
        expected, given = _by_class(self.expected), _by_class(self.values)
        places = (self.order < (self.real or len(self.order))) & ~np.isnan(given).any(axis=(1, 2))
        found, problems = judge(expected[places], given[places], TOLERANCES["fp32"].absolute)
        self.noise = max((each for each in (found, self.noise) if each is not None), default=None)
        return problems

    def flips(self):
        """Return in a list what is wrong with the labels of all runtimes; those of a coarse file are judged together."""
        return [f"{len(self.flipped)} labels differ"] if self.flipped and not self.coarse else []

    def agreement(self):
        """Return the share of the real pictures that have the model's label in every runtime; None if there is none."""
        asked = [number for number in self.labelled if number < self.real]
        return sum(number not in self.drawn for number in asked) / len(asked) if asked else None


def _are_probabilities(scores):
    """Return whether (..., classes) scores are those of a softmax."""
    if scores.ndim < 2 or scores.shape[-1] < 2 or not scores.size or (scores < 0).any():
        return False
    return bool((np.abs(scores.astype("float64").sum(axis=-1) - 1) <= SUM_OF_PROBABILITIES).all())


def filled(count, batches):
    """Return the number of the picture at each place of full batches: the last begins again with the first pictures."""
    largest = max(batches)
    return np.arange(-(-count // largest) * largest) % count


def summary(pictures, batches, largest_difference, agreement, noise):
    """Return what a person reads of scores that are the model's; arguments as the attributes of `Comparison`."""
    within = f"scores within {largest_difference:.2g}"
    if agreement is not None:
        within = f"{agreement:.2%} of real ones with the same label, {within}"
    what = "computes what the model computes"
    if noise is not None:
        what = f"computes nearly what the model computes, with an error of {noise:.1%} of how far scores lie apart"
    return "{}: {} pictures in batches of {}, {}".format(what, pictures, ", ".join(map(str, batches)), within)


def judge(expected, given, tolerance):
    """Return the error of coarse scores as a part of how far they lie apart, and what is wrong with them.

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
        wrong = f"differs by up to {largest:.3g} where all scores are the same"
        return None, [wrong] if largest > tolerance else []
    noise, problems = error / spread, []
    if noise > MOST_NOISE:
        said = "errs by {:.0%} of how far scores lie apart, more than {:.0%}; {}"
        problems.append(said.format(noise, MOST_NOISE, ADVICE))
    flips, labels = expected.argmax(axis=-1) != given.argmax(axis=-1), expected[..., 0].size
    explained = _explained_flips(expected, error)
    if flips.sum() > 2 * explained + max(1, MOST_UNEXPLAINED * labels):
        said = "{} of {} labels of real pictures differ, of which random errors explain {:.0f}; {}"
        problems.append(said.format(flips.sum(), labels, explained, ADVICE))
    return noise, problems


def _root_mean_square(array):
    return float(np.sqrt(np.mean(np.square(array))))


def _explained_flips(expected, error):
    """Return how many labels are others on average where each score errs by a normal variable of this standard deviation."""
    if not error:
        return 0.0
    margins = expected.max(axis=-1)[..., None] - expected
    # How likely the difference of two errors is to exceed a margin, for each class that is not the label.
    chances = np.vectorize(math.erfc)(margins / (2 * error)) / 2
    labels = _picked(chances, expected.argmax(axis=-1))
    return float((chances.sum(axis=-1) - labels).clip(max=1).sum())


def _picked(scores, classes):
    """Return of (batch, places, classes) scores those of one class at each place."""
    rows = scores.reshape(-1, scores.shape[-1])
    return rows[np.arange(len(rows)), classes.ravel()].reshape(classes.shape)


def _by_class(scores):
    """Return scores as (batch, places, classes)."""
    return scores.reshape(len(scores), -1, scores.shape[-1] if scores.ndim > 1 else 1)
