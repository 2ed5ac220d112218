"""The demo of the README, as a user runs it."""

import re
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

import exporters
import zoo

DEMO = Path(__file__).resolve().parents[1] / "docs" / "demo.py"


@pytest.mark.slow("runs the whole demo in a process of its own")
def test_the_demo_runs_from_pictures_to_a_verified_file(tmp_path):
    done = subprocess.run([sys.executable, str(DEMO)], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "demo"
    assert sum(1 for _ in (folder / "digits").rglob("*.png")) == 1797
    for name in ("recipe.toml", "history.csv", "best.keras", "metrics.json", "curves.png", "confusion.png", "mistakes.png"):
        assert (folder / "run" / name).stat().st_size > 0
    assert [file.name for file in tmp_path.iterdir()] == ["demo"]
    table = {key: float(value) for key, value in re.findall(r"accuracy (before|after)\D*([\d.]+) %", done.stdout)}
    assert 10 < table["before"] < table["after"] <= 100
    assert table["after"] > 95
    assert re.search(r"parity\W+0 labels differ", done.stdout)
    assert f"{(folder / 'digits.onnx').stat().st_size:,} bytes" in done.stdout
    # What it says is checked again, here.
    onnx.checker.check_model(onnx.load(folder / "digits.onnx"), full_check=True)
    assert exporters.verify(folder / "digits.onnx", data=folder / "digits").passed
    assert zoo.load(folder / "digits.keras").class_names == list("0123456789")
