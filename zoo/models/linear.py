"""The linear classifier: one template per class."""

import keras


def linear(classes: int = 10, input_shape: tuple[int, int, int] = (28, 28, 1)) -> keras.Model:
    """Linear classifier s = Wx + b: input_shape -> (classes,).

    With the hinge loss it is a support vector machine (SVM), with cross-entropy a softmax classifier.

    Args:
        classes: number of classes.
        input_shape: (height, width, channels) of an image.

    Returns:
        A Keras model whose scores are s. The initial weights are zero.

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
