"""Minimal disturbance: on an error, adapt the fewest Adalines that mend it, those that are least sure of their answer."""

import itertools

import keras
import numpy as np
from keras import ops

from zoo.layers import FixedLogic, Signum
from zoo.layers.signum import signum
from zoo.rules.adalines import AdalineRule, turned, with_one


@keras.saving.register_keras_serializable("zoo")
class MadalineI(AdalineRule):
    """Madaline rule I, for Adalines under fixed logic elements.

    Where an element is right, its Adalines stay as they are. Where it is wrong, as many as its answer takes are adapted by
    alpha-LMS towards the answer wanted: of those that say the other, the ones with the smallest |s|. With alpha = 1 the
    element is right on the row afterwards.

    Args:
        alpha: the share of the error that a step takes away, within (0, 2).

    References:
        Widrow (1962), Generalization and information storage in networks of Adaline "neurons"; Widrow, Lehr (1990), 30
        years of adaptive neural networks.
    """

    machine = (keras.layers.Dense, FixedLogic)

    def step(self, layers, knobs, x, target):
        (knobs,), logic = knobs, layers[1]
        sums = ops.matmul(x, knobs)
        groups = logic.groups(sums[None])[0]
        wanted = target[:, None]
        opposed = signum(groups) != wanted
        votes = ops.sum(ops.cast(groups >= 0, "int32"), axis=-1, keepdims=True)
        # Enough for a yes, or enough of the others for a no; none or fewer than none where the element is right.
        lacking = ops.where(wanted > 0, logic.needed - votes, votes - logic.needed + 1)
        doubt = ops.where(opposed, ops.abs(groups), np.inf)
        rank = ops.argsort(ops.argsort(doubt, axis=-1), axis=-1)
        adapted = ops.logical_and(opposed, ops.cast(rank, "int32") < lacking)
        error = ops.where(adapted, wanted - groups, ops.zeros_like(groups))
        return (turned(knobs, x, self.alpha * ops.reshape(error, (-1,))),), sums


@keras.saving.register_keras_serializable("zoo")
class MadalineII(AdalineRule):
    """Madaline rule II, for two layers of Adalines.

    In a row on which an output is wrong, hidden Adalines are tried, the least sure first, then pairs of them: what would
    the outputs be, had alpha-LMS moved this one towards its other answer? If fewer of them were wrong, it is so moved, and
    stays as it is for the rest of the row. Then, in every row, all outputs are adapted by alpha-LMS on their own linear
    error. So the number of wrong outputs never rises on the row shown.

    The order of the pairs, and that a unit which one step would not turn is passed over, are a reconstruction.

    Args:
        alpha: the share of the error that a step of a hidden Adaline takes away, within (0, 2).
        output_alpha: that of an output Adaline, within (0, 1]: a longer step could turn an answer that was right.
        tries: hidden Adalines that are tried alone, at least one.
        paired: hidden Adalines that are tried in pairs.

    Raises:
        ValueError: if a share is not within its bounds, or nothing is tried.

    References:
        Winter, Widrow (1988), Madaline rule II: a training algorithm for neural networks.
    """

    machine = (keras.layers.Dense, Signum, keras.layers.Dense)

    def __init__(self, alpha, output_alpha=0.1, tries=16, paired=6):
        super().__init__(alpha)
        if not 0 < output_alpha <= 1:
            raise ValueError(f"output_alpha must be within (0, 1]. Received: output_alpha={output_alpha}")
        if tries < 1:
            raise ValueError(f"tries must be at least 1. Received: tries={tries}")
        self.output_alpha = output_alpha
        self.tries = tries
        self.paired = paired

    def step(self, layers, knobs, x, target):
        hidden, output = knobs
        sums = ops.matmul(x, hidden)
        answers = signum(sums)
        error = -answers - sums  # of each unit, were it to give its other answer
        turn = signum(sums + self.alpha * error) - answers  # ±2, or 0 where one step does not turn it
        before = ops.matmul(with_one(answers), output)

        units = sums.shape[0]
        trials = _trials(min(self.tries, units), min(self.paired, units))
        doubtful = ops.argsort(ops.abs(sums))[: trials.shape[1]]
        turn, reach = ops.take(turn, doubtful), ops.take(output, doubtful, axis=0)

        def next_trial(first, free, after):
            """Return whether, and which is the first trial from `first` on, that leaves fewer outputs wrong."""
            tried = after + ops.matmul(trials * (free * turn), reach)
            better = _wrong(tried, target) < _wrong(after, target)
            better = ops.logical_and(better, ops.arange(len(trials)) >= first)
            return ops.any(better), ops.cast(ops.argmax(better), "int32")

        def accept(found, trial, free, after):
            moved = ops.take(trials, trial, axis=0) * free * ops.cast(turn != 0, free.dtype)
            after = after + ops.matmul(moved * turn, reach)
            free = free - moved
            return *next_trial(trial + 1, free, after), free, after

        free = ops.ones_like(turn)
        state = (*next_trial(0, free, before), free, before)
        _, _, free, after = ops.while_loop(lambda found, *_: found, accept, state)

        moved = ops.matmul(1 - free, ops.one_hot(doubtful, units, dtype=sums.dtype))
        hidden = turned(hidden, x, self.alpha * error * moved)
        answers = with_one(answers * (1 - 2 * moved))
        return (hidden, turned(output, answers, self.output_alpha * (target - after))), before

    def get_config(self):
        return {**super().get_config(), "output_alpha": self.output_alpha, "tries": self.tries, "paired": self.paired}


def _wrong(sums, target):
    """Return how many outputs say the opposite of the target."""
    return ops.sum(ops.cast(signum(sums) != target, "int32"), axis=-1)


def _trials(tries, paired):
    """Return the trials in their order, (trials, units): 1 for each unit that is in it, 0 for the others, by doubt."""
    sets = [(unit,) for unit in range(tries)] + list(itertools.combinations(range(paired), 2))
    return np.array([[float(unit in each) for unit in range(max(tries, paired))] for each in sets], "float32")
