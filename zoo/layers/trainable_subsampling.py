import keras

from zoo.layers.traits import Traits


@keras.saving.register_keras_serializable("zoo")
class TrainableSubsampling(keras.layers.Layer):
    """Add the inputs of each window, multiply by the map's coefficient and add the map's bias.

    This is not average pooling: coefficient and bias are learned, one pair a map, so that a unit may blur, OR or AND its
    inputs. The squashing function that follows in the paper is a layer of its own.

    Args:
        pool_size: side of the square window and its stride, in pixels; it must divide height and width.
        coefficient_initializer: start of the coefficients, by default the paper's U(±2.4/F) with F = pool_size².
        bias_initializer: start of the biases, likewise.

    Raises:
        ValueError: at build, if the window does not tile the input.

    References:
        LeCun et al. (1998), section II.B, layers S2 and S4.
    """

    traits = Traits()

    def __init__(self, pool_size=2, coefficient_initializer=None, bias_initializer=None, **kwargs):
        super().__init__(**kwargs)
        start = {"class_name": "zoo>FanInUniform", "config": {"fan_in": pool_size**2}}
        self.pool_size = pool_size
        self.coefficient_initializer = keras.initializers.get(coefficient_initializer or start)
        self.bias_initializer = keras.initializers.get(bias_initializer or start)

    def build(self, input_shape):
        _, height, width, maps = input_shape
        if height % self.pool_size or width % self.pool_size:
            raise ValueError(
                f"{self.name}: windows of {self.pool_size}x{self.pool_size} do not tile an input of {height}x{width}. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.coefficient = self.add_weight((maps,), self.coefficient_initializer, name="coefficient")
        self.bias = self.add_weight((maps,), self.bias_initializer, name="bias")

    def call(self, x):
        # The mean of a window times its size is its sum; pooling is a single fast operator on every backend and in ONNX.
        mean = keras.ops.average_pool(x, self.pool_size, self.pool_size)
        return mean * (self.pool_size**2 * self.coefficient) + self.bias

    def compute_output_shape(self, input_shape):
        batch, height, width, maps = input_shape
        return batch, height // self.pool_size, width // self.pool_size, maps

    def receptive_window(self):
        """Return (size, stride, padding before) of the windows, in input units."""
        return self.pool_size, self.pool_size, 0

    def connections(self):
        """Return (connections, multiply-accumulates) of one picture: every window's inputs and its bias."""
        _, height, width, maps = self.output.shape
        outputs = height * width * maps
        return outputs * (self.pool_size**2 + 1), outputs

    def get_config(self):
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "coefficient_initializer": keras.initializers.serialize(self.coefficient_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }
