"""Multi-layer perceptrons: the logistic networks of 1986, which learned what a perceptron cannot, and the networks of 1998.

All end in fixed targets: in the networks of 1986 two classes share one output unit, and more classes have one unit each.
"""

from collections.abc import Sequence

import keras
import numpy as np

from zoo.initializers import FanInUniform
from zoo.layers import RBFOutput, ScaledTanh


def mlp(classes: int = 10, hidden: Sequence[int] = (300,), input_shape: tuple[int, int, int] = (28, 28, 1)) -> keras.Model:
    """Multi-layer perceptron of scaled tanh units (LeCun 1998, section III.C): input_shape -> (classes,).

    Args:
        classes: number of classes.
        hidden: number of units in each hidden layer, from the image on; in 1998 they were 300, 1000, 300-100 and 500-150.
        input_shape: (height, width, channels) of an image.

    Returns:
        A functional Keras model whose scores are minus the squared distances of its outputs to the targets: +1 for the
        unit of the class and -1 for the others.

    References:
        LeCun, Bottou, Bengio, Haffner (1998), Gradient-based learning applied to document recognition, sections III.C.4
        and III.C.5, fig. 9. Targets and initialization are those of LeNet-5, a reconstruction.
    """
    image = keras.Input(input_shape, name="image")
    x = keras.layers.Flatten(name="flatten")(image)
    names = [f"hidden{number}" for number in range(1, len(hidden) + 1)]
    for name, units in zip([*names, "output"], [*hidden, classes], strict=True):
        start = FanInUniform(x.shape[-1])
        x = keras.layers.Dense(units, kernel_initializer=start, bias_initializer=start, name=name)(x)
        x = ScaledTanh(name=f"{name}_squash")(x)
    scores = RBFOutput(2 * np.eye(classes) - 1, name="targets")(x)
    return keras.Model(image, scores, name="mlp")


def xor(classes: int = 2, hidden: int | None = None) -> keras.Model:
    """Exclusive or: (1, 2, 1) -> (classes,). One hidden unit and direct connections, 7 trainable parameters.

    Args:
        classes: number of classes.
        hidden: None for the network of 1986 with direct connections, or the number H of hidden units of a 2-H-1 network
            without them.

    Returns:
        A functional Keras model whose scores are minus the squared distances of its output to the targets 0 and 1.

    References:
        Rumelhart, Hinton, Williams (1986), Learning internal representations by error propagation, in Parallel
        Distributed Processing, volume 1, chapter 8, the XOR problem.
    """
    if hidden is None:
        return _logistic("xor", 2, 1, classes, direct=True)
    return _logistic("xor", 2, hidden, classes, start=1.0)


def symmetry(classes: int = 2) -> keras.Model:
    """Mirror symmetry of six bits: (1, 6, 1) -> (classes,). A 6-2-1 network, 17 trainable parameters.

    Args:
        classes: number of classes.

    Returns:
        A functional Keras model whose scores are minus the squared distances of its output to the targets 0 and 1.

    References:
        Rumelhart, Hinton, Williams (1986), Learning representations by back-propagating errors, fig. 1.
    """
    return _logistic("symmetry", 6, 2, classes)


def parity(classes: int = 2) -> keras.Model:
    """Parity of four bits: (1, 4, 1) -> (classes,). A 4-4-1 network, 25 trainable parameters.

    Args:
        classes: number of classes.

    Returns:
        A functional Keras model whose scores are minus the squared distances of its output to the targets 0 and 1.

    References:
        Rumelhart, Hinton, Williams (1986), Learning internal representations by error propagation, in Parallel
        Distributed Processing, volume 1, chapter 8, parity.
    """
    return _logistic("parity", 4, 4, classes, start=1.0)


def encoder(classes: int = 8) -> keras.Model:
    """Encoder of eight patterns in three hidden units: (1, 8, 1) -> (classes,). An 8-3-8 network, 59 trainable parameters.

    Args:
        classes: number of classes.

    Returns:
        A functional Keras model whose scores are minus the squared distances of its outputs to the targets: 1 for the
        unit of the class and 0 for the others.

    References:
        Rumelhart, Hinton, Williams (1986), Learning internal representations by error propagation, in Parallel
        Distributed Processing, volume 1, chapter 8, the encoding problem.
    """
    return _logistic("encoder", 8, 3, classes)


def _logistic(name, inputs, hidden, classes, start=0.3, direct=False):
    """Return a network of 1986: logistic units, one hidden layer and, optionally, direct connections from input to output.

    The initialization U(±0.3) is that of the symmetry net; those of the others are not known. Where most networks do not
    solve the task from it within thousands of sweeps, it is U(±1), a reconstruction.
    """

    def layer(units, name):
        uniform = keras.initializers.RandomUniform  # a shared initializer would draw the same numbers for all weights
        return keras.layers.Dense(
            units,
            activation="sigmoid",
            kernel_initializer=uniform(-start, start),
            bias_initializer=uniform(-start, start),
            name=name,
        )

    image = keras.Input((1, inputs, 1), name="image")
    bits = keras.layers.Flatten(name="flatten")(image)
    x = layer(hidden, "hidden")(bits)
    if direct:
        x = keras.layers.Concatenate(name="beside")([x, bits])
    targets = [[0.0], [1.0]] if classes == 2 else np.eye(classes)
    x = layer(len(targets[0]), "output")(x)
    return keras.Model(image, RBFOutput(targets, name="targets")(x), name=name)
