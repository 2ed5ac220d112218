"""The comparison of a file that has several inputs or outputs with its model: each output with its own tolerance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np

from exporters import parity
from exporters.report import FACTOR_OF_SPREAD

OTHER_NUMBERS = 1e-3  # share of the whole numbers of a batch that may differ, as two equal scores fall either way
SAME_PLACE = 1 / 8  # share of the inputs of a batch that may differ at one place of the output, such as a pixel


@dataclass(frozen=True)
class Report(parity.Report):
    """Result of the comparison of all outputs.

    Attributes:
        outputs: largest difference of each output.
        spreads: largest difference between the values of different inputs in each output, relative to the largest value.
        sizes: sizes of the free axes that were compared.
    """

    outputs: dict[str, float] = field(default_factory=dict)
    spreads: dict[str, float] = field(default_factory=dict)
    sizes: tuple[dict[str, int], ...] = ()

    def lines(self) -> list[str]:
        """Return the lines that a command prints about a comparison that passed."""
        batches = ", ".join(map(str, self.batches))
        sizes = "; ".join(" ".join(f"{name} {size}" for name, size in each.items()) for each in self.sizes)
        return [
            f"verified on {self.images} inputs in batches of {batches}{f' with {sizes}' if sizes else ''}",
            *(f"output {name} differs by at most {difference:.2g}" for name, difference in self.outputs.items()),
            *super().lines()[1:],
        ]

    def _reservations(self):
        """Return for each output that hardly depends on the input why its comparison shows little."""
        limit = FACTOR_OF_SPREAD * parity.TOLERANCES[self.precision].relative
        return [
            f"this shows little of output {name}: its values for different inputs differ by {spread:.2g} of the largest"
            for name, spread in self.spreads.items()
            if spread <= limit
        ]


def compare(
    predict: Callable[[np.ndarray], Sequence[np.ndarray]],
    candidates: Mapping[str, parity.Candidate],
    inputs: np.ndarray,
    outputs: Mapping[str, str],
    batches: Sequence[int],
    exact: Callable[[np.ndarray], Sequence[np.ndarray] | None] = lambda inputs: None,
) -> Report:
    """Compare a model with its file in several runtimes, output by output.

    Args:
        predict: the model, structured array of inputs -> list of outputs.
        candidates: name of a runtime -> `exporters.parity.Candidate` that returns a list of outputs.
        inputs: (n,) structured array.
        outputs: name of an output -> its type in the file.
        batches: batch sizes.
        exact: the model in float64, or a function that returns None.

    Returns:
        `Report`. Its problems name the output.
    """
    places = np.arange(len(inputs))
    model, in_float64 = _Runs(predict, inputs), _Runs(exact, inputs)
    opened = {name: _Opened(candidate, inputs, len(outputs)) for name, candidate in candidates.items()}
    reports: dict[str, parity.Report] = {}
    for index, (name, dtype) in enumerate(outputs.items()):
        runs = {each: _of_output(candidates[each], opened[each], index, model, dtype) for each in candidates}
        expected, whole = model.output(index, dtype), np.dtype(dtype).kind != "f"
        spec = parity.FileSpec(batches=tuple(batches), dtype="float32" if whole else dtype)
        # Whole numbers are compared with those of the model alone; `expected` does not contain them.
        rounded = {} if whole else {"exact": in_float64.part(index)}
        report = parity.compare(expected, runs, places, spec, real=0, **rounded)
        reports[name] = replace(report, spread=None) if whole else report
    return merged(reports)


class _Runs:
    """The outputs of a function for inputs that are given by their places; each batch is computed once."""

    def __init__(self, function, inputs):
        self.function, self.inputs, self.known = function, inputs, {}

    def __call__(self, places):
        key = places.tobytes()
        if key not in self.known:
            self.known[key] = self.function(self.inputs[places])
        return self.known[key]

    def part(self, index):
        """Return a function of places that returns one output, or None if there are none."""
        return lambda places: None if (found := self(places)) is None else found[index]

    def output(self, index, dtype):
        """Return a function of places that returns one output; of whole numbers zeros, see `_of_output`."""
        if np.dtype(dtype).kind == "f":
            return lambda places: self(places)[index]
        return lambda places: np.zeros(len(places), "float32")


class _Opened:
    """A runtime that reads the file once for all outputs."""

    def __init__(self, candidate, inputs, count):
        self.candidate, self.inputs, self.count, self.runs = candidate, inputs, count, None

    def __call__(self, places):
        if self.runs is None:
            self.runs = _Runs(self.candidate.open(), self.inputs)
        found = self.runs(places)
        if len(found) != self.count:
            raise ValueError(f"gives {len(found)} outputs instead of {self.count}")
        return found


def _of_output(candidate, opened, index, model, dtype):
    """Return a `Candidate` for one output.

    Whole numbers and truth values have no tolerance: the candidate returns 0 if they are those of the model, else 1. Of
    floating-point inputs a few may differ.
    """

    def scores(places):
        return opened(places)[index]

    def equal(places):
        found, expected = opened(places)[index], model(places)[index]
        if found.shape != expected.shape or found.dtype != dtype:
            raise ValueError(f"gives {found.dtype} of {found.shape} instead of {dtype} of {expected.shape}")
        wrong = (found != expected).reshape(len(places), -1)
        accepted = OTHER_NUMBERS * expected.size if _has_floats(opened.inputs.dtype) else 0
        # Equal scores are at other places in each input; an error of the file, as at a border, is at the same ones.
        repeated = wrong.sum(axis=0).max(initial=0) > max(2, SAME_PLACE * len(places))
        return np.full(len(places), float(repeated or wrong.sum() > accepted), "float32")

    def culprit(places):
        return candidate.culprit(opened.inputs[places]) if candidate.culprit else None

    run = scores if np.dtype(dtype).kind == "f" else equal
    return replace(candidate, open=lambda: run, culprit=culprit)


def _has_floats(dtype):
    """Return whether inputs, which may be structured, have floating-point numbers."""
    return any(each.base.kind == "f" for each in ([dtype[name] for name in dtype.names] if dtype.names else [dtype]))


def compare_whole_numbers(
    predict: Callable[[np.ndarray], np.ndarray],
    candidates: Mapping[str, parity.Candidate],
    inputs: np.ndarray,
    dtype: str,
    batches: Sequence[int],
) -> parity.Report:
    """Compare a model whose only output are whole numbers or truth values with its file.

    Args:
        predict: the model, inputs -> output.
        candidates, batches: as in `compare`.
        inputs: (n, ...) array.
        dtype: of the output.
    """
    found = compare(lambda batch: [predict(batch)], candidates, inputs, {"output": dtype}, batches)
    return parity.Report(**{each.name: getattr(found, each.name) for each in fields(parity.Report)})


def merged(reports: Mapping[str, parity.Report]) -> Report:
    """Return one report of several outputs, name -> report. Whole numbers, whose report has no spread, have none."""
    facts = _joined(list(reports.values()))
    facts["problems"] = tuple(f"output {name}: {problem}" for name, each in reports.items() for problem in each.problems)
    facts["skipped"] = {
        f"{some} for output {name}": reason for name, each in reports.items() for some, reason in each.skipped.items()
    }
    return Report(
        **facts,
        outputs={name: each.largest_difference for name, each in reports.items()},
        spreads={name: each.spread for name, each in reports.items() if each.spread is not None},
    )


def of_all_sizes(reports: Sequence[Report], sizes: Sequence[dict[str, int]]) -> Report:
    """Return one report of reports for several sizes of the free axes."""
    if len(reports) == 1:
        return replace(reports[0], sizes=tuple(each for each in sizes if each))
    facts = _joined(reports)
    texts = [" ".join(f"{name} {size}" for name, size in each.items()) for each in sizes]
    facts["problems"] = tuple(
        f"with {text}, {problem}" for text, each in zip(texts, reports, strict=True) for problem in each.problems
    )
    facts["skipped"] = {
        f"{some} with {text}": reason
        for text, each in zip(texts, reports, strict=True)
        for some, reason in each.skipped.items()
    }
    facts["images"] = sum(each.images for each in reports)
    facts["images_by_runtime"] = {
        name: sum(each.images_by_runtime.get(name, 0) for each in reports) for name in facts["images_by_runtime"]
    }
    outputs, spreads = (
        {name: max(getattr(each, what).get(name, 0.0) for each in reports) for name in getattr(reports[0], what)}
        for what in ("outputs", "spreads")
    )
    return Report(**facts, outputs=outputs, spreads=spreads, sizes=tuple(sizes))


def _joined(reports):
    """Return the attributes of one report of several: their largest difference, and all runtimes that any could not use."""
    facts = {each.name: getattr(reports[0], each.name) for each in fields(parity.Report)}
    facts["largest_difference"] = max(each.largest_difference for each in reports)
    for name in ("flipped_labels", "ignored_flips"):
        facts[name] = sum(getattr(each, name) for each in reports)
    for name in ("not_run", "deviating"):
        facts[name] = {key: text for each in reports for key, text in getattr(each, name).items()}
    facts["runtimes"] = tuple(each for each in reports[0].runtimes if not {each} & {*facts["deviating"], *facts["not_run"]})
    causes = {each.cause for each in reports}
    facts["cause"] = "file" if "file" in causes else "model" if "model" in causes else None
    facts["agreement"] = facts["spread"] = None
    return facts
