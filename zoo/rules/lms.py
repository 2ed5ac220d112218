import keras
from keras import ops

from zoo.rules.adalines import AdalineRule, turned


@keras.saving.register_keras_serializable("zoo")
class AlphaLMS(AdalineRule):
    """Widrow and Hoff's rule with a step that the input measures: w += alpha e x / |x|², row by row.

    The error e is the linear one, before any threshold, of every unit. One step makes it (1 - alpha) e on the row shown.
    The rule with a fixed step, mu-LMS, is a gradient: SGD on `zoo.losses.LMS`, or on the squared error to the targets.

    Args:
        alpha: the share of the error that a step takes away, within (0, 2).

    References:
        Widrow, Hoff (1960), Adaptive switching circuits; Widrow, Lehr (1990), 30 years of adaptive neural networks.
    """

    machine = (keras.layers.Dense,)

    def step(self, layers, knobs, x, target):
        (knobs,) = knobs
        sums = ops.matmul(x, knobs)
        return (turned(knobs, x, self.alpha * (target - sums)),), sums
