import math

import keras
from keras import ops

from zoo.layers.traits import Traits


@keras.saving.register_keras_serializable("zoo")
class Maxout(keras.layers.Layer):
    """Let each unit put out the largest of its own linear pieces: max over k of (w_k x + b_k).

    Args:
        units: number of units.
        pieces: linear functions a unit.
        kernel_initializer, bias_initializer, kernel_constraint: as for `keras.layers.Dense`. The kernel is
            (features, units * pieces); the pieces of a unit lie side by side.

    References:
        Goodfellow et al. (2013), Maxout networks, eq. in section 3.
    """

    traits = Traits()

    def __init__(
        self,
        units,
        pieces=2,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_constraint=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units = units
        self.pieces = pieces
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)

    def build(self, input_shape):
        shape = (input_shape[-1], self.units * self.pieces)
        self.kernel = self.add_weight(shape, self.kernel_initializer, constraint=self.kernel_constraint, name="kernel")
        self.bias = self.add_weight(shape[1:], self.bias_initializer, name="bias")

    def call(self, x):
        pieces = ops.matmul(x, self.kernel) + self.bias
        return ops.max(ops.reshape(pieces, (-1, *x.shape[1:-1], self.units, self.pieces)), axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def connections(self):
        """Return (connections, multiply-accumulates) of one picture: every input of every piece, and its bias."""
        pieces = math.prod(self.output.shape[1:]) * self.pieces
        macs = pieces * self.kernel.shape[0]
        return macs + pieces, macs

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "pieces": self.pieces,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
        }
