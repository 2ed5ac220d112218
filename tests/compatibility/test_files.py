"""Files that version 0.1.0 wrote still load, resume, verify and predict the same bits."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import exporters
import zoo
from zoo import images, machine

FILES = Path(__file__).parent / "files"
NAMES = {"zero": "0", "one": "1", "two": "2", "three": "3"}


@pytest.fixture(scope="module")
def expected():
    with np.load(FILES / "expected.npz") as stored:
        return {name: stored[name] for name in stored.files}


@pytest.fixture(scope="module")
def scans(digits, tmp_path_factory):
    """The first twenty scans of each digit."""
    folder = tmp_path_factory.mktemp("scans")
    for digit in map(str, range(10)):
        (folder / digit).mkdir()
        for path in sorted((digits / digit).iterdir())[:20]:
            shutil.copy(path, folder / digit)
    return folder


def assert_same(given, expected, recorded):
    """Compare to the bit on the processor that computed the expected values; others add in another order."""
    if machine.cpu()["instructions"] == str(recorded).split():
        np.testing.assert_array_equal(given, expected)
    else:
        np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-4)


def test_a_fine_tuned_model_predicts_the_same(expected, scans):
    classifier = zoo.load(FILES / "digits.keras")
    paths = sorted(scans.rglob("*.png"))[::7]
    batch = np.stack([images.read(path, classifier.image_spec) for path in paths])
    np.testing.assert_array_equal(batch, expected["images"])
    assert_same(classifier.predict(batch, verbose=0), expected["keras"], expected["machine"])


def test_an_onnx_file_predicts_the_same_and_verifies(expected, scans, tmp_path):
    for name in ("digits.onnx", "digits.json"):
        shutil.copy(FILES / name, tmp_path)
    session = onnxruntime.InferenceSession(str(tmp_path / "digits.onnx"), providers=["CPUExecutionProvider"])
    (scores,) = session.run(["scores"], {"pictures": expected["images"].transpose(0, 3, 1, 2)})
    assert_same(scores, expected["onnx"], expected["machine"])
    report = exporters.verify(tmp_path / "digits.onnx", FILES / "digits.keras", scans)
    assert report.passed and report.flipped_labels == 0


def test_a_bundle_verifies(scans, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(FILES / "bundle", bundle)
    assert exporters.verify(bundle, FILES / "digits.keras", scans).passed
    command = [sys.executable, "-B", str(bundle / "verify.py"), "--cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "computes what the model computes" in done.stdout, done.stderr


def test_an_interrupted_run_resumes_to_the_same_weights(expected, scans, tmp_path, zoo_command):
    for name, digit in NAMES.items():
        shutil.copytree(scans / digit, tmp_path / "named" / name)
    shutil.copytree(FILES / "interrupted", tmp_path / "interrupted")
    shutil.copy(FILES / "small.keras", tmp_path)
    settings = ("--set", "epochs=12", "--set", "data.repeat=200", "--checkpoint-every", "0")
    words = ("finetune", "small.keras", "--data", "named", "--out", "interrupted", *settings, "--resume")
    done = zoo_command(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "epoch   4" not in done.stdout and "epoch   5" in done.stdout
    weights = zoo.load(tmp_path / "interrupted" / "best.keras").get_weights()
    for number, weight in enumerate(weights):
        assert_same(weight, expected[f"resumed_{number}"], expected["machine"])
