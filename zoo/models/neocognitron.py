"""The Neocognitron of 1980: the first convolutional net, self-organized and without a gradient."""

import keras

from zoo.layers import CCells, SCells


def neocognitron(classes=10, planes=(24, 24, 24), r=(4.0, 1.5, 1.5)):
    """The Neocognitron (Fukushima 1980, fig. 2): (16, 16, 1) -> (classes,), three pairs of S- and C-layers.

    The paper gives the sizes of the layers and 5x5 for what a cell sees. Every C-layer but the last is then thinned out 2:1
    and has a margin of one cell around it; only so do the sizes follow from one another. It is a reconstruction.

    Args:
        classes: number of classes of the linear read-out, which the paper does not have.
        planes: number of planes of each pair of layers; with two the net ends at C2.
        r: of each S-layer, see `zoo.layers.SCells`.

    Returns:
        A functional Keras model. It learns by `zoo.rules.SeedCells`; a gradient reaches the read-out alone.

    References:
        Fukushima (1980), Neocognitron: a self-organizing neural network model for a mechanism of pattern recognition
        unaffected by shift in position, Biological Cybernetics 36, 193-202.
    """
    if len(planes) != len(r) or not 1 <= len(planes) <= 3:
        raise ValueError(f"planes and r have a value for each of one to three S-layers. Received: planes={planes}, r={r}")
    margin = {"stride": 2, "padding": (3, 4)}
    x = image = keras.Input((16, 16, 1), name="image")
    stages = [
        (2, {"window": 5, **margin}),  # S1 16x16, C1 10x10
        (1, {"window": 5, **margin}),  # S2 8x8, C2 6x6
        (0, {"window": 2}),  # S3 2x2, C3 1x1
    ]
    for number, (count, strength, (padding, cells)) in enumerate(zip(planes, r, stages, strict=False), 1):
        x = SCells(count, 5, strength, padding, name=f"s{number}")(x)
        x = CCells(**cells, name=f"c{number}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    scores = keras.layers.Dense(classes, use_bias=False, kernel_initializer="zeros", name="readout")(x)
    return keras.Model(image, scores, name="neocognitron")
