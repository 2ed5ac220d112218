"""The linear classifier: one template a class."""

import keras


def linear(classes=10, input_shape=(28, 28, 1)):
    """Linear classifier s = Wx + b: input_shape -> (classes,).

    The loss makes it an SVM or a softmax classifier; the machine is the same.

    Args:
        classes: number of classes.
        input_shape: (height, width, channels) of a picture.

    Returns:
        A Keras model whose scores are the linear responses.

    References:
        CS231n (2017), lectures 2 and 3; LeCun et al. (1998), section III.C.1.
    """
    return keras.Sequential(
        [
            keras.Input(input_shape, name="image"),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(classes, kernel_initializer="zeros", name="scores"),
        ],
        name="linear",
    )
