"""The comparison of several outputs: each is judged alone, and the report names it."""

import numpy as np
import pytest

from exporters import outputs, parity

TYPES = {"scores": "float32", "labels": "int64", "mask": "bool"}
INPUTS = np.zeros(40, [("left", "float32", (3,)), ("right", "float32", (3,))])
for field in INPUTS.dtype.names:
    INPUTS[field] = np.random.default_rng(len(field)).normal(size=(40, 3))


def model(inputs):
    scores = inputs["left"] * inputs["right"]
    return [scores, scores.argmax(axis=1), scores > 0]


def compared(run, **options):
    return outputs.compare(model, {"runtime": parity.Candidate(lambda: run, **options)}, INPUTS, TYPES, (1, 3, 40))


def test_equal_outputs_pass():
    calls = []

    def run(inputs):
        calls.append(len(inputs))
        return model(inputs)

    report = compared(run)
    assert report.passed
    assert report.outputs == dict.fromkeys(TYPES, 0.0)
    assert sum(size == 40 for size in calls) == 1  # once for all outputs
    assert report.lines()[0] == "verified on 40 inputs in batches of 1, 3, 40"


def change(index, function):
    def run(inputs):
        found = model(inputs)
        found[index] = function(found[index])
        return found

    return run


@pytest.mark.parametrize(
    ("run", "output"),
    [
        (change(0, lambda scores: scores + np.float32(0.01)), "scores"),
        (change(1, lambda labels: labels + (np.arange(len(labels)) == 5)), "labels"),
        (change(1, lambda labels: labels.astype("int32")), "labels"),
        (change(2, lambda mask: ~mask), "mask"),
        (change(2, lambda mask: mask[:, :2]), "mask"),
    ],
    ids=["a score", "a label", "another type", "a mask", "another shape"],
)
def test_the_output_that_differs_is_named(run, output):
    report = compared(run)
    assert not report.passed
    assert all(problem.startswith(f"output {output}: runtime: ") for problem in report.problems)


def differ_at(count, dtype, size=2000, same=False):
    """Return the report of a file that has other whole numbers at some places, the same or others in each input."""
    inputs = np.zeros((8, 3), dtype)

    def numbers(batch):
        return np.zeros((len(batch), size), "int32")

    def run(batch):
        found = numbers(batch)
        for index, row in enumerate(found):
            start = 0 if same else index * count
            row[start : start + count] += 1
        return [found]

    return outputs.compare_whole_numbers(numbers, {"runtime": parity.Candidate(lambda: run)}, inputs, "int32", (1, 8))


def test_few_whole_numbers_of_floats_may_differ():
    assert differ_at(0, "int64").passed
    assert differ_at(2, "float32").passed
    assert not differ_at(3, "float32").passed
    assert not differ_at(1, "float32", size=900).passed
    assert not differ_at(1, "int64").passed


def test_the_same_place_may_not_differ_in_many_inputs():
    """Such as a corner of every image."""
    assert not differ_at(1, "float32", same=True).passed


def test_a_missing_output_fails():
    assert "gives 2 outputs instead of 3" in compared(lambda inputs: model(inputs)[:2]).problems[0]


def test_small_outputs_have_a_tolerance_of_their_own():
    """One output is a million times as large as the other; an error of the small one is not hidden by it."""

    def both(inputs):
        return [inputs["left"] * 1e6, inputs["right"]]

    def wrong(inputs):
        return [inputs["left"] * 1e6, inputs["right"] * np.float32(1.01)]

    types = {"large": "float32", "small": "float32"}
    report = outputs.compare(both, {"runtime": parity.Candidate(lambda: wrong)}, INPUTS, types, (1, 40))
    assert report.problems
    assert all("output small" in problem for problem in report.problems)


def test_a_runtime_that_is_not_binding_is_reported():
    report = compared(change(0, lambda scores: scores + np.float32(1)), binding=False)
    assert "runtime" in report.deviating
    assert report.problems == tuple(f"output {name}: no runtime has run the file" for name in ("scores",))


def test_reports_of_several_sizes_become_one():
    reports = [compared(model), compared(change(0, lambda scores: scores + np.float32(0.01)))]
    report = outputs.of_all_sizes(reports, [{"time": 7}, {"time": 12}])
    assert report.images == 80
    assert report.sizes == ({"time": 7}, {"time": 12})
    assert all(problem.startswith("with time 12, output scores: ") for problem in report.problems)


def test_whole_numbers_are_judged_on_all_inputs_whatever_they_are_in_float64():
    """Most rows have the same labels, and the file has wrong ones in the others."""

    def rare(inputs):
        labels = np.zeros(len(inputs), "int64")
        labels[inputs["left"][:, 0] == INPUTS["left"][37, 0]] = 3
        return [inputs["left"], labels, labels > 0]

    def wrong(inputs):
        return [inputs["left"], np.zeros(len(inputs), "int64"), np.zeros(len(inputs), bool)]

    def exact(inputs):
        return [each.astype("float64") for each in rare(inputs)]

    report = outputs.compare(rare, {"runtime": parity.Candidate(lambda: wrong)}, INPUTS, TYPES, (1, 3, 40), exact)
    assert {problem.partition(":")[0] for problem in report.problems} == {"output labels", "output mask"}
    assert not report.skipped
