"""Preprocessing layers that are fitted to the training split: mean subtraction, PCA whitening and ZCA whitening.

For zero mean and unit variance of each pixel, use `keras.layers.Normalization`.
"""

import math

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from zoo.layers.traits import Traits
from zoo.types import Config, Shape, Tensor


class Fitted(keras.Variable):
    """A variable that records whether a value was assigned to it: by `adapt`, by loading or by `set_weights`."""

    given = False

    def assign(self, value: Tensor) -> Tensor:
        self.given = True
        return super().assign(value)


class Adapted(keras.layers.Layer):
    """Base class of layers that are fitted by `adapt`. They raise an error if they run before they are fitted or loaded."""

    traits = Traits(keep_float32=True)  # enlarges small differences from a mean

    def add_fitted(self, name: str, shape: Shape) -> Fitted:
        """Return a non-trainable variable for a statistic that `adapt` computes, initially zero."""
        return Fitted("zeros", shape=shape, dtype=self.variable_dtype, trainable=False, name=name)

    def adapt(self, data: ArrayLike) -> None:
        """Fit the layer.

        Args:
            data: (n, ...) array, the training split only.
        """
        data = np.asarray(data, "float64")
        if not self.built:
            self.build(data.shape)
        self._fit(data)

    def _check(self):
        if not self.mean.given:
            raise ValueError(f"{self.name} is not fitted: call `adapt` with the training split, or load weights")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        # Keras uses this instead of `call` when a model is built, which may be before its weights are loaded.
        return input_shape


@keras.saving.register_keras_serializable("zoo")
class ZeroCenter(Adapted):
    """Subtract the mean image of the training data, or the mean of each channel.

    Input and output shape: (batch, ..., channels).

    Args:
        per_channel: subtract one number per channel instead of one per pixel.

    Raises:
        ValueError: at call, if the layer was neither adapted nor loaded.

    References:
        CS231n (2017), lecture 6: AlexNet subtracts the mean image, VGG the channel means.
    """

    def __init__(self, per_channel: bool = False, **kwargs) -> None:
        super().__init__(**kwargs)
        self.per_channel = per_channel

    def build(self, input_shape: Shape) -> None:
        shape = input_shape[-1:] if self.per_channel else input_shape[1:]
        self.mean = self.add_fitted("mean", shape)

    def _fit(self, data):
        self.mean.assign(data.mean(tuple(range(data.ndim - len(self.mean.shape)))))

    def call(self, x: Tensor) -> Tensor:
        self._check()
        return x - self.mean

    def connections(self) -> tuple[int, int]:
        """Return (connections, multiply-accumulates) for one image: no pixel is connected to another."""
        return 0, 0

    def get_config(self) -> Config:
        return {**super().get_config(), "per_channel": self.per_channel}


@keras.saving.register_keras_serializable("zoo")
class PCAWhitening(Adapted):
    """PCA whitening: project the data on their principal axes, largest variance first, and scale each to unit variance.

    On the data that the layer was fitted to, the covariance of the outputs is the identity.

    Input shape: (batch, ...). Output shape: (batch, components).

    Args:
        components: number of axes to keep. Default: all.
        epsilon: added to each variance, so that axes along which the data hardly vary are not amplified.

    Raises:
        ValueError: at build, if there are fewer features than components; at `adapt`, if `epsilon` is 0 and the data do not
            vary along every axis that is kept; at call, if the layer was neither adapted nor loaded.

    References:
        CS231n (2017), lecture 6.
    """

    def __init__(self, components: int | None = None, epsilon: float = 1e-5, **kwargs) -> None:
        super().__init__(**kwargs)
        self.components = components
        self.epsilon = epsilon

    def build(self, input_shape: Shape) -> None:
        self.image_shape = tuple(input_shape[1:])
        features = math.prod(self.image_shape)
        kept = features if self.components is None else self.components
        if kept > features:
            raise ValueError(
                f"{self.name}: {kept} components need as many features, not {features}. "
                f"Received: input_shape={tuple(input_shape)}"
            )
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
                f"{self.name}: the data vary along {varied} of {kept} axes, the others cannot be scaled to unit variance; "
                f"set epsilon above 0, or keep fewer components. Received: data.shape={data.shape}"
            )
        axes = axes[:, :kept]
        # The sign of an axis is arbitrary. With its largest entry positive it is the same on every machine.
        axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(kept)])
        self.mean.assign(mean)
        self.axes.assign(axes)
        self.deviations.assign(np.sqrt(variances[:kept] + self.epsilon))

    def call(self, x: Tensor) -> Tensor:
        self._check()
        centered = ops.reshape(x, (-1, self.mean.shape[0])) - self.mean
        return ops.matmul(centered, self.axes) / self.deviations

    def inverse(self, z: Tensor) -> Tensor:
        """Return the inputs for given outputs: exact with all components, else the nearest that the kept ones can represent.

        Args:
            z: (batch, components) outputs of the layer.

        Returns:
            Tensor of the shape of the inputs.
        """
        self._check()
        centered = ops.matmul(z * self.deviations, ops.transpose(self.axes))
        return ops.reshape(centered + self.mean, (-1, *self.image_shape))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], self.components or math.prod(input_shape[1:])

    def connections(self) -> tuple[int, int]:
        """Return (connections, multiply-accumulates) for one image: each pixel to each component."""
        return (math.prod(self.axes.shape),) * 2

    def get_config(self) -> Config:
        return {**super().get_config(), "components": self.components, "epsilon": self.epsilon}


@keras.saving.register_keras_serializable("zoo")
class ZCAWhitening(PCAWhitening):
    """ZCA whitening: PCA whitening rotated back. Of all whitened data it is nearest to the originals, so images stay alike.

    Input and output shape: (batch, ...).

    Args:
        epsilon: as for `PCAWhitening`.

    Raises:
        ValueError: as `PCAWhitening`.

    References:
        Bell, Sejnowski (1997), The "independent components" of natural scenes are edge filters.
    """

    def __init__(self, epsilon: float = 1e-5, **kwargs) -> None:
        super().__init__(epsilon=epsilon, **kwargs)

    def call(self, x: Tensor) -> Tensor:
        rotated = ops.matmul(super().call(x), ops.transpose(self.axes))
        return ops.reshape(rotated, (-1, *self.image_shape))

    def inverse(self, z: Tensor) -> Tensor:
        """Return the inputs for given outputs, of the same shape."""
        return super().inverse(ops.matmul(ops.reshape(z, (-1, self.mean.shape[0])), self.axes))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def connections(self) -> tuple[int, int]:
        """Return (connections, multiply-accumulates) for one image: each pixel to each component, and back."""
        return (2 * math.prod(self.axes.shape),) * 2

    def get_config(self) -> Config:
        config = super().get_config()
        del config["components"]
        return config
