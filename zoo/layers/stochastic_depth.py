import keras
from keras import ops

from zoo.layers.traits import Traits


@keras.saving.register_keras_serializable("zoo")
class StochasticDepth(keras.layers.Layer):
    """Add a residual branch that is sometimes left out in training: [x, branch] -> x + b branch, b ~ Bernoulli(survival).

    In use the branch is always there, with the weight that it had on average: x + survival * branch. Each row of a batch
    draws its own b; the paper draws one for the whole batch.

    Args:
        survival: probability that the branch is there, in (0, 1]; `linear_decay` gives that of the paper.
        seed: an int, or None.

    Raises:
        ValueError: if survival is not in (0, 1].

    References:
        Huang, Sun, Liu, Sedra, Weinberger (2016), Deep networks with stochastic depth, eq. 2 and 5.
    """

    traits = Traits()

    def __init__(self, survival, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0 < survival <= 1:
            raise ValueError(f"{self.name}: survival must be in (0, 1]. Received: survival={survival}")
        self.survival = survival
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=None):
        x, branch = inputs
        if not training:
            return x + self.survival * branch
        rows = (ops.shape(branch)[0], *(1 for _ in branch.shape[1:]))
        there = keras.random.uniform(rows, dtype="float32", seed=self.seed_generator) < self.survival
        return x + ops.where(there, branch, ops.zeros_like(branch))

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self):
        return {**super().get_config(), "survival": self.survival, "seed": self.seed}


def linear_decay(index, depth, last=0.5):
    """Return the survival of a residual block that falls with depth: p_l = 1 - l/L (1 - p_L).

    Args:
        index: l, from 1 for the first block; 0 is the input, which always survives.
        depth: L, the number of blocks.
        last: p_L, the survival of the last block.

    References:
        Huang et al. (2016), eq. 4.
    """
    return 1 - index / depth * (1 - last)
