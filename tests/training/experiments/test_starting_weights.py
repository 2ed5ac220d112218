"""The deep tanh network of the lecture, compared with the theory of infinitely wide layers."""

import json

import numpy as np
import pytest

from training import experiments
from training.experiments import starting_weights


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    out = tmp_path_factory.mktemp("starting-weights")
    result = experiments.load("starting-weights").run(out, seeds=1)
    assert json.loads((out / "result.json").read_text()) == {"seeds": 1, **result}
    assert (out / "starting-weights.png").read_bytes().startswith(b"\x89PNG")
    return result


def wide_layer_deviations(deviation):
    """Return the standard deviation of each layer if its inputs s z are exactly normal: the root of E[tanh²(s z)]."""
    z = np.linspace(-8, 8, 20_001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    found, below = [], 1.0
    for _ in range(10):
        below = np.sqrt(np.sum(np.tanh(deviation * np.sqrt(500) * below * z) ** 2 * density))
        found.append(below)
    return found


@pytest.mark.parametrize("start, deviation", list(zip(starting_weights.INITIALIZERS, [0.01, 1, 500**-0.5], strict=True)))
def test_std_is_that_of_infinitely_wide_layers(result, start, deviation):
    np.testing.assert_allclose(result[start]["std"], wide_layer_deviations(deviation), rtol=0.05)


def test_too_small(result):
    """Each layer has less than a quarter of the deviation of the one below, so the activations vanish."""
    std = result["std 0.01"]["std"]
    assert std[-1] < 1e-6
    np.testing.assert_allclose(np.divide(std[2:], std[1:-1]), 0.01 * np.sqrt(500), rtol=0.05)
    assert result["std 0.01"]["saturated"] == [0] * 10


def test_too_large(result):
    """In every layer about nine of ten units are saturated."""
    assert min(result["std 1"]["saturated"]) > 0.85
    assert min(result["std 1"]["std"]) > 0.95


def test_xavier(result):
    """The deviation falls more and more slowly, as in the lecture, and almost no unit is saturated."""
    found = result["Xavier, std 1/√F"]
    assert found["published"] == [0.63, 0.49, 0.41]
    np.testing.assert_allclose(found["std"][:3], found["published"], atol=0.015)
    steps = -np.diff(found["std"])
    assert (steps > 0).all() and steps[-1] < steps[0] / 5
    assert found["std"][-1] > 0.2
    assert max(found["saturated"]) < 0.02
