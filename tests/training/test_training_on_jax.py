"""Augmentation, trainers and what a run keeps, once more, on the JAX backend."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

# Small arrays: compiling them well takes longer than computing them badly.
KEPT = ("any_checkpoint", "no_number")  # of test_never_lost.py
FAST = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() == "jax", reason="these tests run on JAX already")
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed; it comes with the extra jax")
def test_on_jax():
    folder = Path(__file__).parent
    options = ["-p", "no:cacheprovider", "--verbose", "--color=no", "-W", "ignore"]
    child = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            *options,
            *(
                folder / name
                for name in ("test_augment.py", "test_augment_keras.py", "test_trainer.py", "test_never_lost.py")
            ),
            f"-k=test_augment or test_trainer or {' or '.join(KEPT)}",
        ],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": FAST},
        cwd=folder.parents[1],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert child.returncode == 0, child.stdout[-5000:] + child.stderr[-1000:]
    assert "test_a_distortion_is_the_affine_map_of_its_random_numbers[translation] PASSED" in child.stdout
    assert "no_layer_of_it_leaves[ours] PASSED" in child.stdout
    assert "test_an_epoch_in_one_graph_is_stochastic_gradient_descent_on_the_hinge_loss PASSED" in child.stdout
    assert all(name in child.stdout for name in KEPT)
    assert "skipped" not in child.stdout.splitlines()[-1]
