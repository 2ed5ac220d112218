import keras
import numpy as np
from numpy.typing import ArrayLike

from zoo.layers.traits import Traits
from zoo.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class RBFOutput(keras.layers.Layer):
    """Radial basis function output: the score of a class is minus the squared distance to its fixed prototype.

    -y_i = -sum_j (x_j - w_ij)². The paper's units output the distance, and the smallest wins. The layer negates it, so that
    the largest score wins, as in every classifier.

    Input shape: (..., features). Output shape: (..., classes).

    Args:
        prototypes: (classes, features) array of the fixed w_ij; in the paper a ±1 bitmap of 7x12 pixels per class.

    Raises:
        ValueError: at build, if the input has another number of features.

    References:
        LeCun et al. (1998), section II.B, eq. 7 and fig. 3.
    """

    traits = Traits(keep_float32=True, fast_under_xla=True)  # squared differences

    def __init__(self, prototypes: ArrayLike, **kwargs) -> None:
        super().__init__(**kwargs)
        self.prototypes = np.asarray(prototypes, "float32")

    def build(self, input_shape: Shape) -> None:
        if input_shape[-1] != self.prototypes.shape[1]:
            raise ValueError(
                f"{self.name}: the prototypes have {self.prototypes.shape[1]} features. "
                f"Received: input_shape={tuple(input_shape)}"
            )

    def call(self, x: Tensor) -> Tensor:
        # Not computed as |x|² - 2xw + |w|², which loses precision near a prototype.
        difference = keras.ops.expand_dims(x, -2) - keras.ops.cast(self.prototypes, x.dtype)
        return -keras.ops.sum(keras.ops.square(difference), axis=-1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.prototypes.shape[0])

    def connections(self) -> tuple[int, int]:
        """Return (connections, multiply-accumulates) for one image: each feature with each prototype; no bias."""
        return self.prototypes.size, self.prototypes.size

    def get_config(self) -> Config:
        return {**super().get_config(), "prototypes": self.prototypes.tolist()}
