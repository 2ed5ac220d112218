"""The layers, losses, rules and models once more, on the JAX backend.

Of the learning rules, only the tests that compare with a loop in NumPy are run: JAX compiles a rule at each call.
"""

import re
from pathlib import Path

import pytest

import on_jax

LAYERS = (
    "layers",
    *(f"test_{name}.py" for name in ("activations", "backend", "constraints", "initializers", "losses", "optimizers")),
    *("test_preprocessing.py", "test_regularizers.py"),
)
MODELS = (
    "models/test_lenet.py",
    "models/test_neocognitron.py",
    "models/test_nearest_neighbor.py",
    "models/test_perceptron.py",
    "models/test_mlp.py",
    "models/test_adaline.py::test_alpha_lms",
    "models/test_adaline.py::test_mu_lms_is_sgd_on_the_linear_error",
    "models/test_madaline.py::test_madaline_one",
    "models/test_madaline.py::test_madaline_two",
)

SEEN = {
    LAYERS: ("test_backend.py::test_arrays_are_of_the_backend_in_use", "test_losses.py::test_minimum_distance"),
    MODELS: ("test_lenet.py::test_forward", "test_madaline.py::test_madaline_two"),
}

pytestmark = on_jax.ONCE


@pytest.mark.parametrize("tests", SEEN, ids=["layers", "models"])
def test_on_jax(tests):
    printed = on_jax.passed(Path(__file__).parent, tests)
    for test in SEEN[tests]:
        assert re.search(rf"{test}\S* PASSED", printed)
