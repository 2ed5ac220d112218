"""Madaline rules by minimal disturbance: on an error, adapt the fewest Adalines that correct it, the least confident
first."""

import itertools

import keras
import numpy as np
from keras import ops

from zoo.layers import FixedLogic, Signum
from zoo.layers.signum import signum
from zoo.rules.adalines import AdalineRule, minimal_change, with_bias_input
from zoo.types import Config, Tensor


@keras.saving.register_keras_serializable("zoo")
class MadalineI(AdalineRule):
    """Madaline rule I, for one layer of Adalines with fixed logic elements.

    If an element is right, its Adalines are not changed. If it is wrong, the smallest sufficient number of them is adapted
    by alpha-LMS towards the desired answer: of those with the opposite answer, the ones with the smallest |s|. With alpha =
    1 the element is right on this row afterwards.

    Args:
        alpha: the share of the error that a step removes, within (0, 2).

    References:
        Widrow (1962), Generalization and information storage in networks of Adaline "neurons"; Widrow, Lehr (1990), 30
        years of adaptive neural networks.
    """

    machine = (keras.layers.Dense, FixedLogic)

    def step(
        self, layers: list[keras.layers.Layer], weights: tuple[Tensor, ...], x: Tensor, target: Tensor
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        (weights,), logic = weights, layers[1]
        sums = ops.matmul(x, weights)
        groups = logic.groups(sums[None])[0]
        wanted = target[:, None]
        opposed = signum(groups) != wanted
        votes = ops.sum(ops.cast(groups >= 0, "int32"), axis=-1, keepdims=True)
        # Votes that are missing for a yes, or superfluous for a no; zero or negative if the element is right.
        lacking = ops.where(wanted > 0, logic.needed - votes, votes - logic.needed + 1)
        confidence = ops.where(opposed, ops.abs(groups), np.inf)
        rank = ops.argsort(ops.argsort(confidence, axis=-1), axis=-1)
        adapted = ops.logical_and(opposed, ops.cast(rank, "int32") < lacking)
        error = ops.where(adapted, wanted - groups, ops.zeros_like(groups))
        return (minimal_change(weights, x, self.alpha * ops.reshape(error, (-1,))),), sums


@keras.saving.register_keras_serializable("zoo")
class MadalineII(AdalineRule):
    """Madaline rule II, for two layers of Adalines.

    On a row with a wrong output, hidden Adalines are tried one by one, the least confident first, and then in pairs. A trial
    computes the outputs as if alpha-LMS had moved these units towards their opposite answers. If fewer outputs are wrong,
    the units are moved, and are not changed again on this row. Then, on every row, all outputs are adapted by alpha-LMS on
    their own linear error. So the number of wrong outputs never rises on the row.

    The order of the pairs is a reconstruction, and so is skipping a unit whose answer one step would not change.

    Args:
        alpha: the share of the error that a step of a hidden Adaline removes, within (0, 2).
        output_alpha: the same for an output Adaline, within (0, 1]: a longer step could change a right answer.
        tries: number of hidden Adalines that are tried alone, at least 1.
        paired: number of hidden Adalines that are tried in pairs.

    Raises:
        ValueError: if a share is out of its bounds, or `tries` is less than 1.

    References:
        Winter, Widrow (1988), Madaline rule II: a training algorithm for neural networks.
    """

    machine = (keras.layers.Dense, Signum, keras.layers.Dense)

    def __init__(self, alpha: float, output_alpha: float = 0.1, tries: int = 16, paired: int = 6) -> None:
        super().__init__(alpha)
        if not 0 < output_alpha <= 1:
            raise ValueError(f"output_alpha must be within (0, 1]. Received: output_alpha={output_alpha}")
        if tries < 1:
            raise ValueError(f"tries must be at least 1. Received: tries={tries}")
        self.output_alpha = output_alpha
        self.tries = tries
        self.paired = paired

    def step(
        self, layers: list[keras.layers.Layer], weights: tuple[Tensor, ...], x: Tensor, target: Tensor
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        hidden, output = weights
        sums = ops.matmul(x, hidden)
        answers = signum(sums)
        error = -answers - sums  # of each unit, with its opposite answer as the target
        change = signum(sums + self.alpha * error) - answers  # ±2, or 0 where one step does not change the answer
        before = ops.matmul(with_bias_input(answers), output)

        units = sums.shape[0]
        trials = _trials(min(self.tries, units), min(self.paired, units))
        doubtful = ops.argsort(ops.abs(sums))[: trials.shape[1]]
        change, outgoing = ops.take(change, doubtful), ops.take(output, doubtful, axis=0)

        def next_trial(first, free, after):
            """Return (whether a trial from `first` on makes fewer outputs wrong, index of the first such trial)."""
            tried = after + ops.matmul(trials * (free * change), outgoing)
            better = _wrong(tried, target) < _wrong(after, target)
            better = ops.logical_and(better, ops.arange(len(trials)) >= first)
            return ops.any(better), ops.cast(ops.argmax(better), "int32")

        def accept(found, trial, free, after):
            moved = ops.take(trials, trial, axis=0) * free * ops.cast(change != 0, free.dtype)
            after = after + ops.matmul(moved * change, outgoing)
            free = free - moved
            return *next_trial(trial + 1, free, after), free, after

        free = ops.ones_like(change)
        state = (*next_trial(0, free, before), free, before)
        _, _, free, after = ops.while_loop(lambda found, *_: found, accept, state)

        moved = ops.matmul(1 - free, ops.one_hot(doubtful, units, dtype=sums.dtype))
        hidden = minimal_change(hidden, x, self.alpha * error * moved)
        answers = with_bias_input(answers * (1 - 2 * moved))
        return (hidden, minimal_change(output, answers, self.output_alpha * (target - after))), before

    def get_config(self) -> Config:
        return {**super().get_config(), "output_alpha": self.output_alpha, "tries": self.tries, "paired": self.paired}


def _wrong(sums, target):
    """Return the number of outputs whose answer is not the target."""
    return ops.sum(ops.cast(signum(sums) != target, "int32"), axis=-1)


def _trials(tries, paired):
    """Return the trials in their order, (trials, units): 1 for each unit that is tried; units are sorted by confidence."""
    sets = [(unit,) for unit in range(tries)] + list(itertools.combinations(range(paired), 2))
    return np.array([[float(unit in each) for unit in range(max(tries, paired))] for each in sets], "float32")
