"""What a file may differ by because its model rounds."""

import numpy as np
import pytest

from exporters import rounding


def test_the_largest_error_of_inputs_of_the_same_scale_counts():
    inputs = np.float32([[1, 1], [1.1, 0], [100, 0], [0, 110]])
    exact = np.float64([[2, 1], [2, 1], [2, 1], [2, 1]])
    outputs = exact + np.float64([[1e-7, 0], [0, 3e-7], [1e-4, 0], [0, 2e-3]])
    allowed, clear = rounding.allowance(inputs, outputs, exact, "fp32")
    assert allowed == pytest.approx(rounding.FACTOR * np.array([3e-7, 3e-7, 2e-3, 2e-3]))
    assert clear.tolist() == [True] * 4
    outputs[2, 0] = 2.1
    assert rounding.allowance(inputs, outputs, exact, "fp32")[1].tolist() == [True, True, False, False]


def test_float16_rounds_more():
    inputs, exact = np.ones((2, 3)), np.ones((2, 3))
    allowed, clear = rounding.allowance(inputs, exact + 1e-7, exact, "fp16")
    assert allowed == pytest.approx(rounding.FACTOR * 2**13 * 1e-7) and clear.all()
    assert not rounding.allowance(inputs, exact + 1e-5, exact, "fp16")[1].any()


def test_outputs_that_are_not_finite_in_one_of_both_are_not_judged():
    inputs, outputs = np.ones((1, 2)), np.array([[1.0, 2.0]])
    assert not rounding.allowance(inputs, outputs, np.array([[1.0, np.inf]]), "fp32")[1].any()


def test_whole_numbers_may_not_differ():
    inputs, outputs = np.ones((3, 2)), np.int32([[900, 7], [5, 20_000], [3, 4]])
    exact = outputs + np.float64([[0, 0], [0, 0], [1, 0]])
    allowed, clear = rounding.allowance(inputs, outputs, exact, "fp32")
    assert allowed.tolist() == [0, 0, 0] and clear.tolist() == [True, True, False]
