import keras

from zoo.layers.traits import Traits


@keras.saving.register_keras_serializable("zoo")
class ScaledTanh(keras.layers.Layer):
    """Squash with A·tanh(S·x), which takes ±1 to ±1 and has the maximum of its second derivative there.

    Args:
        amplitude: A, the asymptote.
        slope: S, the slope at the origin divided by A.

    References:
        LeCun, Bottou, Bengio, Haffner (1998), Gradient-based learning applied to document recognition, appendix A.
    """

    traits = Traits(pointwise=True, fast_under_xla=True)

    def __init__(self, amplitude=1.7159, slope=2 / 3, **kwargs):
        super().__init__(**kwargs)
        self.amplitude = amplitude
        self.slope = slope

    def call(self, x):
        return self.amplitude * keras.ops.tanh(self.slope * x)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "amplitude": self.amplitude, "slope": self.slope}
