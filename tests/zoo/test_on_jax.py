"""The layers, losses, rules and models once more, on the JAX backend.

Of the rules those tests that compare with a loop in NumPy: JAX compiles anew at each of their calls.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

# Small arrays: compiling them well takes longer than computing them badly.
FAST = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"

FILES = (
    "test_layers.py",
    "test_alexnet_layers.py",
    "test_losses.py",
    "test_lenet.py",
    "test_layers_parts.py",
    "test_constraints.py",
    "test_regularizers.py",
    "test_optimizers.py",
    "test_whitening.py",
    "test_neocognitron.py",
    "test_nearest_neighbor.py",
    "test_deskew.py",
    "test_perceptron.py",
    "test_mlp.py",
    "test_adaline.py::test_alpha_lms",
    "test_adaline.py::test_mu_lms_is_sgd_on_the_linear_error",
    "test_madaline.py::test_madaline_one",
    "test_madaline.py::test_madaline_two",
)


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() == "jax", reason="these tests run on JAX already")
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed; it comes with the extra jax")
def test_on_jax():
    folder = Path(__file__).parent
    options = ["-p", "no:cacheprovider", "--verbose", "--color=no", "-W", "ignore"]
    child = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *(folder / name for name in FILES)],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": FAST},
        cwd=folder.parents[1],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert child.returncode == 0, child.stdout[-5000:] + child.stderr[-1000:]
    for test in ("test_layers.py::test_backend", "test_losses.py::test_minimum_distance", "test_lenet.py::test_forward"):
        assert f"{test} PASSED" in child.stdout
    assert "skipped" not in child.stdout.splitlines()[-1]
