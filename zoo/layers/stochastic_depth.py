import keras
from keras import ops

from zoo.layers.traits import Traits
from zoo.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class StochasticDepth(keras.layers.Layer):
    """Stochastic depth: in training, randomly skip a residual branch, [x, branch] -> x + b branch, b ~ Bernoulli(survival).

    In inference the branch has its expected weight: x + survival * branch. Each row of a batch draws its own b; the paper
    draws one b per batch.

    Args:
        survival: probability that the branch is kept, in (0, 1]; `linear_decay` returns that of the paper.
        seed: random seed. Default: a random one.

    Raises:
        ValueError: if `survival` is not in (0, 1].

    References:
        Huang, Sun, Liu, Sedra, Weinberger (2016), Deep networks with stochastic depth, eq. 2 and 5.
    """

    traits = Traits()

    def __init__(self, survival: float, seed: int | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        if not 0 < survival <= 1:
            raise ValueError(f"{self.name}: survival must be in (0, 1]. Received: survival={survival}")
        self.survival = survival
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: tuple[Tensor, Tensor], training: bool | None = None) -> Tensor:
        x, branch = inputs
        if not training:
            return x + self.survival * branch
        rows = (ops.shape(branch)[0], *(1 for _ in branch.shape[1:]))
        kept = keras.random.uniform(rows, dtype="float32", seed=self.seed_generator) < self.survival
        return x + ops.where(kept, branch, ops.zeros_like(branch))

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        return input_shape[0]

    def get_config(self) -> Config:
        return {**super().get_config(), "survival": self.survival, "seed": self.seed}


def linear_decay(index: int, depth: int, last: float = 0.5) -> float:
    """Return the survival probability of a residual block, which falls linearly with depth: p_l = 1 - l/L (1 - p_L).

    Args:
        index: l, from 1 for the first block; 0 is the input, whose probability is 1.
        depth: L, number of blocks.
        last: p_L, survival probability of the last block.

    References:
        Huang et al. (2016), eq. 4.
    """
    return 1 - index / depth * (1 - last)
