"""Widrow's machines: the adaptive linear neuron, Adaline, and the nets of many, Madaline."""

import keras

from zoo.errors import ZooError
from zoo.layers import FixedLogic, RBFOutput, Signum

# A reconstruction: U(±0.05) makes the first sums of 784 inputs of ±1 about ±1.
START = 0.05


def adaline(classes=10, targets=None, input_shape=(28, 28, 1)):
    """Adaline: input_shape -> (classes,), linear units, each with a bias whose input is always 1; they start from zero.

    Args:
        classes: number of classes.
        targets: None for a unit a class, which is taught +1 for its own and -1 for the others; or one number a class: there
            is one unit, and each class is a value of it.
        input_shape: (height, width, channels) of a picture.

    Returns:
        A Keras model. With a unit a class the scores are its linear sums, before any threshold; with one unit, minus the
        squared distances of its sum to the targets.

    Raises:
        zoo.ZooError: if there is not one target a class.

    References:
        Widrow, Hoff (1960), Adaptive switching circuits.
    """
    if targets is not None and len(targets) != classes:
        raise ZooError(f"adaline takes one target a class; given were {len(targets)} targets and {classes} classes")
    units = classes if targets is None else 1
    ending = [] if targets is None else [RBFOutput([[target] for target in targets], name="targets")]
    return keras.Sequential(
        [
            keras.Input(input_shape, name="image"),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(units, kernel_initializer="zeros", name="adaline"),
            *ending,
        ],
        name="adaline",
    )


def madaline(classes=10, units=5, logic="majority", input_shape=(28, 28, 1)):
    """Madaline I: input_shape -> (classes,), a layer of trained Adalines and a fixed logic element.

    Args:
        classes: number of classes. Two share one logic element, as in the machine; more have one each, with Adalines of its
            own, a reconstruction.
        units: Adalines of a logic element.
        logic: "majority", "and" or "or", see `zoo.layers.FixedLogic`.
        input_shape: (height, width, channels) of a picture.

    Returns:
        A Keras model whose scores are those of the logic elements; for two classes, minus the squared distances to ±1.

    References:
        Widrow (1962), Generalization and information storage in networks of Adaline "neurons"; Widrow, Lehr (1990), 30 years
        of adaptive neural networks.
    """
    elements = 1 if classes == 2 else classes
    return keras.Sequential(
        [
            keras.Input(input_shape, name="image"),
            keras.layers.Flatten(name="flatten"),
            _adalines(elements * units, "adalines"),
            FixedLogic(units, logic, name="logic"),
            *_two_targets(classes),
        ],
        name="madaline",
    )


def madaline2(classes=10, hidden=64, input_shape=(28, 28, 1)):
    """Two-layer Madaline, for Madaline rule II: input_shape -> (classes,), both layers are trained Adalines.

    Args:
        classes: number of classes. Two share one output Adaline, more have one each.
        hidden: Adalines of the first layer.
        input_shape: (height, width, channels) of a picture.

    Returns:
        A Keras model whose scores are the linear sums of the output Adalines, their answers the signs; for two classes,
        minus the squared distances to ±1.

    References:
        Winter, Widrow (1988), Madaline rule II: a training algorithm for neural networks.
    """
    return keras.Sequential(
        [
            keras.Input(input_shape, name="image"),
            keras.layers.Flatten(name="flatten"),
            _adalines(hidden, "hidden"),
            Signum(name="threshold"),
            _adalines(1 if classes == 2 else classes, "output"),
            *_two_targets(classes),
        ],
        name="madaline2",
    )


def _adalines(units, name):
    """Return a layer of Adalines with random knobs: equal ones would answer alike and be adapted alike."""
    start = keras.initializers.RandomUniform
    return keras.layers.Dense(
        units, kernel_initializer=start(-START, START), bias_initializer=start(-START, START), name=name
    )


def _two_targets(classes):
    """Return the layer that makes two scores of one output, for two classes."""
    return [RBFOutput([[-1.0], [1.0]], name="targets")] if classes == 2 else []
