import keras


def signum(x):
    """Return +1 where x is at least 0, else -1: an Adaline must answer, so there is no third value."""
    return keras.ops.where(x >= 0, keras.ops.ones_like(x), -keras.ops.ones_like(x))


@keras.saving.register_keras_serializable("zoo")
class Signum(keras.layers.Layer):
    """Threshold the linear sums of Adalines: x -> +1 if x is at least 0, else -1. It has no gradient.

    References:
        Widrow, Hoff (1960), Adaptive switching circuits.
    """

    def call(self, x):
        return signum(x)

    def compute_output_shape(self, input_shape):
        return input_shape
