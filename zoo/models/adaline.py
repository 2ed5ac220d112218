"""Widrow's machines: Adaline, the adaptive linear neuron, and Madaline, a network of many Adalines."""

from collections.abc import Sequence

import keras

from zoo.errors import ZooError
from zoo.layers import FixedLogic, RBFOutput, Signum

# Initial weights are U(±0.05), a reconstruction: the initial sums of 784 inputs of ±1 are then about ±1.
START = 0.05


def adaline(
    classes: int = 10, targets: Sequence[float] | None = None, input_shape: tuple[int, int, int] = (28, 28, 1)
) -> keras.Model:
    """Adaline, the adaptive linear neuron: input_shape -> (classes,). Linear units, each with a bias; zero initial weights.

    Args:
        classes: number of classes.
        targets: None for one unit per class, trained on +1 for its class and -1 for the others; or one number per class, for
            a single unit that is trained on the number of the class.
        input_shape: (height, width, channels) of an image.

    Returns:
        A Keras model. With one unit per class the scores are the linear sums, before any threshold; with a single unit,
        minus the squared distances of its sum to the targets.

    Raises:
        zoo.ZooError: if the number of targets is not the number of classes.

    References:
        Widrow, Hoff (1960), Adaptive switching circuits.
    """
    if targets is not None and len(targets) != classes:
        raise ZooError(f"adaline needs one target per class, not {len(targets)} targets for {classes} classes")
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


def madaline(
    classes: int = 10, units: int = 5, logic: str = "majority", input_shape: tuple[int, int, int] = (28, 28, 1)
) -> keras.Model:
    """Madaline I: input_shape -> (classes,). A layer of trained Adalines and fixed logic elements that vote over them.

    Args:
        classes: number of classes. Two share one logic element, as in the machine. More have one element each, with its own
            Adalines; that is a reconstruction.
        units: number of Adalines per logic element.
        logic: "majority", "and" or "or", see `zoo.layers.FixedLogic`.
        input_shape: (height, width, channels) of an image.

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


def madaline2(classes: int = 10, hidden: int = 64, input_shape: tuple[int, int, int] = (28, 28, 1)) -> keras.Model:
    """Two-layer Madaline, for Madaline rule II: input_shape -> (classes,). Both layers are trained Adalines.

    Args:
        classes: number of classes. Two share one output Adaline, more have one each.
        hidden: number of Adalines in the first layer.
        input_shape: (height, width, channels) of an image.

    Returns:
        A Keras model whose scores are the linear sums of the output Adalines, whose answers are the signs; for two classes,
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
    """Return a layer of Adalines with random initial weights: equal units would answer and be adapted alike."""
    uniform = keras.initializers.RandomUniform
    return keras.layers.Dense(
        units, kernel_initializer=uniform(-START, START), bias_initializer=uniform(-START, START), name=name
    )


def _two_targets(classes):
    """Return the layers after the output: for two classes, one that computes two scores from a single output."""
    return [RBFOutput([[-1.0], [1.0]], name="targets")] if classes == 2 else []
