"""Nets of fully connected layers: the logistic ones of 1986, which learned what a perceptron cannot, and those of 1998.

Both end in fixed targets: two classes share one unit, more have one unit each.
"""

import keras
import numpy as np

from zoo.initializers import FanInUniform
from zoo.layers import RBFOutput, ScaledTanh


def mlp(classes=10, hidden=(300,), input_shape=(28, 28, 1)):
    """Multi-layer net of scaled tanh units (LeCun 1998, section III.C): input_shape -> (classes,).

    Args:
        classes: number of classes.
        hidden: number of units of each hidden layer, from the picture on; in 1998 300, 1000, 300-100 and 500-150.
        input_shape: (height, width, channels) of a picture.

    Returns:
        A functional Keras model whose scores are minus the squared distances of its outputs to the targets, +1 for the
        unit of the class and -1 for the others.

    References:
        LeCun, Bottou, Bengio, Haffner (1998), Gradient-based learning applied to document recognition, sections III.C.4
        and III.C.5, fig. 9; targets and start are those of LeNet-5, a reconstruction.
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


def xor(classes=2, hidden=None):
    """Exclusive or: (1, 2, 1) -> (classes,), one hidden unit beside direct connections, 7 trainable parameters.

    Args:
        classes: number of classes.
        hidden: None for the net of 1986 with direct connections, or the number H of hidden units of a 2-H-1 net without.

    Returns:
        A functional Keras model whose scores are minus the squared distances of its output to the targets 0 and 1.

    References:
        Rumelhart, Hinton, Williams (1986), Learning internal representations by error propagation, in Parallel
        Distributed Processing, volume 1, chapter 8, the XOR problem.
    """
    if hidden is None:
        return _logistic("xor", 2, 1, classes, direct=True)
    return _logistic("xor", 2, hidden, classes, start=1.0)


def symmetry(classes=2):
    """Mirror symmetry of six bits: (1, 6, 1) -> (classes,), a 6-2-1 net, 17 trainable parameters.

    Args:
        classes: number of classes.

    Returns:
        A functional Keras model whose scores are minus the squared distances of its output to the targets 0 and 1.

    References:
        Rumelhart, Hinton, Williams (1986), Learning representations by back-propagating errors, fig. 1.
    """
    return _logistic("symmetry", 6, 2, classes)


def parity(classes=2):
    """Parity of four bits: (1, 4, 1) -> (classes,), a 4-4-1 net, 25 trainable parameters.

    Args:
        classes: number of classes.

    Returns:
        A functional Keras model whose scores are minus the squared distances of its output to the targets 0 and 1.

    References:
        Rumelhart, Hinton, Williams (1986), Learning internal representations by error propagation, in Parallel
        Distributed Processing, volume 1, chapter 8, parity.
    """
    return _logistic("parity", 4, 4, classes, start=1.0)


def encoder(classes=8):
    """Eight patterns through a code of three units: (1, 8, 1) -> (classes,), an 8-3-8 net, 59 trainable parameters.

    Args:
        classes: number of classes.

    Returns:
        A functional Keras model whose scores are minus the squared distances of its outputs to the targets, 1 for the
        unit of the class and 0 for the others.

    References:
        Rumelhart, Hinton, Williams (1986), Learning internal representations by error propagation, in Parallel
        Distributed Processing, volume 1, chapter 8, the encoding problem.
    """
    return _logistic("encoder", 8, 3, classes)


def _logistic(name, inputs, hidden, classes, start=0.3, direct=False):
    """Return a net of 1986: logistic units, one hidden layer, perhaps connections that pass it by.

    The start U(±0.3) is that of the symmetry net; of the others none is known. Where it leaves most nets unsolved for
    thousands of sweeps, U(±1) was chosen, a reconstruction.
    """

    def layer(units, name):
        uniform = keras.initializers.RandomUniform  # one each: a shared one draws the same numbers for all
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
