"""Tests once more, on the JAX backend, in a process of their own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

ONCE = [
    pytest.mark.slow("compiles each test again, in a process on JAX"),
    pytest.mark.skipif(keras.backend.backend() == "jax", reason="these tests run on JAX already"),
    pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed; it comes with the extra jax"),
]
# Small arrays: compiling them well takes longer than computing them badly.
FAST = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def passed(folder, tests):
    """Run files or tests of a folder, and return what pytest prints; all must pass, and none be skipped."""
    quiet = ["-p", "no:cacheprovider", "--verbose", "--color=no", "-W", "ignore"]
    child = subprocess.run(
        [sys.executable, "-m", "pytest", *quiet, *(folder / name for name in tests)],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": FAST},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert child.returncode == 0, child.stdout[-5000:] + child.stderr[-1000:]
    assert "skipped" not in child.stdout.splitlines()[-1]
    return child.stdout
