import keras

from zoo.layers.traits import Traits
from zoo.types import Shape, Tensor


def signum(x: Tensor) -> Tensor:
    """Return +1 where x is at least 0, else -1. There is no third value, because an Adaline must answer."""
    return keras.ops.cast(keras.ops.where(x >= 0, 1.0, -1.0), x.dtype)


@keras.saving.register_keras_serializable("zoo")
class Signum(keras.layers.Layer):
    """Threshold of an Adaline: +1 if the linear sum is at least 0, else -1. It has no gradient.

    References:
        Widrow, Hoff (1960), Adaptive switching circuits.
    """

    traits = Traits(pointwise=True, keep_float32=True)  # a threshold turns a rounding error into the largest difference

    def call(self, x: Tensor) -> Tensor:
        return signum(x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape
