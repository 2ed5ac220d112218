"""The constraints on weights that Keras lacks."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("zoo")
class MaxNorm(keras.constraints.Constraint):
    """Pull the weights into each unit back to a ball, after every update: w <- w * min(1, c/|w|).

    Weights inside the ball stay as they are, to the bit. Keras' own MaxNorm divides by |w| plus a small number, and so
    shrinks them a little at every step.

    Args:
        max_value: c, positive.
        axis: the axes over which |w| is taken, the inputs of one unit; by default all but the last, as is right for Dense
            and convolutions.

    Raises:
        ValueError: if max_value is not positive.

    References:
        Srivastava et al. (2014), Dropout: a simple way to prevent neural networks from overfitting, section 5.1.
    """

    def __init__(self, max_value, axis=None):
        if max_value <= 0:
            raise ValueError(f"The largest norm must be positive. Received: max_value={max_value}")
        self.max_value = max_value
        self.axis = axis

    def __call__(self, w):
        w = ops.convert_to_tensor(w)
        axis = tuple(range(len(w.shape) - 1)) if self.axis is None else self.axis
        norm = ops.sqrt(ops.sum(ops.square(w), axis=axis, keepdims=True))
        limit = ops.cast(self.max_value, w.dtype)
        # The division is of c by at least c; what it gives for legal weights is not taken.
        return ops.where(norm > limit, w * (limit / ops.maximum(norm, limit)), w)

    def get_config(self):
        return {"max_value": self.max_value, "axis": self.axis}
