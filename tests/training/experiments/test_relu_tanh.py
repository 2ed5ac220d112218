"""ReLU against tanh: the epochs to the goal, their ratio, and a small run of the whole experiment."""

import json

import numpy as np
import pytest
from PIL import Image

from training.experiments import relu_tanh


@pytest.mark.parametrize(
    "errors, expected",
    [([60, 40, 30, 20], 3.5), ([60, 25], 2.0), ([24.0], 1.0), ([60, 40, 30], None), ([50, 26, 24], 2.5)],
    ids=str,
)
def test_epochs_to_the_goal(errors, expected):
    """Counted from 1, interpolated linearly between epochs."""
    assert relu_tanh.epochs_to_goal(errors) == expected


def test_ratio():
    relu = {"epochs": [2.0, 4.0], "errors": [[], []]}
    assert relu_tanh.ratio({"relu": relu, "tanh": {"epochs": [15.0, 21.0], "errors": [[], []]}}) == (6.0, True)
    slow = {"epochs": [15.0, None], "errors": [[], [50.0] * 21]}
    assert relu_tanh.ratio({"relu": relu, "tanh": slow}) == (6.0, False)
    assert relu_tanh.ratio({"relu": slow, "tanh": relu}) == (None, False)


def test_a_small_run(tmp_path, monkeypatch):
    """Classes of different colors are trained quickly, and result.json has the measured values."""
    generator = np.random.default_rng(0)
    for number in range(10):
        for split, count in (("train", 30), ("test", 1)):
            folder = tmp_path / "data" / split / str(number)
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = generator.integers(0, 60, (32, 32, 3)) + (195 * np.eye(3, dtype=int)[number % 3])
                Image.fromarray(pixels.astype("uint8")).save(folder / f"{index}.png")
    monkeypatch.setattr(relu_tanh, "RATES", (0.001,))
    monkeypatch.setattr(relu_tanh, "GOAL", 90.5)
    out = tmp_path / "out"
    out.mkdir()
    result = relu_tanh.run(out, seeds=2, data=str(tmp_path / "data"), epochs=3)
    written = json.loads((out / "result.json").read_text())
    for activation in ("relu", "tanh"):
        row = result[activation]
        assert written[activation] == row and row["rate"] == 0.001
        for curve, epochs in zip(row["errors"], row["epochs"], strict=True):
            assert 1 <= len(curve) <= 3 and all(0 <= error <= 100 for error in curve)
            assert (curve[-1] <= 90.5) == (epochs is not None)
    assert (out / "relu_tanh.png").stat().st_size > 5000
