"""The layers, losses, rules and models once more, on the JAX backend.

Of the rules those tests that compare with a loop in NumPy: JAX compiles anew at each of their calls.
"""

from pathlib import Path

import on_jax

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


pytestmark = on_jax.ONCE


def test_on_jax():
    said = on_jax.passed(Path(__file__).parent, FILES)
    for test in ("test_layers.py::test_backend", "test_losses.py::test_minimum_distance", "test_lenet.py::test_forward"):
        assert f"{test} PASSED" in said
