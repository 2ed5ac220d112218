"""The constraints on weights that Keras lacks."""

import math

import keras
from keras import ops
from ml_dtypes import finfo


@keras.saving.register_keras_serializable("zoo")
class MaxNorm(keras.constraints.Constraint):
    """Pull the weights into each unit back to a ball, after every update: w <- w * min(1, c/|w|).

    Weights inside the ball stay as they are, to the bit. Keras' own MaxNorm divides by |w| plus a small number, and so
    shrinks them a little at every step. Weights outside come to lie within the ball by what rounding can add to a norm, so
    that projecting again changes no bit.

    Args:
        max_value: c, positive.
        axis: the axes over which |w| is taken, the inputs of one unit; by default all but the last, as is right for the
            kernels of Dense and Conv layers. The kernels of DepthwiseConv have a unit a channel and multiplier: there it is
            all but the last two.

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
        stored = keras.backend.standardize_dtype(w.dtype)
        precise = "float64" if stored == "float64" else "float32"  # half precision is too coarse for a sum of squares
        v = ops.cast(w, precise)
        norm = ops.sqrt(ops.sum(ops.square(v), axis=axis, keepdims=True))
        limit = ops.cast(self.max_value, precise)
        # The sum of n squares is exact to n roundings in whatever order; that of this norm and that of the next add up.
        inputs = math.prod(w.shape[each] for each in ([axis] if isinstance(axis, int) else axis))
        within = 1 - (inputs / 2 + 4) * float(finfo(precise).eps) - float(finfo(stored).eps)
        # The division is of c by at least c; what it gives for legal weights is not taken.
        return ops.where(norm > limit, ops.cast(v * (limit / ops.maximum(norm, limit) * within), w.dtype), w)

    def get_config(self):
        return {"max_value": self.max_value, "axis": self.axis}
