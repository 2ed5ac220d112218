"""Weight constraints that Keras lacks."""

import math
from collections.abc import Sequence

import keras
from keras import ops
from ml_dtypes import finfo

from zoo.types import Config, Tensor


@keras.saving.register_keras_serializable("zoo")
class MaxNorm(keras.constraints.Constraint):
    """Limit the norm of the weights into each unit to c, after every update: w <- w * min(1, c/|w|).

    Weights with a smaller norm are not changed, to the bit. (Keras' MaxNorm divides by |w| plus a small number, which
    shrinks them a little at every step.) Other weights are scaled to slightly less than c, by the possible rounding error of
    a norm, so that applying the constraint again changes nothing.

    Args:
        max_value: c, positive.
        axis: axes over which |w| is computed, the inputs of one unit. Default: all but the last, which suits the kernels of
            Dense and Conv layers. For kernels of DepthwiseConv, which have a unit per channel and multiplier, use all but
            the last two.

    Raises:
        ValueError: if `max_value` is not positive.

    References:
        Srivastava et al. (2014), Dropout: a simple way to prevent neural networks from overfitting, section 5.1.
    """

    def __init__(self, max_value: float, axis: int | Sequence[int] | None = None) -> None:
        if max_value <= 0:
            raise ValueError(f"max_value must be positive. Received: max_value={max_value}")
        self.max_value = max_value
        self.axis = axis

    def __call__(self, w: Tensor) -> Tensor:
        w = ops.convert_to_tensor(w)
        axis = tuple(range(len(w.shape) - 1)) if self.axis is None else self.axis
        stored = keras.backend.standardize_dtype(w.dtype)
        precise = "float64" if stored == "float64" else "float32"  # half precision is too coarse for a sum of squares
        v = ops.cast(w, precise)
        norm = ops.sqrt(ops.sum(ops.square(v), axis=axis, keepdims=True))
        limit = ops.cast(self.max_value, precise)
        # A sum of n squares has at most n rounding errors in any order; those of this norm and of the next one add up.
        inputs = math.prod(w.shape[each] for each in ([axis] if isinstance(axis, int) else axis))
        within = 1 - (inputs / 2 + 4) * float(finfo(precise).eps) - float(finfo(stored).eps)
        # The maximum avoids a division by zero; its result is not used where the norm is within the limit.
        return ops.where(norm > limit, ops.cast(v * (limit / ops.maximum(norm, limit) * within), w.dtype), w)

    def get_config(self) -> Config:
        return {"max_value": self.max_value, "axis": self.axis}
