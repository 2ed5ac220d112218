"""The nearest-neighbor rule, which memorizes the training images."""

import keras

from zoo.layers import NearestNeighbors


def nearest_neighbor(
    classes: int = 10,
    k: int = 1,
    metric: str = "l2",
    capacity: int = 60000,
    input_shape: tuple[int, int, int] = (28, 28, 1),
) -> keras.Model:
    """k-nearest-neighbor rule: input_shape -> (classes,). It has no trainable parameters.

    It is trained by `zoo.rules.Memorize`.

    Args:
        classes: number of classes.
        k: number of neighbors that vote.
        metric: "l2", the Euclidean distance, or "l1", the sum of absolute differences.
        capacity: number of images that it can memorize.
        input_shape: (height, width, channels) of an image.

    Returns:
        A functional Keras model whose scores are the votes of the neighbors.

    References:
        Cover, Hart (1967), Nearest neighbor pattern classification; LeCun et al. (1998), section III.C.3.
    """
    image = keras.Input(input_shape, name="image")
    x = keras.layers.Flatten(name="flatten")(image)
    scores = NearestNeighbors(classes, k, metric, capacity, name="neighbors")(x)
    return keras.Model(image, scores, name="nearest-neighbor")
