import keras

from zoo.layers.traits import Traits
from zoo.types import Config, Tensor


@keras.saving.register_keras_serializable("zoo")
class Step(keras.layers.Layer):
    """Step function: 1 above a threshold and 0 elsewhere, as a photocell or a threshold unit.

    It has no gradient, so the layers before it cannot be trained by gradients.

    Args:
        threshold: the output is 1 if the input exceeds this, and 0 at the threshold itself.

    References:
        Rosenblatt (1958), The perceptron: a probabilistic model for information storage and organization in the brain.
    """

    traits = Traits(pointwise=True, keep_float32=True)  # a threshold turns a rounding error into the largest difference

    def __init__(self, threshold: float = 0.0, **kwargs) -> None:
        super().__init__(**kwargs)
        self.threshold = threshold

    def call(self, x: Tensor) -> Tensor:
        return keras.ops.cast(x > self.threshold, x.dtype)

    def get_config(self) -> Config:
        return {**super().get_config(), "threshold": self.threshold}
