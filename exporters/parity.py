"""The comparison that every exported file must pass: in each runtime, it computes what its model computes."""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from exporters import rounding
from exporters.precision import Precision
from exporters.report import Report
from exporters.runner.board import gate
from exporters.runner.board.gate import BATCHES, TOLERANCES, CannotRun, Tolerance  # noqa: F401

FEWEST_FINITE = 0.1  # share of images that must be left, if the model is not finite on others or rounds too much
OTHER_INPUTS = "give inputs that it is meant for with --data FOLDER or FILE.npy"


@dataclass(frozen=True)
class Candidate:
    """A runtime that runs a file.

    Attributes:
        open: function without arguments that reads the file and returns a function (batch, ...) -> (batch, classes). Both
            may raise `CannotRun`.
        most: for a slow runtime, the largest batch and about the number of images per batch size; None for all.
        binding: whether a difference in this runtime fails the file. A difference in a runtime that is not binding is
            that runtime's error: it is reported and does not fail the file.
        culprit: function of inputs that returns the operator which this runtime computes differently from a runtime that
            computes what the model computes, or None. Such a difference is this runtime's error, too.
        changes: what was changed in the runtime, for the report.
    """

    open: Callable[[], Callable]
    most: int | None = None
    binding: bool = True
    culprit: Callable[[np.ndarray], str | None] | None = None
    changes: str = ""


@dataclass(frozen=True)
class FileSpec:
    """What the scores of a file must be like.

    Attributes:
        precision: key of `TOLERANCES`.
        dtype: type of the scores.
        batches: batch sizes to run; for a file with a static batch only that one.
    """

    precision: Precision = Precision.FP32
    dtype: str = "float32"
    batches: tuple[int, ...] = BATCHES


def compare(
    reference: Callable[[np.ndarray], np.ndarray],
    candidates: dict[str, Candidate],
    images: np.ndarray,
    spec: FileSpec = FileSpec(),
    real: int | None = None,
    advance: Callable[[], None] = lambda: None,
    exact: Callable[[np.ndarray], np.ndarray | None] = lambda images: None,
) -> Report:
    """Compare a model with its file in several runtimes.

    Every image is run in the largest batch, and some also in the smaller ones. Scores and labels of an INT8 file may differ
    more, and are judged over all real images together; see `exporters.runner.board.gate`. Images on which the model is not
    finite are skipped. If a file differs by more than the tolerance, the rounding errors of the model are measured: where
    they are larger than the tolerance, the file may differ by as much, and where they are much larger, it is not judged.

    Args:
        reference: the model, (batch, ...) -> (batch, classes).
        candidates: dict, name of a runtime -> `Candidate`.
        images: (n, ...) array of inputs of the model; repeated to fill a batch.
        spec: what the scores of the file must be like.
        real: number of real images, which come first. Default: all.
        advance: called once for the model and once for each candidate, for a progress bar.
        exact: the model in float64, or a function that returns None.

    Returns:
        `Report`. It has a problem if the shape or dtype differs, if scores are not finite, if a difference exceeds the
        tolerance, if a label differs although the model's two best scores are further apart than the tolerance, or if
        nothing was compared.
    """
    failed = Report(len(images), tuple(spec.batches), 0.0, 0, ("there is no image to compare",), precision=spec.precision)
    if not len(images):
        return failed
    if spec.dtype == "bool":
        candidates, spec = _as_numbers(candidates), replace(spec, dtype="int8")
    real, largest = len(images) if real is None else real, max(spec.batches)
    order = gate.filled(len(images), spec.batches)
    expected = [np.asarray(reference(images[order[start : start + largest]])) for start in range(0, len(order), largest)]
    expected = np.concatenate(expected)[: len(images)]
    expected = expected.astype("int8") if expected.dtype == bool else expected
    advance()
    finite = np.isfinite(expected).reshape(len(images), -1).all(axis=1)
    if finite.sum() < FEWEST_FINITE * len(images):
        reason = f"its scores are not finite on {(~finite).sum()} of {len(images)} images; {OTHER_INPUTS}"
        return replace(failed, problems=(reason,), cause="model")
    skipped = (
        {} if finite.all() else {f"{(~finite).sum()} of {len(images)} images": "the scores of the model are not finite"}
    )
    judged = _Judged(images, expected, real, spec)
    if skipped:
        judged = judged.only(finite)
    report = _judge(judged, candidates, advance)
    if not report.passed and spec.precision in rounding.STEP:
        report = _judge_exactly(judged, candidates, exact, report)
    if not report.passed and report.cause == "file" and _depends_on_batch(reference, judged):
        reason = f"the scores of an image depend on the other images of its batch; {'; '.join(report.problems)}"
        report = replace(report, problems=(reason,), cause="model")
    return replace(report, skipped={**skipped, **report.skipped})


def _as_numbers(candidates):
    """Return candidates whose booleans are 0 and 1, which can be subtracted."""

    def opened(candidate):
        run = candidate.open()
        return lambda batch: (scores := np.asarray(run(batch))).astype("int8" if scores.dtype == bool else scores.dtype)

    return {name: replace(each, open=functools.partial(opened, each)) for name, each in candidates.items()}


@dataclass(frozen=True)
class _Judged:
    """Images, the scores of the model, the number of real images, and what the file must be like."""

    images: np.ndarray
    expected: np.ndarray
    real: int
    spec: FileSpec

    def only(self, chosen):
        """Return those of an (n,) array of booleans."""
        return replace(self, images=self.images[chosen], expected=self.expected[chosen], real=int(chosen[: self.real].sum()))


def _judge(judged, candidates, advance=lambda: None, allowed=None):
    """Return the `Report` of all candidates; `allowed` is an (images,) array of further differences to accept."""
    images, spec = judged.images, judged.spec
    order = gate.filled(len(images), spec.batches)
    expected = judged.expected[order] if len(order) > len(images) else judged.expected
    comparison = gate.Comparison(expected, order, spec.precision, spec.dtype, judged.real, allowed)
    comparison, runtimes = _run(comparison, candidates, images, spec.batches, advance)
    problems = (*runtimes.pop("problems"), *comparison.flips())
    return Report(
        images=len(images),
        batches=tuple(spec.batches),
        largest_difference=comparison.largest_difference,
        flipped_labels=len(comparison.flipped),
        problems=problems,
        precision=spec.precision,
        **runtimes,
        ignored_flips=len(comparison.drawn - comparison.flipped),
        agreement=comparison.agreement(),
        noise=comparison.noise,
        cause="file" if problems else None,
        spread=_spread(judged.expected),
    )


def _judge_exactly(judged, candidates, exact, report):
    """Return the report with the rounding errors of the model accepted, or the given one if they are not the cause."""
    in_float64 = exact(judged.images)
    if in_float64 is None:
        return report
    allowed, clear = rounding.allowance(judged.images, judged.expected, in_float64, judged.spec.precision)
    if clear.sum() < FEWEST_FINITE * len(clear):
        reason = (
            f"it rounds too much: its scores in float32 and float64 differ by up to {allowed.max() / rounding.FACTOR:.2g}"
        )
        return replace(report, problems=(f"{reason}; {OTHER_INPUTS}", *report.problems), cause="model")
    skipped = {} if clear.all() else {f"{(~clear).sum()} of {len(clear)} images": "the model rounds too much in float32"}
    again = _judge(judged.only(clear), candidates, allowed=allowed[clear])
    if not again.passed:
        return report
    return replace(again, skipped=skipped, rounding=float(allowed[clear].max()))


def _depends_on_batch(reference, judged):
    """Return whether the model gives other scores for single images than for batches."""
    if 1 not in judged.spec.batches:
        return False
    some = slice(0, 3)
    alone = np.concatenate([np.asarray(reference(image[None])) for image in judged.images[some]])
    expected = judged.expected[some]
    if alone.shape != expected.shape:
        return True
    tolerance = TOLERANCES[Precision.FP32].of(expected, float(np.abs(judged.expected).max(initial=0)))
    return bool((np.abs(alone - expected) > tolerance).any())


def _spread(expected):
    """Return the largest difference between the scores of different images, relative to the largest."""
    largest = float(np.abs(expected).max(initial=0))
    return float((expected.max(axis=0) - expected.min(axis=0)).max(initial=0)) / largest if largest else 0.0


def _copied(comparison):
    """Return a copy of a comparison that shares its arrays."""
    found = copy.copy(comparison)
    for name in ("labelled", "flipped", "drawn"):
        setattr(found, name, set(getattr(comparison, name)))
    return found


def _run(comparison, candidates, images, batches, advance):
    """Run all candidates; return the comparison, and a dict of the entries of a `Report` about runtimes."""
    problems, runtimes, not_run, deviating, numbers = [], [], {}, {}, {}
    for name, candidate in candidates.items():
        before = _copied(comparison)
        try:
            if candidate.most and candidate.most < min(batches):
                raise CannotRun(f"too slow for batches of {min(batches)}")
            differences = comparison.ask(candidate.open(), images, batches, candidate.most)
            if differences and candidate.binding and candidate.culprit and runtimes and not problems:
                culprit = candidate.culprit(images[sorted(comparison.asked)])
                if culprit:
                    deviating[name], comparison = f"{'; '.join(differences)}; it computes {culprit} differently", before
                    continue
            if differences and not candidate.binding:
                deviating[name], comparison = "; ".join(differences), before
                continue
            problems += [f"{name}: {difference}" for difference in differences]
            runtimes.append(name)
            numbers[name] = len(comparison.asked)
        except CannotRun as reason:
            not_run[name] = str(reason)
        finally:
            advance()
    if not runtimes:
        problems.append("no runtime has run the file")
    return comparison, {
        "problems": problems,
        "runtimes": tuple(runtimes),
        "not_run": not_run,
        "deviating": deviating,
        "images_by_runtime": numbers,
        "changed": {name: candidates[name].changes for name in runtimes if candidates[name].changes},
    }
