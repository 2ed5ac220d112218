"""The Neocognitron of 1980: the first convolutional network, trained by self-organization instead of gradients."""

from collections.abc import Sequence

import keras

from zoo.layers import CCells, SCells


def neocognitron(
    classes: int = 10, planes: Sequence[int] = (24, 24, 24), r: Sequence[float] = (4.0, 1.5, 1.5)
) -> keras.Model:
    """The Neocognitron (Fukushima 1980, fig. 2): (16, 16, 1) -> (classes,). Three pairs of S- and C-layers.

    The paper gives the sizes of the layers and 5x5 for the window of a cell. The sizes agree only if every C-layer but the
    last has stride 2 and a margin of one cell around it; that is a reconstruction.

    Args:
        classes: number of classes of the linear read-out, which is not in the paper.
        planes: number of planes in each pair of layers; with two pairs the network ends at C2.
        r: inhibition of each S-layer, see `zoo.layers.SCells`.

    Returns:
        A functional Keras model. It is trained by `zoo.rules.SeedCells`; gradients reach only the read-out.

    Raises:
        ValueError: if `planes` and `r` do not have one value for each of one to three S-layers.

    References:
        Fukushima (1980), Neocognitron: a self-organizing neural network model for a mechanism of pattern recognition
        unaffected by shift in position, Biological Cybernetics 36, 193-202.
    """
    if len(planes) != len(r) or not 1 <= len(planes) <= 3:
        raise ValueError(f"planes and r need one value for each of one to three S-layers. Received: planes={planes}, r={r}")
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
