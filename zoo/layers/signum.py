import keras

from zoo.layers.traits import Traits


def signum(x):
    """Return +1 where x is at least 0, else -1: an Adaline must answer, so there is no third value."""
    return keras.ops.cast(keras.ops.where(x >= 0, 1.0, -1.0), x.dtype)


@keras.saving.register_keras_serializable("zoo")
class Signum(keras.layers.Layer):
    """Threshold the linear sums of Adalines: x -> +1 if x is at least 0, else -1. It has no gradient.

    References:
        Widrow, Hoff (1960), Adaptive switching circuits.
    """

    traits = Traits(pointwise=True, keep_float32=True)  # a threshold turns a rounding error into the largest difference

    def call(self, x):
        return signum(x)

    def compute_output_shape(self, input_shape):
        return input_shape
