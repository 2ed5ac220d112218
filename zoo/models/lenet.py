"""LeNet-5 as it was in 1998, and two later networks that are also called LeNet.

Read them side by side: they differ in every part that is trained.
"""

import json
from importlib import resources

import keras
import numpy as np

from zoo.initializers import FanInUniform
from zoo.layers import MaskedConv2D, RBFOutput, ScaledTanh, TrainableSubsampling

# Table I of the paper: the maps of S2 that each of the 16 maps of C3 sees. Six maps see three adjacent maps, six see four,
# three see four that are not all adjacent, and one sees all: 60 kernels. This breaks the symmetry between the maps.
C3_TABLE = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 0), (5, 0, 1)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (3, 4, 5, 0), (4, 5, 0, 1), (5, 0, 1, 2)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)


def lenet5(classes: int = 10) -> keras.Model:
    """LeNet-5 (LeCun 1998, fig. 2): (32, 32, 1) -> (classes,). 60,000 trainable parameters, 340,908 connections.

    Args:
        classes: number of classes. The targets of ten classes are the paper's bitmaps of the digits; those of another number
            are random ±1 codes of the same length, which the paper mentions as the alternative.

    Returns:
        A functional Keras model whose scores are minus the distances to the bitmaps.

    References:
        LeCun, Bottou, Bengio, Haffner (1998), Gradient-based learning applied to document recognition, section II.B.
    """

    def convolution(maps, size, fan_in, name):
        return keras.layers.Conv2D(
            maps, size, kernel_initializer=FanInUniform(fan_in), bias_initializer=FanInUniform(fan_in), name=name
        )

    image = keras.Input((32, 32, 1), name="image")
    x = ScaledTanh(name="c1_squash")(convolution(6, 5, 25, name="c1")(image))  # 28x28x6
    x = ScaledTanh(name="s2_squash")(TrainableSubsampling(name="s2")(x))  # 14x14x6
    x = ScaledTanh(name="c3_squash")(MaskedConv2D(C3_TABLE, 5, name="c3")(x))  # 10x10x16
    x = ScaledTanh(name="s4_squash")(TrainableSubsampling(name="s4")(x))  # 5x5x16
    x = ScaledTanh(name="c5_squash")(convolution(120, 5, 400, name="c5")(x))  # 1x1x120
    x = keras.layers.Flatten(name="flatten")(x)
    start = FanInUniform(120)
    x = keras.layers.Dense(84, kernel_initializer=start, bias_initializer=start, name="f6")(x)
    x = ScaledTanh(name="f6_squash")(x)
    scores = RBFOutput(prototypes(classes), name="rbf")(x)
    return keras.Model(image, scores, name="lenet5")


def prototypes(classes: int) -> np.ndarray:
    """Return the ±1 targets of F6, (classes, 84) float64: the paper's bitmaps for ten classes, else random codes.

    Args:
        classes: number of classes.

    References:
        LeCun et al. (1998), fig. 3 and section II.B.
    """
    if classes == 10:
        bitmaps = json.loads(resources.files("zoo.models").joinpath("lenet5_bitmaps.json").read_text())
        pixels = np.array([list("".join(bitmaps[str(digit)])) for digit in range(10)])
        return np.where(pixels == "#", 1.0, -1.0)
    # The seed is fixed, because the codes are part of the architecture: two builds must agree.
    return np.random.default_rng(1998).choice([-1.0, 1.0], size=(classes, 84))


def lenet5_modern(classes: int = 10) -> keras.Model:
    """The network that most of today's code calls LeNet-5: (32, 32, 1) -> (classes,). 61,706 trainable parameters.

    The layers have the sizes of LeNet-5, but C3 sees all maps, sub-sampling is max pooling without parameters, the
    activation is ReLU, and the output is a trained layer for softmax instead of distances to bitmaps.

    Args:
        classes: number of classes.

    Returns:
        A functional Keras model whose scores are logits.
    """
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((32, 32, 1), name="image"),
            layers.Conv2D(6, 5, activation="relu", name="c1"),  # 28x28x6
            layers.MaxPooling2D(name="s2"),  # 14x14x6
            layers.Conv2D(16, 5, activation="relu", name="c3"),  # 10x10x16
            layers.MaxPooling2D(name="s4"),  # 5x5x16
            layers.Flatten(name="flatten"),  # 400
            layers.Dense(120, activation="relu", name="f5"),
            layers.Dense(84, activation="relu", name="f6"),
            layers.Dense(classes, name="scores"),
        ],
        name="lenet5-modern",
    )


def lenet_caffe(classes: int = 10) -> keras.Model:
    """The network that Caffe ships as LeNet, 20-50-500: (28, 28, 1) -> (classes,). 431,080 trainable parameters.

    Its convolutions have no activation; the only ReLU is that of the 500 units.

    Args:
        classes: number of classes.

    Returns:
        A functional Keras model whose scores are logits.

    References:
        Jia et al. (2014), Caffe, examples/mnist/lenet_train_test.prototxt.
    """
    layers = keras.layers
    # Caffe's "xavier" is U(±√(3/fan_in)); it ignores the fan-out.
    start = keras.initializers.VarianceScaling(1.0, "fan_in", "uniform")
    return keras.Sequential(
        [
            keras.Input((28, 28, 1), name="image"),
            layers.Conv2D(20, 5, kernel_initializer=start, name="conv1"),  # 24x24x20
            layers.MaxPooling2D(name="pool1"),  # 12x12x20
            layers.Conv2D(50, 5, kernel_initializer=start, name="conv2"),  # 8x8x50
            layers.MaxPooling2D(name="pool2"),  # 4x4x50
            layers.Flatten(name="flatten"),  # 800
            layers.Dense(500, activation="relu", kernel_initializer=start, name="ip1"),
            layers.Dense(classes, kernel_initializer=start, name="ip2"),
        ],
        name="lenet-caffe",
    )
