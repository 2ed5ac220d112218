"""The gate in NumPy's old words computes what its newer ones do; what it lets through is asserted in ../test_parity.py."""

import math

import numpy as np
import pytest

from exporters.runner.board import gate


@pytest.mark.parametrize("shape", [(7, 5), (7, 4, 5), (7, 1)])
def test_flipped_labels_equal_those_of_a_naive_loop(shape):
    generator = np.random.default_rng(0)
    expected = generator.normal(size=shape).astype("float32")
    output = expected + generator.normal(0, 0.3, shape).astype("float32")
    comparison = gate.Comparison(expected, np.arange(7), "fp16", "float32", 7)
    comparison.ask(lambda pictures: output[pictures], np.arange(7), (7,))
    flipped, drawn = set(), set()
    for number in range(7):
        for best, other in zip(expected[number].reshape(-1, shape[-1]), output[number].reshape(-1, shape[-1]), strict=True):
            label, wrong = best.argmax(), other.argmax()
            largest = np.abs(expected[number]).max()
            if label != wrong:
                drawn.add(number)
                if best[label] - best[wrong] > 1e-3 + 1e-2 * largest:
                    flipped.add(number)
    assert comparison.flipped == flipped and comparison.drawn == drawn
    assert comparison.agreement() == pytest.approx(1 - len(drawn) / 7)


def test_explained_flips_equal_those_of_a_naive_loop():
    scores = np.random.default_rng(1).normal(size=(6, 2, 4))
    expected = 0.0
    for row in scores.reshape(-1, 4):
        chance = sum(math.erfc((row.max() - score) / 0.6) / 2 for place, score in enumerate(row) if place != row.argmax())
        expected += min(chance, 1)
    assert gate._explained_flips(scores, 0.3) == pytest.approx(expected)


def softmax(sums):
    powers = np.exp(sums.astype("float64"))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype("float32")


def asked(sums, given, precision):
    """Return the problems of probabilities, whose sums are given, and the comparison."""
    comparison = gate.Comparison(softmax(sums), np.arange(len(sums)), precision, "float32", len(sums))
    return comparison.ask(lambda numbers: softmax(given[numbers]), np.arange(len(sums)), (len(sums),)), comparison


@pytest.mark.parametrize(("precision", "error"), [("fp16", 0.02), ("int8", 0.3)])
def test_probabilities_in_coarse_numbers_are_compared_by_their_logarithms(precision, error):
    """Errors of the sums that are alike at all pictures are no problem, however near the two best classes are."""
    generator = np.random.default_rng(2)
    sums = generator.normal(0, 3, (200, 10)).astype("float32")
    problems, comparison = asked(sums, sums + generator.uniform(-error, error, sums.shape), precision)
    assert problems == [] and comparison.flips() == []
    assert np.abs(softmax(sums) - softmax(sums + error * np.eye(10)[0])).max() < 2 * error
    problems, _ = asked(sums, sums + generator.uniform(-20 * error, 20 * error, sums.shape), precision)
    assert problems


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_probabilities_that_are_nearly_the_same_do_not_hide_a_wrong_file(precision):
    """A thousand classes and random weights: each probability is about 0.001, and those of a picture tell it from others."""
    sums = np.random.default_rng(3).normal(0, 0.05, (64, 1000)).astype("float32")
    assert asked(sums, sums + np.float32(1e-6), precision)[0] == []
    assert asked(sums, np.zeros_like(sums), precision)[0]
    assert asked(sums, sums[::-1], precision)[0]


def test_the_difference_of_probabilities_is_reported_as_they_are():
    sums = np.random.default_rng(4).normal(0, 3, (64, 5)).astype("float32")
    _, comparison = asked(sums, sums * 1.001, "fp16")
    assert comparison.largest_difference == pytest.approx(np.abs(softmax(sums * 1.001) - softmax(sums)).max())


def test_every_batch_is_full():
    np.testing.assert_array_equal(gate.filled(5, (1, 3)), [0, 1, 2, 3, 4, 0])
    np.testing.assert_array_equal(gate.filled(2, (5,)), [0, 1, 0, 1, 0])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_whole_numbers_are_compared_exactly(dtype):
    bounds = np.iinfo(dtype)
    expected = np.array([[0, 100], [3, bounds.max], [50_000 % (int(bounds.max) + 1), bounds.min]], dtype)
    comparison = gate.Comparison(expected, np.arange(3), "fp32", dtype, 3)
    assert comparison.ask(lambda pictures: expected[pictures], np.arange(3), (3,)) == []
    for row, wrong in ((0, (0, 101)), (0, (bounds.min or 1, 100)), (2, (expected[2, 0] - 1, bounds.min))):
        given = expected.copy()
        given[row] = wrong
        comparison = gate.Comparison(expected, np.arange(3), "fp32", dtype, 3)
        assert "differs" in comparison.ask(lambda pictures, given=given: given[pictures], np.arange(3), (3,))[0]
