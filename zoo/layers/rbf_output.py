import keras
import numpy as np

from zoo.layers.traits import Traits


@keras.saving.register_keras_serializable("zoo")
class RBFOutput(keras.layers.Layer):
    """Score each class by minus the squared Euclidean distance to its fixed prototype: -y_i = -sum_j (x_j - w_ij)².

    The paper's unit puts out the distance and the smallest wins. Here it is negated, so that in this layer, as in every
    classifier, the largest score wins.

    Args:
        prototypes: (classes, features) array of the fixed w_ij, in the paper a ±1 bitmap of 7x12 a class.

    References:
        LeCun et al. (1998), section II.B, eq. 7 and fig. 3.
    """

    traits = Traits(keep_float32=True, fast_under_xla=True)  # squared differences

    def __init__(self, prototypes, **kwargs):
        super().__init__(**kwargs)
        self.prototypes = np.asarray(prototypes, "float32")

    def build(self, input_shape):
        if input_shape[-1] != self.prototypes.shape[1]:
            raise ValueError(
                f"{self.name}: the prototypes have {self.prototypes.shape[1]} features. "
                f"Received: input_shape={tuple(input_shape)}"
            )

    def call(self, x):
        # Written as the difference, not as |x|² - 2xw + |w|²: near a prototype that form loses its digits.
        difference = keras.ops.expand_dims(x, -2) - keras.ops.cast(self.prototypes, x.dtype)
        return -keras.ops.sum(keras.ops.square(difference), axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.prototypes.shape[0])

    def connections(self):
        """Return (connections, multiply-accumulates) of one picture; the prototypes are fixed and have no bias."""
        return self.prototypes.size, self.prototypes.size

    def get_config(self):
        return {**super().get_config(), "prototypes": self.prototypes.tolist()}
