from collections.abc import Callable

import keras

from zoo.layers.traits import Traits
from zoo.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class TrainableSubsampling(keras.layers.Layer):
    """Trainable sub-sampling: the sum of each window, times the coefficient of the map, plus the bias of the map.

    Unlike average pooling it has trained weights, one coefficient and one bias per map, so a unit can blur its inputs or
    compute their OR or AND. The squashing function that follows in the paper is a separate layer.

    Input shape: (batch, height, width, maps). Output shape: (batch, height / pool_size, width / pool_size, maps).

    Args:
        pool_size: side of the square window, and the stride, in pixels; it must divide height and width.
        coefficient_initializer: Keras initializer. Default: the paper's U(±2.4/F) with F = pool_size².
        bias_initializer: Keras initializer. Default: likewise.

    Raises:
        ValueError: at build, if `pool_size` does not divide height and width.

    References:
        LeCun et al. (1998), section II.B, layers S2 and S4.
    """

    traits = Traits()

    def __init__(
        self,
        pool_size: int = 2,
        coefficient_initializer: str | dict | Callable | None = None,
        bias_initializer: str | dict | Callable | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        start = {"class_name": "zoo>FanInUniform", "config": {"fan_in": pool_size**2}}
        self.pool_size = pool_size
        self.coefficient_initializer = keras.initializers.get(coefficient_initializer or start)
        self.bias_initializer = keras.initializers.get(bias_initializer or start)

    def build(self, input_shape: Shape) -> None:
        _, height, width, maps = input_shape
        if height % self.pool_size or width % self.pool_size:
            raise ValueError(
                f"{self.name}: windows of {self.pool_size}x{self.pool_size} do not tile an input of {height}x{width}. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.coefficient = self.add_weight((maps,), self.coefficient_initializer, name="coefficient")
        self.bias = self.add_weight((maps,), self.bias_initializer, name="bias")

    def call(self, x: Tensor) -> Tensor:
        # The sum of a window is its mean times its size; pooling is one fast operator on every backend and in ONNX.
        mean = keras.ops.average_pool(x, self.pool_size, self.pool_size)
        return mean * (self.pool_size**2 * self.coefficient) + self.bias

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, height, width, maps = input_shape
        return batch, height // self.pool_size, width // self.pool_size, maps

    def receptive_window(self) -> tuple[int, int, int]:
        """Return (size, stride, padding before) of the windows, in input units."""
        return self.pool_size, self.pool_size, 0

    def connections(self) -> tuple[int, int]:
        """Return (connections, multiply-accumulates) for one image: the inputs of each window, and its bias."""
        _, height, width, maps = self.output.shape
        outputs = height * width * maps
        return outputs * (self.pool_size**2 + 1), outputs

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "coefficient_initializer": keras.initializers.serialize(self.coefficient_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }
