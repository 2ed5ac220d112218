"""Random Keras models of a grammar of layers: images through random blocks to scores or a map."""

import keras
import numpy as np
from keras import layers

LARGEST_MAP = 4096  # values of an activation per image, so that a net takes a second
ACTIVATIONS = (
    "relu", "relu6", "elu", "selu", "gelu", "silu", "hard_swish", "hard_sigmoid", "mish", "softplus", "softsign", "tanh",
    "sigmoid", "exponential", "leaky_relu", "linear", "softmax", "log_softmax", "celu", "hard_tanh",
)  # fmt: skip


class Grammar:
    """Random choices with which a model is built. Each method that takes an image (h, w, c) returns another one."""

    def __init__(self, seed: int):
        self.random = np.random.default_rng(seed)

    def number(self, low, high):
        return int(self.random.integers(low, high + 1))

    def choose(self, *options):
        return options[self.random.integers(len(options))]

    def chance(self, share):
        return bool(self.random.random() < share)

    def activation(self):
        return self.choose(None, None, "relu", "relu", "tanh", "gelu", "silu", "sigmoid", "elu")

    def padding(self, x, size):
        return "same" if min(x.shape[1:3]) < size or self.chance(0.5) else "valid"

    # Convolutions

    def convolution(self, x):
        size = self.choose(1, 2, 3, 3, 5)
        padding, bias, activation = self.padding(x, size), self.chance(0.7), self.activation()
        channels = x.shape[-1]
        kind = self.choose(
            "plain", "plain", "strided", "dilated", "grouped", "depthwise", "separable", "transposed", "oblong"
        )
        if kind == "depthwise":
            multiplier, strides = self.number(1, 2), self.number(1, 2)
            return layers.DepthwiseConv2D(size, strides, padding, multiplier, use_bias=bias, activation=activation)(x)
        if kind == "separable":
            return layers.SeparableConv2D(self.number(2, 8), size, padding=padding, use_bias=bias, activation=activation)(x)
        if kind == "transposed":
            filters, strides = self.number(2, 6), self.number(1, 2)
            return layers.Conv2DTranspose(filters, size, strides, padding, use_bias=bias, activation=activation)(x)
        options = {"use_bias": bias, "activation": activation, "padding": padding}
        if kind == "grouped":
            groups = self.choose(*(each for each in (1, 2, 3, 4) if channels % each == 0))
            return layers.Conv2D(groups * self.number(1, 3), size, groups=groups, **options)(x)
        if kind == "oblong":
            options["padding"] = "same"
            return layers.Conv2D(self.number(2, 8), self.choose((1, 3), (3, 1), (2, 5)), **options)(x)
        if kind == "strided":
            options["strides"] = self.choose(2, (1, 2), (2, 1), 3)
        elif kind == "dilated":
            options.update(dilation_rate=2, padding="same")
        return layers.Conv2D(self.number(2, 8), size, **options)(x)

    def pool(self, x):
        kind = self.choose(layers.MaxPooling2D, layers.AveragePooling2D)
        size = self.choose(2, 3, (1, 2), (3, 2))
        padding = self.padding(x, 3)
        return kind(size, self.choose(None, 1, 2), padding)(x)

    def upsample(self, x):
        kind = self.choose("nearest", "nearest", "bilinear", "repeat")
        if kind == "repeat":
            return keras.ops.repeat(x, self.number(2, 3), axis=self.choose(1, 2, 3))
        return layers.UpSampling2D(self.choose(2, (1, 2), (2, 1), 3), interpolation=kind)(x)

    # Normalization and activations

    def normalize(self, x):
        channels = x.shape[-1]
        kind = self.choose("batch", "batch", "batch", "layer", "group", "group", "instance", "rms", "unit", "constant")
        if kind == "batch":
            return layers.BatchNormalization(
                center=self.chance(0.9), scale=self.chance(0.9), epsilon=self.choose(1e-3, 1e-5)
            )(x)
        if kind == "layer":
            return layers.LayerNormalization(axis=self.choose(-1, (1, 2, 3), (2, 3)), epsilon=1e-3)(x)
        if kind == "group":
            groups = self.choose(*(each for each in (1, 2, 3, 4) if channels % each == 0))
            return layers.GroupNormalization(groups)(x)
        if kind == "instance":
            return layers.GroupNormalization(-1)(x)
        if kind == "rms":
            return layers.RMSNormalization()(x)
        if kind == "unit":
            return layers.UnitNormalization(axis=-1)(x + 0.1)
        return layers.Normalization(mean=self.random.normal(size=channels), variance=self.random.uniform(0.5, 2, channels))(
            x
        )

    def activate(self, x):
        kind = self.choose("named", "named", "named", "prelu", "gelu", "relu", "leaky", "softmax", "layer")
        if kind == "prelu":
            return layers.PReLU(shared_axes=self.choose(None, [1, 2], [1], [1, 2, 3]))(x)
        if kind == "gelu":
            return keras.ops.gelu(x, approximate=self.chance(0.5))
        if kind == "relu":
            return layers.ReLU(
                max_value=self.choose(None, 6, 1), negative_slope=self.choose(0, 0.1), threshold=self.choose(0, 0.2)
            )(x)
        if kind == "leaky":
            return layers.LeakyReLU(0.2)(x)
        if kind == "softmax":
            return layers.Softmax(axis=self.choose(-1, 1, (1, 2)))(x)
        if kind == "layer":
            return self.choose(layers.ReLU, layers.ELU)()(x)
        return layers.Activation(self.choose(*ACTIVATIONS))(layers.Rescaling(0.3)(x) if self.chance(0.3) else x)

    def arithmetic(self, x):
        kind = self.choose("scale", "offset", "affine", "channels", "square", "root", "clip", "abs", "difference", "divide")
        if kind == "scale":
            return x * self.choose(0.5, 2.0, -1.0)
        if kind == "offset":
            return 1.0 - x if self.chance(0.5) else x + 0.5
        if kind == "affine":
            return layers.Rescaling(0.5, -0.25)(x)
        if kind == "channels":
            return x * self.random.normal(size=x.shape[-1]).astype("float32") + self.random.normal(size=x.shape[-1]).astype(
                "float32"
            )
        if kind == "square":
            return keras.ops.square(x) * 0.3
        if kind == "root":
            return keras.ops.sqrt(keras.ops.abs(x) + 0.1)
        if kind == "clip":
            return keras.ops.clip(x, -0.5, 1.5)
        if kind == "difference":
            return x - keras.ops.mean(x, axis=self.choose((1, 2), -1, 1), keepdims=True)
        if kind == "divide":
            return x / (keras.ops.max(keras.ops.abs(x), axis=self.choose(-1, (1, 2, 3)), keepdims=True) + 1.0)
        return keras.ops.abs(x)

    # Blocks

    def excite(self, x):
        """Squeeze and excitation."""
        channels, form = x.shape[-1], self.choose("keepdims", "reshape", "convolution")
        last = self.choose("sigmoid", "hard_sigmoid")
        if form == "reshape":
            s = layers.Reshape((1, 1, channels))(layers.GlobalAveragePooling2D()(x))
        else:
            s = layers.GlobalAveragePooling2D(keepdims=True)(x)
        if form == "convolution":
            s = layers.Conv2D(channels, 1, activation=last)(layers.Conv2D(self.number(1, 4), 1, activation="relu")(s))
        else:
            s = layers.Dense(channels, activation=last)(layers.Dense(self.number(1, 4), activation="relu")(s))
        return layers.Multiply()([x, s])

    def residual(self, x):
        channels, y = x.shape[-1], x
        for _ in range(self.number(1, 2)):
            y = layers.Conv2D(channels, 3, padding="same", use_bias=self.chance(0.5))(y)
            y = self.choose(self.normalize, self.activate, self.excite, lambda y: y)(y)
        merge = self.choose(layers.Add, layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum)
        return merge()([x, y])

    def branches(self, x):
        found = [layers.Conv2D(self.number(1, 4), self.choose(1, 3), padding="same")(x) for _ in range(self.number(1, 2))]
        found.append(self.choose(layers.MaxPooling2D, layers.AveragePooling2D)(3, 1, "same")(x))
        if self.chance(0.5):
            found.append(self.choose(self.activate, self.normalize, self.excite)(x))
        return layers.Concatenate()([each for each in found if each.shape[1:3] == x.shape[1:3]])

    def inverted(self, x):
        """MobileNet's block: expand, depthwise, excite, project."""
        channels = x.shape[-1]
        y = layers.BatchNormalization()(layers.Conv2D(2 * channels, 1, use_bias=False)(x))
        y = layers.Activation(self.choose("relu6", "silu", "hard_swish"))(y)
        y = layers.ZeroPadding2D(1)(y) if self.chance(0.4) else y
        y = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y))
        y = self.excite(y) if self.chance(0.5) else y
        y = layers.BatchNormalization()(layers.Conv2D(channels, 1, use_bias=False)(y))
        return layers.Add()([x, y]) if y.shape == x.shape else y

    def next_block(self, x):
        """ConvNeXt's block."""
        channels = x.shape[-1]
        y = layers.LayerNormalization(epsilon=1e-3)(layers.DepthwiseConv2D(5, padding="same")(x))
        y = layers.Dense(channels)(layers.Dense(2 * channels, activation="gelu")(y))
        return x + y * 0.5

    def pyramid(self, x):
        """A feature pyramid of two levels."""
        wide = layers.Conv2D(4, 3, padding="same")(x)
        low = self.choose(self.normalize, self.activate)(layers.Conv2D(4, 3, padding="same", strides=2)(x))
        low = layers.UpSampling2D(interpolation=self.choose("nearest", "bilinear"))(layers.Conv2D(4, 1)(low))
        low = layers.Cropping2D(((0, low.shape[1] - x.shape[1]), (0, low.shape[2] - x.shape[2])))(low)
        return layers.Conv2D(4, 3, padding="same")(self.choose(layers.Add, layers.Concatenate)()([wide, low]))

    def pad(self, x):
        """A chain of paddings and crops before a convolution or a pooling."""
        for _ in range(self.number(1, 3)):
            sides = ((self.number(0, 2), self.number(0, 2)), (self.number(0, 2), self.number(0, 2)))
            x = layers.ZeroPadding2D(sides)(x)
        if self.chance(0.3) and min(x.shape[1:3]) > 3:
            x = layers.Cropping2D(((1, 0), (0, 1)))(x)
        return self.choose(self.convolution, self.pool, self.normalize, lambda x: x)(x)

    def rearrange(self, x):
        height, width, channels = x.shape[1:]
        kind = self.choose("permute", "reshape", "rows", "shuffle", "flip", "dense")
        if kind == "permute":
            return layers.Permute(self.choose((3, 1, 2), (2, 1, 3), (1, 3, 2), (2, 3, 1)))(x)
        if kind == "reshape":
            shapes = [(width, height, channels), (height, channels, width), (height * width, channels, 1), (1, -1, channels)]
            return layers.Reshape(self.choose(*shapes))(x)
        if kind == "rows":  # a one-dimensional convolution, and back
            y = layers.Reshape((height * width, channels))(x)
            y = layers.Conv1D(channels, 3, padding="same", activation=self.activation())(y)
            return layers.Reshape((height, width, channels))(y)
        if kind == "shuffle" and channels % 2 == 0:
            y = layers.Permute((1, 2, 4, 3))(layers.Reshape((height, width, 2, channels // 2))(x))
            return layers.Reshape((height, width, channels))(y)
        if kind == "flip":
            return keras.ops.concatenate([x[:, ::-1], x], axis=self.choose(1, 3)) if self.chance(0.5) else x[:, :, 1:]
        return layers.Dense(self.number(2, 6), activation=self.activation())(x)

    def nested(self, x):
        inner = keras.Input(x.shape[1:])
        return keras.Model(inner, self.block(self.block(inner)))(x)

    def block(self, x):
        """Return one block of an image, or the image if the block would be too large or too small."""
        blocks = (
            self.convolution, self.convolution, self.convolution, self.pool, self.normalize, self.normalize, self.activate,
            self.activate, self.arithmetic, self.excite, self.residual, self.branches, self.inverted, self.next_block,
            self.pyramid, self.pad, self.rearrange, self.upsample, self.nested,
        )  # fmt: skip
        y = self.choose(*blocks)(x)
        return x if np.prod(y.shape[1:]) > LARGEST_MAP or min(y.shape[1:]) < 1 else y

    # Heads

    def tokens(self, x):
        """Transformer-like blocks on the pixels of an image."""
        y = layers.Dense(8)(layers.Reshape((-1, x.shape[-1]))(layers.AveragePooling2D(2, padding="same")(x)))
        normal = layers.LayerNormalization(epsilon=1e-3)(y)
        kind = self.choose("heads", "dot", "by hand")
        if kind == "heads":
            found = layers.MultiHeadAttention(2, 4)(normal, normal)
        elif kind == "dot":
            found = layers.Attention(use_scale=self.chance(0.5))([normal, layers.Dense(8)(normal)])
        else:
            scores = keras.ops.matmul(normal, keras.ops.transpose(layers.Dense(8)(normal), (0, 2, 1)))
            found = keras.ops.matmul(keras.ops.softmax(scores * 0.3, axis=-1), layers.Dense(8)(normal))
        y = y + found
        y = y + layers.Dense(8)(layers.Dense(16, activation="gelu")(layers.LayerNormalization(epsilon=1e-3)(y)))
        return self.choose(layers.GlobalAveragePooling1D(), layers.GlobalMaxPooling1D(), layers.Flatten())(y)

    def axis_mean(self, x):
        y = keras.ops.mean(x, axis=self.choose(1, 2, 3))
        y = layers.Dense(6, activation=self.choose("gelu", "relu"))(y)
        return self.choose(layers.Flatten(), layers.GlobalAveragePooling1D())(y)

    def head(self, x):
        kind = self.choose("flatten", "flatten", "average", "max", "tokens", "mean", "map", "lower")
        if kind == "map":
            return layers.Conv2D(self.number(1, 3), 1, activation=self.choose("sigmoid", "softmax", None))(x)
        flat = {
            "flatten": layers.Flatten(),
            "average": layers.GlobalAveragePooling2D(),
            "max": layers.GlobalMaxPooling2D(),
            "tokens": self.tokens,
            "mean": self.axis_mean,
            "lower": lambda x: layers.Flatten()(layers.GlobalAveragePooling2D(keepdims=True)(x)),
        }[kind](x)
        if self.chance(0.4):
            flat = layers.Dense(8, activation=self.activation())(flat)
            flat = self.choose(layers.BatchNormalization(), layers.Dropout(0.2), layers.LayerNormalization())(flat)
        return layers.Dense(self.number(2, 5), activation=self.choose(None, "softmax", "sigmoid"))(flat)


def build(seed: int) -> keras.Model:
    """Return the model of a seed. None of its weights is 0 or 1, so that a rule that drops one is noticed."""
    keras.utils.clear_session(free_memory=False)
    grammar = Grammar(seed)
    image = keras.Input((grammar.number(5, 16), grammar.number(5, 16), grammar.choose(1, 3, 3, 4)), name="image")
    x = image
    for _ in range(grammar.number(2, 7)):
        x = grammar.block(x)
    model = keras.Model(image, grammar.head(x), name=f"net{seed}")
    for weight in model.weights:
        drawn = grammar.random.normal(size=weight.shape)
        if "variance" in weight.path:
            drawn = 0.5 + np.abs(drawn)
        elif "gamma" in weight.path or weight.path.endswith("scale"):
            drawn = 1 + 0.3 * drawn
        elif len(weight.shape) > 1 and "kernel" in weight.path:
            drawn /= np.sqrt(np.prod(weight.shape[:-1]))
        else:
            drawn *= 0.3
        if weight.dtype == "float32":
            weight.assign(drawn)
    return model
