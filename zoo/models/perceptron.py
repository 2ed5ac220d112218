"""Rosenblatt's perceptrons: the elementary perceptron, and the Mark I with its random plugboard."""

import keras

from zoo.layers import AssociationUnits, Step


def perceptron(classes: int = 10, input_shape: tuple[int, int, int] = (28, 28, 1)) -> keras.Model:
    """Elementary perceptron: input_shape -> (classes,). One trained response unit (R-unit) per class sees the whole retina.

    A unit outputs 1 if w·x + b > 0, else 0. SGD(alpha) on `zoo.losses.PerceptronCriterion`, one image at a time, is
    Rosenblatt's rule, w += alpha (d - y) x.

    Args:
        classes: number of R-units.
        input_shape: (height, width, channels) of an image.

    Returns:
        A Keras model whose scores are the sums w·x + b, before the threshold. The initial weights are zero.

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


def mark1(classes: int = 8, associations: int = 512, reach: int = 40, seed: int = 1958) -> keras.Model:
    """Mark I perceptron: (20, 20, 1) -> (classes,). By default 16,000 fixed wires, then 4,096 trained weights.

    400 photocells that are on or off are wired at random, by a plugboard, to association units (A-units) with a threshold. A
    motor-driven potentiometer connects every A-unit to every response unit (R-unit); only these weights are trained.

    Args:
        classes: number of R-units; the machine had eight.
        associations: number of A-units; the machine had 512.
        reach: number of A-units that each photocell is wired to; the machine allowed 40 at most.
        seed: random seed of the wiring.

    Returns:
        A Keras model whose scores are the sums of the R-units, before the threshold. The initial weights are zero.

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
