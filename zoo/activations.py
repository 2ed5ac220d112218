"""Activations of CS231n (2017), lecture 6, that Keras lacks. Its ELU is Keras' "elu", its maxout `zoo.layers.Maxout`."""

import keras

from zoo.types import Tensor


@keras.saving.register_keras_serializable("zoo")
def leaky_relu(x: Tensor) -> Tensor:
    """Return max(0.1 x, x). Keras' defaults are slopes of 0.2 and 0.3."""
    return keras.ops.leaky_relu(x, negative_slope=0.1)
