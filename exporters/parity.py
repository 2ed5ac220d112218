"""The comparison that every exported file must pass: in each runtime, it computes what its model computes."""

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from exporters.precision import Precision
from exporters.runner.board import gate
from exporters.runner.board.gate import BATCHES, TOLERANCES, CannotRun, Tolerance  # noqa: F401
from zoo.errors import CheckFailed

JSON_KEYS = {"images": "pictures", "first_divergent_layer": "parted"}  # of `--json`, where they differ from the attributes


@dataclass(frozen=True)
class Candidate:
    """A runtime that runs a file.

    Attributes:
        open: function without arguments that reads the file and returns a function (batch, ...) -> (batch, classes). Both
            may raise `CannotRun`.
        most: for a slow runtime, the largest batch and about the number of images per batch size; None for all.
        binding: whether a difference in this runtime fails the file. A difference in a runtime that is not binding is
            that runtime's error: it is reported and does not fail the file.
    """

    open: Callable[[], Callable]
    most: int | None = None
    binding: bool = True


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


@dataclass(frozen=True)
class Report:
    """Result of the comparison of a file with its model.

    Attributes:
        images: number of different images that were compared.
        batches: batch sizes.
        largest_difference: largest difference between a score in any runtime and the model's.
        flipped_labels: images with another label in any runtime, without those of `ignored_flips`.
        problems: str each; the file passes if there are none.
        file: its path.
        precision: of the file.
        runtimes: names of the runtimes that were compared.
        not_run: dict, name of a runtime that cannot run the file -> reason.
        deviating: dict, name of a runtime that is not binding and computes something else -> difference.
        ignored_flips: images with another label whose two best scores are equal to the model, within tolerance.
        agreement: share of the real images that have the model's label in every runtime; None without real images.
        noise: error of an int8 file on the real images, relative to the spread of their scores.
        first_divergent_layer: the first layer whose output differs, if the comparison failed.
        assumed: one sentence for each fact about the model that nobody has stated.
        parsed: a sentence about NVIDIA's parser; empty for a file without a target.
    """

    images: int
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
    first_divergent_layer: str | None = None
    assumed: tuple = ()
    parsed: str = ""

    @property
    def passed(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    @property
    def paths(self) -> tuple[Path, ...]:
        """What was written."""
        return (Path(self.file),)

    def plain(self) -> dict:
        """Return the report as a dict for JSON."""
        return {JSON_KEYS.get(name, name): value for name, value in asdict(self).items()} | {"passed": self.passed}

    def lines(self) -> list[str]:
        """Return the lines that a command prints about a comparison that passed."""
        details = [f"scores differ by at most {self.largest_difference:.2g}"]
        if self.noise is not None:
            details.append(f"RMS error {self.noise:.1%} of the spread of the scores")
        if self.agreement is not None:
            details.append(f"{self.agreement:.2%} of real images have the same label")
        batches = ", ".join(map(str, self.batches))
        return [
            f"verified on {self.images} images in batches of {batches}: {'; '.join(details)}",
            f"runtimes: {', '.join(self.runtimes)}",
            *(f"not verified in {name}: {reason}" for name, reason in self.not_run.items()),
            *(f"do not use {name}, which computes other scores: {how}" for name, how in self.deviating.items()),
            *(f"assumed: {fact}" for fact in self.assumed),
            *([self.parsed] if self.parsed else []),
        ]

    def raise_if_failed(self) -> None:
        """Raise `CheckFailed` with every problem, if there is one."""
        if self.problems:
            layer = f"; the first layer that differs is {self.first_divergent_layer}" if self.first_divergent_layer else ""
            raise CheckFailed(f"the file does not compute what the model computes: {'; '.join(self.problems)}{layer}")


def compare(
    reference: Callable[[np.ndarray], np.ndarray],
    candidates: dict[str, Candidate],
    images: np.ndarray,
    spec: FileSpec = FileSpec(),
    real: int | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Report:
    """Compare a model with its file in several runtimes.

    Every image is run in the largest batch, and some also in the smaller ones. Scores and labels of an INT8 file may differ
    more, and are judged over all real images together; see `exporters.runner.board.gate`.

    Args:
        reference: the model, (batch, ...) -> (batch, classes).
        candidates: dict, name of a runtime -> `Candidate`.
        images: (n, ...) array of inputs of the model; repeated to fill a batch.
        spec: what the scores of the file must be like.
        real: number of real images, which come first. Default: all.
        advance: called once for the model and once for each candidate, for a progress bar.

    Returns:
        `Report`. It has a problem if the shape or dtype differs, if scores are not finite, if a difference exceeds the
        tolerance, if a label differs although the model's two best scores are further apart than the tolerance, or if
        nothing was compared.
    """
    failed = Report(len(images), tuple(spec.batches), 0.0, 0, ("there is no image to compare",), precision=spec.precision)
    if not len(images):
        return failed
    largest = max(spec.batches)
    order = gate.filled(len(images), spec.batches)
    expected = np.concatenate(
        [np.asarray(reference(images[order[start : start + largest]])) for start in range(0, len(order), largest)]
    )
    if not np.isfinite(expected).all():
        return replace(failed, problems=("scores of the model are not finite",))
    advance()
    comparison = gate.Comparison(expected, order, spec.precision, spec.dtype, len(images) if real is None else real)
    comparison, runtimes = _run(comparison, candidates, images, spec.batches, advance)
    problems = [*runtimes.pop("problems"), *comparison.flips()]
    return Report(
        images=len(images),
        batches=tuple(spec.batches),
        largest_difference=comparison.largest_difference,
        flipped_labels=len(comparison.flipped),
        problems=tuple(problems),
        precision=spec.precision,
        **runtimes,
        ignored_flips=len(comparison.drawn - comparison.flipped),
        agreement=comparison.agreement(),
        noise=comparison.noise,
    )


def _run(comparison, candidates, images, batches, advance):
    """Run all candidates; return the comparison, and a dict of the entries of a `Report` about runtimes."""
    problems, runtimes, not_run, deviating = [], [], {}, {}
    for name, candidate in candidates.items():
        before = copy.deepcopy(comparison)
        try:
            if candidate.most and candidate.most < min(batches):
                raise CannotRun(f"too slow for batches of {min(batches)}")
            differences = comparison.ask(candidate.open(), images, batches, candidate.most)
            if differences and not candidate.binding:
                deviating[name], comparison = "; ".join(differences), before
                continue
            problems += [f"{name}: {difference}" for difference in differences]
            runtimes.append(name)
        except CannotRun as reason:
            not_run[name] = str(reason)
        finally:
            advance()
    if not runtimes:
        problems.append("no runtime has run the file")
    return comparison, {"problems": problems, "runtimes": tuple(runtimes), "not_run": not_run, "deviating": deviating}
