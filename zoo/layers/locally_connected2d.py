from collections.abc import Callable

import keras
from keras import ops

from zoo.layers.traits import Traits
from zoo.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class LocallyConnected2D(keras.layers.Layer):
    """Locally connected layer: a convolution whose kernels and biases are not shared between positions.

    The stride is 1, and a border of zeros keeps the size of the maps.

    Input shape: (batch, height, width, maps). Output shape: (batch, height, width, filters).

    Args:
        filters: number of output maps.
        kernel_size: side of the square windows, in units, odd.
        activation: Keras activation, or its name.
        kernel_initializer: Keras initializer of the kernels, (height, width, kernel_size² * maps, filters).
        bias_initializer: Keras initializer of the biases, (height, width, filters).

    Raises:
        ValueError: if `kernel_size` is even.

    References:
        Layer "local" of cuda-convnet, the code to which Krizhevsky, Sutskever, Hinton (2012), section 3.3, refers.
    """

    traits = Traits()

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        activation: str | Callable | None = None,
        kernel_initializer: str | dict | Callable = "glorot_uniform",
        bias_initializer: str | dict | Callable = "zeros",
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if kernel_size % 2 == 0:
            raise ValueError(
                f"{self.name}: kernel_size must be odd, so that the window has a middle. Received: kernel_size={kernel_size}"
            )
        self.filters = filters
        self.kernel_size = kernel_size
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)

    def build(self, input_shape: Shape) -> None:
        _, height, width, maps = input_shape
        inputs = self.kernel_size**2 * maps
        self.kernel = self.add_weight((height, width, inputs, self.filters), self.kernel_initializer, name="kernel")
        self.bias = self.add_weight((height, width, self.filters), self.bias_initializer, name="bias")

    def call(self, x: Tensor) -> Tensor:
        _, height, width, _ = x.shape
        border = (self.kernel_size // 2, self.kernel_size // 2)
        padded = ops.pad(x, ((0, 0), border, border, (0, 0)))
        offsets = range(self.kernel_size)
        shifted = [padded[:, row : row + height, column : column + width] for row in offsets for column in offsets]
        inputs = self.kernel.shape[2]
        windows = ops.reshape(ops.concatenate(shifted, axis=-1), (-1, height * width, inputs))
        kernels = ops.reshape(self.kernel, (height * width, inputs, self.filters))
        # One matrix product per position: (positions, batch, inputs) times (positions, inputs, filters).
        sums = ops.transpose(ops.matmul(ops.transpose(windows, (1, 0, 2)), kernels), (1, 0, 2))
        return self.activation(ops.reshape(sums, (-1, height, width, self.filters)) + self.bias)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.filters)

    def receptive_window(self) -> tuple[int, int, int]:
        """Return (size, stride, padding before) of the windows, in input units."""
        return self.kernel_size, 1, self.kernel_size // 2

    def connections(self) -> tuple[int, int]:
        """Return (connections, multiply-accumulates) for one image: inputs of each window, border included, and a bias."""
        height, width, inputs, filters = self.kernel.shape
        outputs = height * width * filters
        return outputs * (inputs + 1), outputs * inputs

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }
