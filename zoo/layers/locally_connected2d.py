import keras
from keras import ops

from zoo.layers.traits import Traits


@keras.saving.register_keras_serializable("zoo")
class LocallyConnected2D(keras.layers.Layer):
    """Like a convolution, but every place has kernels and biases of its own; unit stride, a border of zeros keeps the size.

    Args:
        filters: number of output maps.
        kernel_size: side of the square windows, in units, odd.
        activation: Keras activation, or its name.
        kernel_initializer: start of the kernels.
        bias_initializer: start of the biases.

    Raises:
        ValueError: if the window is even.

    References:
        Layer "local" of cuda-convnet, the code to which Krizhevsky, Sutskever, Hinton (2012), section 3.3, refers.
    """

    traits = Traits()

    def __init__(
        self,
        filters,
        kernel_size,
        activation=None,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if kernel_size % 2 == 0:
            raise ValueError(f"{self.name}: the window has a middle, so its side is odd. Received: {kernel_size}")
        self.filters = filters
        self.kernel_size = kernel_size
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)

    def build(self, input_shape):
        _, height, width, maps = input_shape
        inputs = self.kernel_size**2 * maps
        self.kernel = self.add_weight((height, width, inputs, self.filters), self.kernel_initializer, name="kernel")
        self.bias = self.add_weight((height, width, self.filters), self.bias_initializer, name="bias")

    def call(self, x):
        _, height, width, _ = x.shape
        border = (self.kernel_size // 2, self.kernel_size // 2)
        padded = ops.pad(x, ((0, 0), border, border, (0, 0)))
        offsets = range(self.kernel_size)
        shifted = [padded[:, row : row + height, column : column + width] for row in offsets for column in offsets]
        inputs = self.kernel.shape[2]
        windows = ops.reshape(ops.concatenate(shifted, axis=-1), (-1, height * width, inputs))
        kernels = ops.reshape(self.kernel, (height * width, inputs, self.filters))
        # A matrix product a place: (places, batch, inputs) times (places, inputs, filters).
        sums = ops.transpose(ops.matmul(ops.transpose(windows, (1, 0, 2)), kernels), (1, 0, 2))
        return self.activation(ops.reshape(sums, (-1, height, width, self.filters)) + self.bias)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def receptive_window(self):
        """Return (size, stride, padding before) of the windows, in input units."""
        return self.kernel_size, 1, self.kernel_size // 2

    def connections(self):
        """Return (connections, multiply-accumulates) of one picture: every window's inputs, the border too, and a bias."""
        height, width, inputs, filters = self.kernel.shape
        outputs = height * width * filters
        return outputs * (inputs + 1), outputs * inputs

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }
