import keras
from keras import ops

from zoo.layers.local_response_normalization import inverse_power, widened
from zoo.layers.traits import Traits
from zoo.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class WithinMapNormalization(keras.layers.Layer):
    """Normalization within a map: b = a / (k + alpha · sum a²)^beta, summed over a square window around the unit.

    The window is cut off at the border of the map.

    Input and output shape: (batch, height, width, maps).

    Args:
        size: side of the window, in units, odd.
        alpha: factor of each square, not divided by the number of units in the window.
        beta: exponent.
        k: constant that is added before the exponent is applied.

    Raises:
        ValueError: if the size is even.

    References:
        The authors' configuration 145 of AlexNet, after the second normalization across maps. The paper does not mention
        this layer.
    """

    traits = Traits()

    def __init__(self, size: int = 5, alpha: float = 0.001 / 25, beta: float = 0.75, k: float = 1.0, **kwargs) -> None:
        super().__init__(**kwargs)
        if size % 2 == 0:
            raise ValueError(f"{self.name}: size must be odd, so that the window has a middle. Received: size={size}")
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def call(self, x: Tensor) -> Tensor:
        wide = widened(x)
        border = (self.size // 2, self.size // 2)
        squares = ops.pad(ops.square(wide), ((0, 0), border, border, (0, 0)))
        # The sum is the mean of a full window, zeros outside included, times its units; pooling is one fast operator.
        activity = ops.average_pool(squares, self.size, 1, padding="valid") * self.size**2
        return ops.cast(wide * inverse_power(self.k + self.alpha * activity, self.beta), x.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def receptive_window(self) -> tuple[int, int, int]:
        """Return (size, stride, padding before) of the windows, in input units."""
        return self.size, 1, self.size // 2

    def get_config(self) -> Config:
        return {**super().get_config(), "size": self.size, "alpha": self.alpha, "beta": self.beta, "k": self.k}
