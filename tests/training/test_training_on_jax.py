"""The tests of augmentation, trainers, learning rules and checkpoints on the JAX backend."""

from pathlib import Path

import on_jax

TESTS = (
    "augmentation/test_layers.py",
    "augmentation/test_keras_layers.py",
    "engine/test_trainer.py",
    "engine/test_never_lost.py::test_a_run_that_stops_after_any_checkpoint_resumes_from_it",
    "engine/test_never_lost.py::test_a_loss_that_is_not_finite_is_reported_with_its_step_and_the_last_good_checkpoint_stays",
    "engine/test_mixed_precision.py::test_gradients_are_close_to_those_of_float32[mlp]",
    "engine/test_mixed_precision.py::test_a_gradient_that_overflows_skips_the_step_and_halves_the_scale",
    "test_rules.py::test_a_learning_rule_replaces_the_optimizer",
)

pytestmark = on_jax.ONCE


def test_on_jax():
    printed = on_jax.passed(Path(__file__).parent, TESTS)
    for test in (
        "test_a_distortion_is_the_affine_transformation_of_its_random_numbers[translation]",
        "the_layers_are_not_exported[ours]",
        "test_an_epoch_in_one_graph_is_stochastic_gradient_descent_on_the_hinge_loss",
        "test_a_run_that_stops_after_any_checkpoint_resumes_from_it[several steps per graph]",
        "the_last_good_checkpoint_stays",
        "test_gradients_are_close_to_those_of_float32[mlp]",
        "test_a_learning_rule_replaces_the_optimizer[3-Trainer]",
    ):
        assert f"{test} PASSED" in printed
