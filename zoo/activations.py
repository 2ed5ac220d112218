"""The activations of CS231n (2017), lecture 6, that Keras lacks; its ELU is Keras' "elu", its maxout `zoo.layers.Maxout`."""

import keras


@keras.saving.register_keras_serializable("zoo")
def leaky_relu(x):
    """Return max(0.1 x, x); Keras' own slopes are 0.2 and 0.3."""
    return keras.ops.leaky_relu(x, negative_slope=0.1)
