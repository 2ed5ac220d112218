import keras

from zoo.layers.traits import Traits
from zoo.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class ScaledTanh(keras.layers.Layer):
    """Squashing function A·tanh(S·x). With the defaults it maps ±1 to ±1, where its second derivative is largest.

    Args:
        amplitude: A, the asymptote.
        slope: S, the factor of the input. The slope at the origin is A·S.

    References:
        LeCun, Bottou, Bengio, Haffner (1998), Gradient-based learning applied to document recognition, appendix A.
    """

    traits = Traits(pointwise=True, fast_under_xla=True)

    def __init__(self, amplitude: float = 1.7159, slope: float = 2 / 3, **kwargs) -> None:
        super().__init__(**kwargs)
        self.amplitude = amplitude
        self.slope = slope

    def call(self, x: Tensor) -> Tensor:
        return self.amplitude * keras.ops.tanh(self.slope * x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> Config:
        return {**super().get_config(), "amplitude": self.amplitude, "slope": self.slope}
