"""AlexNet of the paper, of its authors' code, of Caffe and of torchvision, and a smaller network for CIFAR-10.

Read them side by side: they differ in the order of normalization, pooling and ReLU, in the parameters of the normalization,
and in the initialization. The layers have the names that Caffe made common, conv1 to conv5 and fc6 to fc8.
"""

import math

import keras

from zoo.layers import GroupedConv2D, LocallyConnected2D, LocalResponseNormalization, WithinMapNormalization

layers = keras.layers


def alexnet(classes: int = 1000, size: int = 227, dropout: float = 0.5, include_top: bool = True) -> keras.Model:
    """AlexNet as in the text of the paper: (227, 227, 3) -> (1000,).

    It has 60,965,224 parameters and 724,406,816 multiply-accumulates.

    Args:
        classes: number of classes.
        size: side of the square images, in pixels. The paper says 224, which its first layer does not fit.
        dropout: share of the units of fc6 and fc7 that are dropped in training.
        include_top: whether to include the fully connected layers; without them the network ends at the last pooling.

    Returns:
        A functional Keras model whose scores are logits.

    References:
        Krizhevsky, Sutskever, Hinton (2012), ImageNet classification with deep convolutional neural networks, section 3 and
        fig. 2; initialization: section 5.
    """

    def normalization(name):
        return LocalResponseNormalization.of("paper", 5, 1e-4, 0.75, 2.0, name=name)

    image = keras.Input((size, size, 3), name="image")
    x = _convolution(96, 11, "conv1", strides=4)(image)  # 55x55x96
    x = _pooling("pool1", normalization("norm1")(x))  # 27x27x96
    x = _convolution(256, 5, "conv2", bias=1.0, groups=2, padding="same")(x)  # 27x27x256
    x = _pooling("pool2", normalization("norm2")(x))  # 13x13x256
    x = _convolution(384, 3, "conv3", padding="same")(x)  # 13x13x384
    x = _convolution(384, 3, "conv4", bias=1.0, groups=2, padding="same")(x)  # 13x13x384
    x = _convolution(256, 3, "conv5", bias=1.0, groups=2, padding="same")(x)  # 13x13x256
    x = _pooling("pool5", x)  # 6x6x256
    if include_top:
        x = _top(x, classes, dropout, std=0.01, bias=1.0)
    return keras.Model(image, x, name="alexnet")


def alexnet_asrun(classes: int = 1000, size: int = 224, dropout: float = 0.5, include_top: bool = True) -> keras.Model:
    """AlexNet as its authors ran it: configuration 145 of their code, whose logs contain the paper's numbers.

    It differs from the text of the paper: conv1 and conv5 are pooled before their ReLU, and conv1 is normalized before it;
    alpha is divided by the size of the window; each GPU normalizes its own maps; a normalization within each map follows the
    second normalization; conv3 to conv5 have larger initial weights; and 224 pixels fit, with three rows and columns of
    zeros beyond the image.

    Args:
        classes, size, dropout, include_top: as for `alexnet`.

    Returns:
        A functional Keras model whose scores are logits.

    References:
        Computer History Museum, AlexNet source code, layers-145.cfg.
    """

    def normalization(name):
        return LocalResponseNormalization.of("cuda-convnet", 5, 1e-4, 0.75, 2.0, groups=2, name=name)

    image = keras.Input((size, size, 3), name="image")
    beyond = 4 * math.ceil((size - 11) / 4) + 11 - size
    x = layers.ZeroPadding2D(((0, beyond), (0, beyond)), name="beyond")(image)  # 227x227x3
    x = _convolution(96, 11, "conv1", activation=None, strides=4)(x)  # 55x55x96
    x = layers.ReLU(name="relu1")(_pooling("pool1", normalization("norm1")(x)))  # 27x27x96
    x = _convolution(256, 5, "conv2", bias=1.0, groups=2, padding="same")(x)  # 27x27x256
    x = WithinMapNormalization(name="norm2_within")(normalization("norm2")(x))
    x = _pooling("pool2", x)  # 13x13x256
    x = _convolution(384, 3, "conv3", std=0.03, padding="same")(x)  # 13x13x384
    x = _convolution(384, 3, "conv4", std=0.03, bias=1.0, groups=2, padding="same")(x)  # 13x13x384
    x = _convolution(256, 3, "conv5", std=0.03, bias=1.0, activation=None, groups=2, padding="same")(x)  # 13x13x256
    x = layers.ReLU(name="relu5")(_pooling("pool5", x))  # 6x6x256
    if include_top:
        x = _top(x, classes, dropout, std=0.01, bias=1.0)
    return keras.Model(image, x, name="alexnet-asrun")


def alexnet_bvlc(classes: int = 1000, size: int = 227, dropout: float = 0.5, include_top: bool = True) -> keras.Model:
    """Caffe's replication of AlexNet, bvlc_alexnet: k is 1, alpha is divided by the size, initial biases are 0.1.

    Args:
        classes, size, dropout, include_top: as for `alexnet`.

    Returns:
        A functional Keras model whose scores are logits.

    References:
        Jia et al. (2014), Caffe, models/bvlc_alexnet/train_val.prototxt.
    """
    image = keras.Input((size, size, 3), name="image")
    x = _convolution(96, 11, "conv1", strides=4)(image)  # 55x55x96
    x = _pooling("pool1", _caffe_normalization("norm1")(x))  # 27x27x96
    x = _convolution(256, 5, "conv2", bias=0.1, groups=2, padding="same")(x)  # 27x27x256
    x = _pooling("pool2", _caffe_normalization("norm2")(x))  # 13x13x256
    x = _convolution(384, 3, "conv3", padding="same")(x)  # 13x13x384
    x = _convolution(384, 3, "conv4", bias=0.1, groups=2, padding="same")(x)  # 13x13x384
    x = _convolution(256, 3, "conv5", bias=0.1, groups=2, padding="same")(x)  # 13x13x256
    x = _pooling("pool5", x)  # 6x6x256
    if include_top:
        x = _top(x, classes, dropout, std=0.005, bias=0.1)
    return keras.Model(image, x, name="alexnet-bvlc")


def caffenet(classes: int = 1000, size: int = 227, dropout: float = 0.5, include_top: bool = True) -> keras.Model:
    """CaffeNet, bvlc_reference_caffenet: like `alexnet_bvlc`, but pooling comes before normalization, which is less work.

    Args:
        classes, size, dropout, include_top: as for `alexnet`.

    Returns:
        A functional Keras model whose scores are logits.

    References:
        Jia et al. (2014), Caffe, models/bvlc_reference_caffenet/train_val.prototxt.
    """
    image = keras.Input((size, size, 3), name="image")
    x = _convolution(96, 11, "conv1", strides=4)(image)  # 55x55x96
    x = _caffe_normalization("norm1")(_pooling("pool1", x))  # 27x27x96
    x = _convolution(256, 5, "conv2", bias=1.0, groups=2, padding="same")(x)  # 27x27x256
    x = _caffe_normalization("norm2")(_pooling("pool2", x))  # 13x13x256
    x = _convolution(384, 3, "conv3", padding="same")(x)  # 13x13x384
    x = _convolution(384, 3, "conv4", bias=1.0, groups=2, padding="same")(x)  # 13x13x384
    x = _convolution(256, 3, "conv5", bias=1.0, groups=2, padding="same")(x)  # 13x13x256
    x = _pooling("pool5", x)  # 6x6x256
    if include_top:
        x = _top(x, classes, dropout, std=0.005, bias=1.0)
    return keras.Model(image, x, name="caffenet")


def alexnet_owt(classes: int = 1000, size: int = 224, dropout: float = 0.5, include_top: bool = True) -> keras.Model:
    """The network of 2014 that torchvision calls alexnet: one tower, no normalization, 61,100,840 parameters.

    torchvision averages the last maps to 6x6. At 224 pixels they already are 6x6, so this network omits it.

    Args:
        classes, size, include_top: as for `alexnet`.
        dropout: share of the inputs of fc6 and fc7 that are dropped in training. Dropout is before these layers, not after.

    Returns:
        A functional Keras model whose scores are logits.

    References:
        Krizhevsky (2014), One weird trick for parallelizing convolutional neural networks; torchvision.models.alexnet.
    """

    def convolution(filters, window, name, inputs, **options):
        return layers.Conv2D(filters, window, activation="relu", name=name, **_torch_start(window**2 * inputs), **options)

    image = keras.Input((size, size, 3), name="image")
    x = layers.ZeroPadding2D(2, name="border")(image)  # 228x228x3
    x = _pooling("pool1", convolution(64, 11, "conv1", 3, strides=4)(x), ceil=False)  # 55x55x64, 27x27x64
    x = _pooling("pool2", convolution(192, 5, "conv2", 64, padding="same")(x), ceil=False)  # 27x27x192, 13x13x192
    x = convolution(384, 3, "conv3", 192, padding="same")(x)  # 13x13x384
    x = convolution(256, 3, "conv4", 384, padding="same")(x)  # 13x13x256
    x = convolution(256, 3, "conv5", 256, padding="same")(x)  # 13x13x256
    x = _pooling("pool5", x, ceil=False)  # 6x6x256
    if include_top:
        x = layers.Flatten(name="flatten")(x)  # 9216
        for name in ("6", "7"):
            x = layers.Dropout(dropout, name=f"drop{name}")(x)
            x = layers.Dense(4096, activation="relu", name=f"fc{name}", **_torch_start(x.shape[-1]))(x)
        x = layers.Dense(classes, name="fc8", **_torch_start(4096))(x)
    return keras.Model(image, x, name="alexnet-owt")


def alexnet_cifar(classes: int = 10, size: int = 24, normalization: bool = True, activation: str = "relu") -> keras.Model:
    """The four-layer network of the paper's experiments on CIFAR-10: two convolutions and two locally connected layers.

    Args:
        classes: number of classes.
        size: side of the square images, in pixels; 24 are cropped from CIFAR-10's 32.
        normalization: whether to normalize across maps, after the first pooling and after the second convolution.
        activation: activation of the four layers: "relu", or "tanh" for the comparison of the paper's fig. 1.

    Returns:
        A functional Keras model whose scores are logits.

    References:
        Krizhevsky, Sutskever, Hinton (2012), fig. 1 and section 3.3, which refers to the code cuda-convnet for the network.
        Its files are layers-conv-local-11pct.cfg and, without normalization, layers-conv-local-13pct.cfg.
    """

    def normalized(name, x):
        return LocalResponseNormalization.of("cuda-convnet", 9, 0.001, 0.75, 1.0, name=name)(x) if normalization else x

    image = keras.Input((size, size, 3), name="image")
    x = _convolution(64, 5, "conv1", std=0.0001, activation=activation, padding="same")(image)  # 24x24x64
    x = normalized("norm1", _pooling("pool1", x))  # 12x12x64
    x = _convolution(64, 5, "conv2", activation=activation, padding="same")(x)  # 12x12x64
    x = _pooling("pool2", normalized("norm2", x))  # 6x6x64
    x = LocallyConnected2D(64, 3, activation, _normal(0.04), name="local3")(x)  # 6x6x64
    x = LocallyConnected2D(32, 3, activation, _normal(0.04), name="local4")(x)  # 6x6x32
    x = layers.Flatten(name="flatten")(x)  # 1152
    scores = layers.Dense(classes, kernel_initializer=_normal(0.01), name="fc10")(x)
    return keras.Model(image, scores, name="alexnet-cifar")


def _convolution(filters, window, name, std=0.01, bias=0.0, activation="relu", **options):
    """Return a convolution with N(0, std²) initial weights and constant initial biases; with `groups`, a grouped one."""
    kind = GroupedConv2D if "groups" in options else layers.Conv2D
    start = {"kernel_initializer": _normal(std), "bias_initializer": keras.initializers.Constant(bias)}
    return kind(filters, window, activation=activation, name=name, **start, **options)


def _pooling(name, x, ceil=True):
    """Return max pooling of windows of 3 with stride 2; with `ceil` the last window may reach beyond the map, as in Caffe.

    It does so if the side is even. Then Keras' "same" padding is the same: one row and column beyond the end.
    """
    beyond = ceil and x.shape[1] % 2 == 0
    return layers.MaxPooling2D(3, 2, padding="same" if beyond else "valid", name=name)(x)


def _caffe_normalization(name):
    return LocalResponseNormalization.of("caffe", 5, 1e-4, 0.75, 1.0, name=name)


def _top(x, classes, dropout, std, bias):
    """Return the scores of the three fully connected layers after the last maps."""

    def dense(units, name, std, bias, activation):
        start = {"kernel_initializer": _normal(std), "bias_initializer": keras.initializers.Constant(bias)}
        return layers.Dense(units, activation=activation, name=name, **start)

    x = layers.Flatten(name="flatten")(x)  # 9216
    for name in ("6", "7"):
        x = layers.Dropout(dropout, name=f"drop{name}")(dense(4096, f"fc{name}", std, bias, "relu")(x))
    return dense(classes, "fc8", 0.01, 0.0, None)(x)


def _normal(std):
    return keras.initializers.RandomNormal(stddev=std)


def _torch_start(fan_in):
    """Return the arguments of a Keras layer for PyTorch's initialization: kernel and bias from U(±1/√fan_in)."""
    start = keras.initializers.RandomUniform(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))
    return {"kernel_initializer": start, "bias_initializer": start}
