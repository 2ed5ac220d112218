"""The gate: does a file compute what its model computes, in every runtime that reads it?"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from exporters import noise
from zoo.errors import CheckFailed

# One picture, a few, and many at a time: a batch that was frozen, or a normalization over it, shows at the second.
BATCHES = (1, 3, 64)
# Pictures that are run in other batches than the largest, from the first to the last: so many small ones, fewer large ones.
MOST_IN_SMALL_BATCHES, FEWEST_IN_SMALL_BATCHES, VALUES_IN_SMALL_BATCHES = 18, 3, 10**6


@dataclass(frozen=True)
class Tolerance:
    """What scores may differ by: a part of the picture's largest score and a floor.

    A score is a sum, and what another order of its additions or coarser numbers change grows with what is added, not with
    what is left of it: a score near 0 differs by as much as the largest of the same picture. The floor is for pictures of
    which little is left at all, and is never more than the same part of the largest score of all pictures.
    """

    absolute: float
    relative: float

    def of(self, scores, largest):
        """Return the difference that each picture may have: (batch, 1, ...) for (batch, ..., classes) scores.

        Args:
            largest: magnitude of the scores of all pictures; where they are 0, nothing is known of their scale.
        """
        floor = min(self.absolute, self.relative * largest) if largest else self.absolute
        return floor + self.relative * np.abs(scores).max(axis=tuple(range(1, scores.ndim)), keepdims=True, initial=0)


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


@dataclass(frozen=True)
class Candidate:
    """What runs the file.

    Attributes:
        open: function without arguments that reads the file and returns a function (batch, ...) -> (batch, classes); both
            may raise `CannotRun`.
        most: for a slow one, the largest batch that it is asked, and about how many pictures of each size; None for all.
        binding: whether the file fails with it. What another one computes of a file that is right elsewhere is its own
            mistake; it is told, and not held against the file.
    """

    open: Callable
    most: int | None = None
    binding: bool = True


@dataclass(frozen=True)
class Report:
    """What the comparison of a file with its model found.

    Attributes:
        pictures: how many different ones were compared.
        batches: the numbers of pictures at a time.
        largest_difference: of a score of any runtime from the model's.
        flipped_labels: pictures that have another label in any runtime; those of `ignored_flips` are not counted.
        problems: str each; the file passes if there is none.
        file: its path.
        precision: "fp32", "fp16" or "int8".
        runtimes: names of those that were compared.
        not_run: dict of the name of a runtime that cannot run the file -> why.
        deviating: dict of the name of a runtime that is not binding and computes something else -> what.
        ignored_flips: pictures with another label whose two best scores are a draw to the model, within tolerance.
        agreement: share of the real pictures that have the model's label in every runtime; None if there is none.
        noise: of an int8 file, its error on the real pictures as a part of how far their scores lie apart.
        parted: the first layer whose output differs, if it was looked for.
    """

    pictures: int
    batches: tuple
    largest_difference: float
    flipped_labels: int
    problems: tuple
    file: str = ""
    precision: str = "fp32"
    runtimes: tuple = ()
    not_run: dict = field(default_factory=dict)
    deviating: dict = field(default_factory=dict)
    ignored_flips: int = 0
    agreement: float | None = None
    noise: float | None = None
    parted: str | None = None

    @property
    def passed(self):
        return not self.problems

    def lines(self):
        """Return what a person reads of a passed proof, a line each."""
        batches = ", ".join(map(str, self.batches))
        within = f"scores within {self.largest_difference:.2g}"
        if self.agreement is not None:
            within = f"{self.agreement:.2%} of real ones with the same label, {within}"
        what = "computes what the model computes"
        if self.noise is not None:
            what = f"computes nearly what the model computes, with an error of {self.noise:.1%} of how far scores lie apart"
        told = [f"{what}: {self.pictures} pictures in batches of {batches}, {within}"]
        told.append(f"in {', '.join(self.runtimes)}")
        told += [f"not in {name}: {reason}" for name, reason in self.not_run.items()]
        return told + [f"do not run it in {name}, which computes otherwise: {how}" for name, how in self.deviating.items()]

    def raise_if_failed(self):
        """Raise `CheckFailed` with every problem, if there is one."""
        if self.problems:
            parted = f"; they part at {self.parted}" if self.parted else ""
            raise CheckFailed(f"the file does not compute what the model computes: {'; '.join(self.problems)}{parted}")


def compare(
    reference, candidates, pictures, precision="fp32", batches=BATCHES, dtype="float32", real=None, advance=lambda: None
):
    """Compare a model with its file in several runtimes.

    Every picture is run in the largest batch, some are in the smaller ones too. Scores and labels of an "int8" file may
    differ more, and are judged over all real pictures together; see `exporters.noise`.

    Args:
        reference: the model, (batch, ...) -> (batch, classes).
        candidates: dict of a runtime's name -> `Candidate`.
        pictures: (n, ...) array of what the model takes; repeated where they fill no batch.
        precision: key of `TOLERANCES`.
        batches: numbers of pictures at a time; of a file with a static batch that one.
        dtype: of the file's scores.
        real: how many of the pictures, the first, are real ones; by default all.
        advance: called once for the model and each candidate, for a progress bar.

    Returns:
        `Report`. It fails on another shape or dtype, on scores that are not finite, on a difference above tolerance, on a
        picture that has another label though the model's two best scores are further apart than that, and if nothing was
        compared.
    """
    nothing = Report(len(pictures), tuple(batches), 0.0, 0, ("there is no picture to compare them on",), precision=precision)
    if not len(pictures):
        return nothing
    largest = max(batches)
    # A batch that is not full begins again with the first pictures.
    order = np.arange(-(-len(pictures) // largest) * largest) % len(pictures)
    expected = np.concatenate(
        [np.asarray(reference(pictures[order[at : at + largest]])) for at in range(0, len(order), largest)]
    )
    if not np.isfinite(expected).all():
        return replace(nothing, problems=("scores of the model are not finite",))
    advance()
    comparison = _Comparison(expected, order, precision, dtype, len(pictures) if real is None else real)
    problems, runtimes, not_run, deviating = [], [], {}, {}
    for name, candidate in candidates.items():
        before = copy.deepcopy(comparison)
        try:
            found = comparison.ask(candidate, pictures, batches)
            if found and not candidate.binding:
                deviating[name], comparison = "; ".join(found), before
                continue
            problems += [f"{name}: {problem}" for problem in found]
            runtimes.append(name)
        except CannotRun as reason:
            not_run[name] = str(reason)
        finally:
            advance()
    if not runtimes:
        problems.append("no runtime has run the file")
    if comparison.flipped and precision != "int8":
        problems.append(f"{len(comparison.flipped)} labels differ")
    return Report(
        pictures=len(pictures),
        batches=tuple(batches),
        largest_difference=comparison.largest_difference,
        flipped_labels=len(comparison.flipped),
        problems=tuple(problems),
        precision=precision,
        runtimes=tuple(runtimes),
        not_run=not_run,
        deviating=deviating,
        ignored_flips=len(comparison.drawn - comparison.flipped),
        agreement=comparison.agreement(),
        noise=comparison.noise,
    )


class _Comparison:
    """The scores of a model beside those of runtimes, batch after batch."""

    def __init__(self, expected, order, precision, dtype, real):
        """Take the model's scores, (places, ..., classes), and the number of the picture at each place."""
        self.expected, self.order, self.dtype, self.real = expected, order, dtype, real
        self.tolerance, self.coarse = TOLERANCES[precision], precision == "int8"
        self.largest = float(np.abs(expected).max(initial=0))
        self.values = expected  # what each batch is compared with; of a coarse file the runtime's own first scores
        self.largest_difference, self.noise = 0.0, None
        self.labelled, self.flipped, self.drawn = set(), set(), set()  # numbers of pictures

    def ask(self, candidate, pictures, batches):
        """Return what is wrong with the scores of a candidate, a list; one problem is enough of a batch size."""
        sizes = [size for size in sorted(batches, reverse=True) if size <= (candidate.most or size)]
        if not sizes:
            raise CannotRun(f"too slow for batches of {min(batches)}")
        run, problems = candidate.open(), []
        if self.coarse:
            self.values = np.full(self.expected.shape, np.nan)
        for size in sizes:
            places = np.arange(len(self.order))
            if size < max(batches) or candidate.most:
                some = VALUES_IN_SMALL_BATCHES // pictures[0].size
                some = min(max(some, FEWEST_IN_SMALL_BATCHES), MOST_IN_SMALL_BATCHES, candidate.most or some)
                places = np.linspace(0, len(pictures) - 1, -(-some // size) * size).astype(int)
            found = [self._problem(run, pictures, batch) for batch in places.reshape(-1, size)]
            problems += [f"a batch of {size} {problem}" for problem in found if problem][:1]
        return problems + (self._too_coarse() if self.coarse and not problems else [])

    def _problem(self, run, pictures, places):
        """Run the pictures at some places as one batch; return what is wrong with the scores, or None."""
        expected = self.expected[places]
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
        self.largest_difference = max(self.largest_difference, float(np.abs(given - expected).max()))
        self.values[places] = np.where(np.isnan(self.values[places]), given, self.values[places])
        tolerance = self.tolerance.of(expected, self.largest)
        self._compare_labels(_by_class(expected), _by_class(given), self.order[places], tolerance.reshape(-1, 1))
        difference = np.abs(given - self.values[places])
        return f"differs by up to {difference.max():.3g}" if (difference > tolerance).any() else None

    def _compare_labels(self, expected, given, numbers, tolerance):
        """Note the pictures whose label is another one, apart from those where it is as good to the model."""
        labels, others = expected.argmax(axis=-1), given.argmax(axis=-1)
        lost = expected.max(axis=-1) - np.take_along_axis(expected, others[..., None], axis=-1)[..., 0]
        self.labelled.update(numbers.tolist())
        self.drawn.update(numbers[(labels != others).any(axis=1)].tolist())
        self.flipped.update(numbers[((labels != others) & (lost > tolerance)).any(axis=1)].tolist())

    def _too_coarse(self):
        """Return in a list what is wrong with the scores of the real pictures, all in all."""
        expected, given = _by_class(self.expected), _by_class(self.values)
        places = (self.order < (self.real or len(self.order))) & ~np.isnan(given).any(axis=(1, 2))
        found, problems = noise.judge(expected[places], given[places], TOLERANCES["fp32"].absolute)
        self.noise = max((each for each in (found, self.noise) if each is not None), default=None)
        return problems

    def agreement(self):
        """Return the share of the real pictures that have the model's label in every runtime."""
        asked = [number for number in self.labelled if number < self.real]
        return sum(number not in self.drawn for number in asked) / len(asked) if asked else None


def _by_class(scores):
    """Return scores as (batch, places, classes)."""
    return scores.reshape(len(scores), -1, scores.shape[-1] if scores.ndim > 1 else 1)
