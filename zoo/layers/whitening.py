"""Preprocessing that is fitted to data: to those of the training part, and to no others.

For zero mean and unit variance of each pixel, Keras has Normalization.
"""

import math

import keras
import numpy as np
from keras import ops

from zoo.layers.traits import Traits


class Fitted(keras.Variable):
    """A variable that knows whether it was given values since its start: by fitting, by loading, by `set_weights`."""

    given = False

    def assign(self, value):
        self.given = True
        return super().assign(value)


class Adapted(keras.layers.Layer):
    """What the layers here share: they refuse to run before they are fitted, or were given what was fitted before."""

    traits = Traits(keep_float32=True)  # enlarges small differences from a mean

    def add_fitted(self, name, shape):
        """Return a variable for what `adapt` finds, zero until then."""
        return Fitted("zeros", shape=shape, dtype=self.variable_dtype, trainable=False, name=name)

    def adapt(self, data):
        """Fit the layer.

        Args:
            data: (n, ...) array, the training part alone.
        """
        data = np.asarray(data, "float64")
        if not self.built:
            self.build(data.shape)
        self._fit(data)

    def _check(self):
        if not self.mean.given:
            raise ValueError(f"{self.name} was fitted to no data: call `adapt` with the training part, or load weights")

    def compute_output_shape(self, input_shape):
        # Keras asks this, and not `call`, when a model is put together, which may be before its weights are loaded.
        return input_shape


@keras.saving.register_keras_serializable("zoo")
class ZeroCenter(Adapted):
    """Subtract the mean picture, or the mean of each channel, of the data that `adapt` was given.

    Args:
        per_channel: subtract one number a channel, not one a pixel.

    Raises:
        ValueError: when called, if it was neither adapted nor loaded.

    References:
        CS231n (2017), lecture 6: the mean picture is AlexNet's way, the channel means are VGG's.
    """

    def __init__(self, per_channel=False, **kwargs):
        super().__init__(**kwargs)
        self.per_channel = per_channel

    def build(self, input_shape):
        shape = input_shape[-1:] if self.per_channel else input_shape[1:]
        self.mean = self.add_fitted("mean", shape)

    def _fit(self, data):
        self.mean.assign(data.mean(tuple(range(data.ndim - len(self.mean.shape)))))

    def call(self, x):
        self._check()
        return x - self.mean

    def connections(self):
        """Return (connections, multiply-accumulates) of one picture: no pixel is joined to another."""
        return 0, 0

    def get_config(self):
        return {**super().get_config(), "per_channel": self.per_channel}


@keras.saving.register_keras_serializable("zoo")
class PCAWhitening(Adapted):
    """Turn the data to their principal axes, the largest variance first, and give each axis the variance one.

    On the data that it was fitted to, the outputs have the identity for a covariance: (batch, ...) -> (batch, components).

    Args:
        components: number of axes to keep, by default all.
        epsilon: added to each variance, so that axes along which the data hardly vary are not blown up.

    Raises:
        ValueError: at build, if there are fewer features than components; at `adapt`, if epsilon is 0 and the data do not
            vary along every axis that is kept; when called, if it was neither adapted nor loaded.

    References:
        CS231n (2017), lecture 6.
    """

    def __init__(self, components=None, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.components = components
        self.epsilon = epsilon

    def build(self, input_shape):
        self.picture_shape = tuple(input_shape[1:])
        features = math.prod(self.picture_shape)
        kept = features if self.components is None else self.components
        if kept > features:
            raise ValueError(f"{self.name}: {kept} components are too many. Received: input_shape={tuple(input_shape)}")
        self.mean = self.add_fitted("mean", (features,))
        self.axes = self.add_fitted("axes", (features, kept))
        self.deviations = self.add_fitted("deviations", (kept,))

    def _fit(self, data):
        rows = data.reshape(len(data), -1)
        mean = rows.mean(axis=0)
        rows = rows - mean
        axes, variances, _ = np.linalg.svd(rows.T @ rows / len(rows))
        kept = self.deviations.shape[0]
        varied = int(np.sum(variances[:kept] > variances[0] * len(axes) * np.finfo("float64").eps))
        if self.epsilon == 0 and varied < kept:
            raise ValueError(
                f"{self.name}: the data vary along {varied} of {kept} axes, and the others cannot be given variance one; "
                f"choose an epsilon above 0, or fewer components. Received: data.shape={data.shape}"
            )
        axes = axes[:, :kept]
        # An axis has no sign of its own. With its largest entry positive it is the same on every machine.
        axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(kept)])
        self.mean.assign(mean)
        self.axes.assign(axes)
        self.deviations.assign(np.sqrt(variances[:kept] + self.epsilon))

    def call(self, x):
        self._check()
        centered = ops.reshape(x, (-1, self.mean.shape[0])) - self.mean
        return ops.matmul(centered, self.axes) / self.deviations

    def inverse(self, z):
        """Return the inputs that give z; where components were left out, the nearest that the others can make.

        Args:
            z: outputs of the layer.

        Returns:
            Array of the shape of the inputs.
        """
        self._check()
        centered = ops.matmul(z * self.deviations, ops.transpose(self.axes))
        return ops.reshape(centered + self.mean, (-1, *self.picture_shape))

    def compute_output_shape(self, input_shape):
        return input_shape[0], self.components or math.prod(input_shape[1:])

    def connections(self):
        """Return (connections, multiply-accumulates) of one picture: every pixel to every component."""
        return (math.prod(self.axes.shape),) * 2

    def get_config(self):
        return {**super().get_config(), "components": self.components, "epsilon": self.epsilon}


@keras.saving.register_keras_serializable("zoo")
class ZCAWhitening(PCAWhitening):
    """Whiten and turn back: of all whitened forms of the data the nearest to them, so that pictures still look like them.

    Args:
        epsilon: as for `PCAWhitening`.

    Raises:
        ValueError: as `PCAWhitening`.

    References:
        Bell, Sejnowski (1997), The "independent components" of natural scenes are edge filters.
    """

    def __init__(self, epsilon=1e-5, **kwargs):
        super().__init__(epsilon=epsilon, **kwargs)

    def call(self, x):
        turned_back = ops.matmul(super().call(x), ops.transpose(self.axes))
        return ops.reshape(turned_back, (-1, *self.picture_shape))

    def inverse(self, z):
        """Return the inputs that give z, an array of their shape."""
        return super().inverse(ops.matmul(ops.reshape(z, (-1, self.mean.shape[0])), self.axes))

    def compute_output_shape(self, input_shape):
        return input_shape

    def connections(self):
        """Return (connections, multiply-accumulates) of one picture: every pixel to every component, and back."""
        return (2 * math.prod(self.axes.shape),) * 2

    def get_config(self):
        config = super().get_config()
        del config["components"]
        return config
