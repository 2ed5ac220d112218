import math
from collections.abc import Callable

import keras
from keras import ops

from zoo.layers.traits import Traits
from zoo.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class Maxout(keras.layers.Layer):
    """Maxout layer: each unit outputs the maximum of its own linear functions, max over k of (w_k x + b_k).

    Input shape: (..., features). Output shape: (..., units).

    Args:
        units: number of units.
        pieces: number of linear functions per unit.
        kernel_initializer, bias_initializer, kernel_constraint: as for `keras.layers.Dense`. The kernel is
            (features, units * pieces); the pieces of one unit are adjacent.

    References:
        Goodfellow et al. (2013), Maxout networks, eq. in section 3.
    """

    traits = Traits()

    def __init__(
        self,
        units: int,
        pieces: int = 2,
        kernel_initializer: str | dict | Callable = "glorot_uniform",
        bias_initializer: str | dict | Callable = "zeros",
        kernel_constraint: str | dict | Callable | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.pieces = pieces
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)

    def build(self, input_shape: Shape) -> None:
        shape = (input_shape[-1], self.units * self.pieces)
        self.kernel = self.add_weight(shape, self.kernel_initializer, constraint=self.kernel_constraint, name="kernel")
        self.bias = self.add_weight(shape[1:], self.bias_initializer, name="bias")

    def call(self, x: Tensor) -> Tensor:
        pieces = ops.matmul(x, self.kernel) + self.bias
        return ops.max(ops.reshape(pieces, (-1, *x.shape[1:-1], self.units, self.pieces)), axis=-1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def connections(self) -> tuple[int, int]:
        """Return (connections, multiply-accumulates) for one image: each input of each piece, and its bias."""
        pieces = math.prod(self.output.shape[1:]) * self.pieces
        macs = pieces * self.kernel.shape[0]
        return macs + pieces, macs

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "units": self.units,
            "pieces": self.pieces,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
        }
