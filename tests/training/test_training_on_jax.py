"""Augmentation, trainers and what a run keeps, once more, on the JAX backend."""

from pathlib import Path

import on_jax

FILES = (
    "augmentation/test_layers.py",
    "augmentation/test_keras_layers.py",
    "engine/test_trainer.py",
    "engine/test_never_lost.py",
)
KEPT = ("any_checkpoint", "no_number")  # of the last of them

pytestmark = on_jax.ONCE


def test_on_jax():
    said = on_jax.passed(Path(__file__).parent, FILES, f"-k=augmentation or test_trainer or {' or '.join(KEPT)}")
    for test in (
        "test_a_distortion_is_the_affine_map_of_its_random_numbers[translation]",
        "no_layer_of_it_leaves[ours]",
        "test_an_epoch_in_one_graph_is_stochastic_gradient_descent_on_the_hinge_loss",
        "test_a_run_that_ends_after_any_checkpoint_goes_on_from_there[some steps a graph]",
        "the_last_good_checkpoint_stays",
    ):
        assert f"{test} PASSED" in said
