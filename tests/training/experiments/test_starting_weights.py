"""The lecture's deep tanh net, beside the theory of infinitely wide layers."""

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


def of_wide_layers(deviation):
    """Return each layer's standard deviation where the sums s z are exactly normal: the root of E[tanh²(s z)]."""
    z = np.linspace(-8, 8, 20_001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    found, below = [], 1.0
    for _ in range(10):
        below = np.sqrt(np.sum(np.tanh(deviation * np.sqrt(500) * below * z) ** 2 * density))
        found.append(below)
    return found


@pytest.mark.parametrize("start, deviation", list(zip(starting_weights.STARTS, [0.01, 1, 500**-0.5], strict=True)))
def test_of_wide_layers(result, start, deviation):
    np.testing.assert_allclose(result[start]["std"], of_wide_layers(deviation), rtol=0.05)


def test_too_small(result):
    """Each layer has less than a quarter of the one below: nothing is left after ten."""
    std = result["std 0.01"]["std"]
    assert std[-1] < 1e-6
    np.testing.assert_allclose(np.divide(std[2:], std[1:-1]), 0.01 * np.sqrt(500), rtol=0.05)
    assert result["std 0.01"]["saturated"] == [0] * 10


def test_too_large(result):
    """Nine units of ten are at their ends, in every layer."""
    assert min(result["std 1"]["saturated"]) > 0.85
    assert min(result["std 1"]["std"]) > 0.95


def test_xavier(result):
    """It falls, ever more slowly, as the lecture has it, and hardly a unit is at its end."""
    found = result["Xavier, std 1/√F"]
    assert found["published"] == [0.63, 0.49, 0.41]
    np.testing.assert_allclose(found["std"][:3], found["published"], atol=0.015)
    steps = -np.diff(found["std"])
    assert (steps > 0).all() and steps[-1] < steps[0] / 5
    assert found["std"][-1] > 0.2
    assert max(found["saturated"]) < 0.02
