"""The gate: does a file compute what its model computes, in every runtime that reads it?"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from exporters.precision import Precision
from exporters.runner.board import gate
from exporters.runner.board.gate import BATCHES, TOLERANCES, CannotRun, Tolerance  # noqa: F401
from zoo.errors import CheckFailed


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
        precision: `exporters.precision.Precision`.
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
    precision: Precision = Precision.FP32
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
        told = [gate.summary(self.pictures, self.batches, self.largest_difference, self.agreement, self.noise)]
        told.append(f"in {', '.join(self.runtimes)}")
        told += [f"not in {name}: {reason}" for name, reason in self.not_run.items()]
        return told + [f"do not run it in {name}, which computes otherwise: {how}" for name, how in self.deviating.items()]

    def raise_if_failed(self):
        """Raise `CheckFailed` with every problem, if there is one."""
        if self.problems:
            parted = f"; they part at {self.parted}" if self.parted else ""
            raise CheckFailed(f"the file does not compute what the model computes: {'; '.join(self.problems)}{parted}")


def compare(
    reference,
    candidates,
    pictures,
    precision=Precision.FP32,
    batches=BATCHES,
    dtype="float32",
    real=None,
    advance=lambda: None,
):
    """Compare a model with its file in several runtimes.

    Every picture is run in the largest batch, some are in the smaller ones too. Scores and labels of an "int8" file may
    differ more, and are judged over all real pictures together; see `exporters.runner.board.gate`.

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
    order = gate.filled(len(pictures), batches)
    expected = np.concatenate(
        [np.asarray(reference(pictures[order[at : at + largest]])) for at in range(0, len(order), largest)]
    )
    if not np.isfinite(expected).all():
        return replace(nothing, problems=("scores of the model are not finite",))
    advance()
    comparison = gate.Comparison(expected, order, precision, dtype, len(pictures) if real is None else real)
    problems, runtimes, not_run, deviating = [], [], {}, {}
    for name, candidate in candidates.items():
        before = copy.deepcopy(comparison)
        try:
            if candidate.most and candidate.most < min(batches):
                raise CannotRun(f"too slow for batches of {min(batches)}")
            found = comparison.ask(candidate.open(), pictures, batches, candidate.most)
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
    problems += comparison.flips()
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
