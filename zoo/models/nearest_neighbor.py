"""The nearest neighbour: a machine that learns by heart."""

import keras

from zoo.layers import NearestNeighbors


def nearest_neighbor(classes=10, k=1, metric="l2", capacity=60000, input_shape=(28, 28, 1)):
    """Nearest neighbour rule: input_shape -> (classes,), no trainable parameters.

    It learns by `zoo.rules.Memorize`.

    Args:
        classes: number of classes.
        k: how many neighbours vote.
        metric: "l2", the Euclidean distance, or "l1", the sum of absolute differences.
        capacity: how many pictures it can memorise.
        input_shape: (height, width, channels) of a picture.

    Returns:
        A functional Keras model whose scores are the votes of the neighbours.

    References:
        Cover, Hart (1967), Nearest neighbor pattern classification; LeCun et al. (1998), section III.C.3.
    """
    image = keras.Input(input_shape, name="image")
    x = keras.layers.Flatten(name="flatten")(image)
    scores = NearestNeighbors(classes, k, metric, capacity, name="neighbors")(x)
    return keras.Model(image, scores, name="nearest-neighbor")
