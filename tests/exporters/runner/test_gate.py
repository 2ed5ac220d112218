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


def test_every_batch_is_full():
    np.testing.assert_array_equal(gate.filled(5, (1, 3)), [0, 1, 2, 3, 4, 0])
    np.testing.assert_array_equal(gate.filled(2, (5,)), [0, 1, 0, 1, 0])
