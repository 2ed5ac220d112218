import keras
from keras import ops

from zoo.layers.local_response_normalization import inverse_power, widened
from zoo.layers.traits import Traits


@keras.saving.register_keras_serializable("zoo")
class WithinMapNormalization(keras.layers.Layer):
    """Divide each unit by the activity of its neighbours in the same map: b = a / (k + alpha · sum a²)^beta.

    The sum goes over a square window around the unit, cut off at the border of the map.

    Args:
        size: side of the window, in units, odd.
        alpha: factor of each square, not divided by the number of units in the window.
        beta: the exponent.
        k: what is added before the exponent.

    Raises:
        ValueError: if the size is even.

    References:
        The authors' configuration 145 of AlexNet, layer after the second normalization across maps; the paper leaves it out.
    """

    traits = Traits()

    def __init__(self, size=5, alpha=0.001 / 25, beta=0.75, k=1.0, **kwargs):
        super().__init__(**kwargs)
        if size % 2 == 0:
            raise ValueError(f"{self.name}: the window has a middle, so its size is odd. Received: size={size}")
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def call(self, x):
        wide = widened(x)
        border = (self.size // 2, self.size // 2)
        squares = ops.pad(ops.square(wide), ((0, 0), border, border, (0, 0)))
        # The mean of a full window, zeros outside included, times its units is the sum; pooling is one fast operator.
        activity = ops.average_pool(squares, self.size, 1, padding="valid") * self.size**2
        return ops.cast(wide * inverse_power(self.k + self.alpha * activity, self.beta), x.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def receptive_window(self):
        """Return (size, stride, padding before) of the windows, in input units."""
        return self.size, 1, self.size // 2

    def get_config(self):
        return {**super().get_config(), "size": self.size, "alpha": self.alpha, "beta": self.beta, "k": self.k}
