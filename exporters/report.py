"""The result of the comparison of a file with its model."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from exporters.precision import Precision
from exporters.runner.board.gate import TOLERANCES
from zoo.errors import CheckFailed

JSON_KEYS = {"images": "pictures", "first_divergent_layer": "parted"}  # of `--json`, where they differ from the attributes
FACTOR_OF_SPREAD = 10  # scores whose spread is less than that many tolerances show little


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
        cause: "file"; "model" if the problems are the model's own; "metadata" if only the description of the file is wrong.
            None if the file passes.
        skipped: dict, inputs on which the file was not compared -> reason.
        images_by_runtime: dict, name of a runtime -> number of different images that it ran.
        changed: dict, name of a runtime -> what was changed in it.
        spread: largest difference between the scores of different images, relative to the largest score.
        rounding: largest difference that was accepted because the model itself rounds; None if the tolerance was enough.
        assumed: one sentence for each fact about the model that nobody has stated.
        notes: sentences about what the file needs of a runtime.
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
    cause: str | None = None
    skipped: dict = field(default_factory=dict)
    images_by_runtime: dict = field(default_factory=dict)
    changed: dict = field(default_factory=dict)
    spread: float | None = None
    rounding: float | None = None
    assumed: tuple = ()
    notes: tuple = ()
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
        if self.rounding is not None:
            details.append(f"up to {self.rounding:.2g} is accepted, because the model itself rounds in float32")
        batches = ", ".join(map(str, self.batches))
        return [
            f"verified on {self.images} images in batches of {batches}: {'; '.join(details)}",
            f"runtimes: {', '.join(map(self._described, self.runtimes))}",
            *self._reservations(),
            *(f"not compared on {inputs}: {reason}" for inputs, reason in self.skipped.items()),
            *(f"not verified in {name}: {reason}" for name, reason in self.not_run.items()),
            *(f"do not use {name}, which computes other scores: {how}" for name, how in self.deviating.items()),
            *(f"assumed: {fact}" for fact in self.assumed),
            *(f"note: {note}" for note in self.notes),
            *([self.parsed] if self.parsed else []),
        ]

    def _described(self, name):
        """Return the name of a runtime, with the number of its images if they were not all, and what was changed in it."""
        number = self.images_by_runtime.get(name, self.images)
        notes = [f"{number} image{'s' if number > 1 else ''}"] if number < self.images else []
        notes += [self.changed[name]] if name in self.changed else []
        return f"{name} ({', '.join(notes)})" if notes else name

    def _reservations(self):
        """Return in a list why the comparison shows little, if the scores hardly depend on the image."""
        tolerance = TOLERANCES[self.precision].relative
        if self.spread is None or self.spread > FACTOR_OF_SPREAD * tolerance or self.images < 2:
            return []
        return [
            f"this shows little: the scores of different images differ by at most {self.spread:.2g} of the largest, "
            f"the tolerance is {tolerance:g}. Export trained weights, or give other inputs with --data"
        ]

    def raise_if_failed(self) -> None:
        """Raise `CheckFailed` with every problem, if there is one."""
        if self.problems:
            layer = f"; the first layer that differs is {self.first_divergent_layer}" if self.first_divergent_layer else ""
            verdict = "the file does not compute what the model computes"
            if self.cause == "model":
                verdict = "the file cannot be verified because of the model"
            elif self.cause == "metadata":
                verdict = "the file computes what the model computes, but its description is wrong"
            raise CheckFailed(f"{verdict}: {'; '.join(self.problems)}{layer}")
