"""The preprocessing layer of a classifier."""

from collections.abc import Sequence

import keras

from zoo.layers.deskew import Deskew
from zoo.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class Preprocessing(keras.layers.Layer):
    """Preprocessing of raw 0-255 pixels: optional deskewing, a border, then x·scale + shift.

    It is part of every exported model, so that no client can use another preprocessing than the network was trained with.

    Input shape: (batch, height, width, channels), raw pixels of any dtype. Output shape: the same with the border, float.

    Args:
        scale: factor of the raw pixel, or a list with one factor per channel.
        shift: added after scaling, or a list with one value per channel. If a network was trained on centered images, it is
            minus the mean.
        padding: width of the border on each side, in pixels. The border has the value of a raw 0.
        deskew: deskew the image first, see `zoo.layers.Deskew`.

    References:
        LeCun et al. (1998), section II.B: 28x28 in a field of 32x32; background -0.1, foreground 1.175. Krizhevsky et al.
        (2012), section 2: raw values, centered.
    """

    def __init__(
        self,
        scale: float | Sequence[float] = 1.0,
        shift: float | Sequence[float] = 0.0,
        padding: int = 0,
        deskew: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.scale = list(scale) if isinstance(scale, list | tuple) else scale
        self.shift = list(shift) if isinstance(shift, list | tuple) else shift
        self.padding = padding
        self.deskew = deskew
        self._upright = Deskew(name="deskew") if deskew else None  # the name stands in saved files

    def call(self, x: Tensor) -> Tensor:
        if self.deskew:
            x = self._upright(keras.ops.cast(x, "float32"))
        x = keras.ops.cast(x, self.compute_dtype)
        if self.padding:
            border = (self.padding, self.padding)
            x = keras.ops.pad(x, ((0, 0), border, border, (0, 0)))
        scale, shift = (keras.ops.convert_to_tensor(each, x.dtype) for each in (self.scale, self.shift))
        return x * scale + shift

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, height, width, channels = input_shape
        return batch, height + 2 * self.padding, width + 2 * self.padding, channels

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "scale": self.scale,
            "shift": self.shift,
            "padding": self.padding,
            "deskew": self.deskew,
        }
