import keras
from keras import ops

from zoo.rules.adalines import AdalineRule, minimal_change
from zoo.types import Tensor


@keras.saving.register_keras_serializable("zoo")
class AlphaLMS(AdalineRule):
    """Widrow and Hoff's alpha-LMS rule, whose step is normalized by the input: w += alpha e x / |x|², row by row.

    The error e is the linear error of each unit, before any threshold. One step reduces it to (1 - alpha) e on that row. The
    rule with a fixed step, mu-LMS, is gradient descent: SGD on `zoo.losses.LMS`, or on the squared error to the targets.

    Args:
        alpha: the share of the error that a step removes, within (0, 2).

    References:
        Widrow, Hoff (1960), Adaptive switching circuits; Widrow, Lehr (1990), 30 years of adaptive neural networks.
    """

    machine = (keras.layers.Dense,)

    def step(
        self, layers: list[keras.layers.Layer], weights: tuple[Tensor, ...], x: Tensor, target: Tensor
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        (weights,) = weights
        sums = ops.matmul(x, weights)
        return (minimal_change(weights, x, self.alpha * (target - sums)),), sums
