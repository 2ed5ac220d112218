"""Rosenblatt's perceptrons: the elementary one, and the Mark I with its random plugboard."""

import keras

from zoo.layers import AssociationUnits, Step


def perceptron(classes=10, input_shape=(28, 28, 1)):
    """Elementary perceptron: a trained R-unit a class, all of which see the whole retina; input_shape -> (classes,).

    A unit answers f(x) = 1 if w·x + b > 0, else 0. Trained by SGD(alpha) one picture at a time with
    `zoo.losses.PerceptronCriterion`, it learns by Rosenblatt's rule, w += alpha (d - y) x.

    Args:
        classes: number of R-units.
        input_shape: (height, width, channels) of a picture.

    Returns:
        A Keras model whose scores are the sums w·x + b, in front of the threshold. All weights start from zero.

    References:
        Rosenblatt (1958), The perceptron: a probabilistic model for information storage and organization in the brain;
        CS231n (2017), lecture 4.
    """
    return keras.Sequential(
        [
            keras.Input(input_shape, name="image"),
            keras.layers.Flatten(name="retina"),
            keras.layers.Dense(classes, kernel_initializer="zeros", name="response"),
        ],
        name="perceptron",
    )


def mark1(classes=8, associations=512, reach=40, seed=1958):
    """Mark I perceptron: (20, 20, 1) -> (classes,), by default 4,096 trained weights behind 16,000 fixed wires.

    400 photocells that are on or off, a plugboard wired at random to A-units with a threshold, and from every A-unit to
    every R-unit a motor-driven potentiometer: these alone learn.

    Args:
        classes: number of R-units; the machine had eight.
        associations: number of A-units; the machine had 512.
        reach: how many A-units each photocell is wired to; the machine allowed 40 at most.
        seed: int from which the wiring follows.

    Returns:
        A Keras model whose scores are the sums of the R-units, in front of the threshold. All weights start from zero.

    References:
        Rosenblatt (1958); Hay, Martin, Wightman (1960), The Mark I perceptron: design and performance. The wiring is a
        reconstruction, see `zoo.layers.AssociationUnits`.
    """
    return keras.Sequential(
        [
            keras.Input((20, 20, 1), name="image"),
            Step(0.5, name="photocells"),
            keras.layers.Flatten(name="retina"),
            AssociationUnits(associations, reach, seed=seed, name="association"),
            keras.layers.Dense(classes, use_bias=False, kernel_initializer="zeros", name="response"),
        ],
        name="mark1",
    )
