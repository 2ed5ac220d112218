"""Random nets of a grammar of layers: each is exported, and its file computes what Keras computes."""

import pytest

import random_nets

SEEDS = range(25)  # `make random-nets` checks 500


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_net_is_exported_and_computes_the_same(seed):
    outcome = random_nets.check(seed)
    assert outcome.kind == "right", outcome.reason
