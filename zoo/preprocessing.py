import keras

from zoo.layers.deskew import Deskew


@keras.saving.register_keras_serializable("zoo")
class Preprocessing(keras.layers.Layer):
    """Turn raw 0-255 pixels into what a net was trained on: x·scale + shift, then a border; deskewed before, if asked for.

    It is part of every model that leaves the zoo, so that no client can get it wrong.

    Args:
        scale: factor of the raw pixel, or a list of one for each channel.
        shift: added after the factor, or a list likewise; minus the mean, where a net was trained on centred pictures.
        padding: width of the border on each side, in pixels; the border has the value of a raw 0.
        deskew: stand slanted writing upright first, see `zoo.layers.Deskew`.

    References:
        LeCun et al. (1998), section II.B: 28x28 in a field of 32x32; background -0.1, foreground 1.175. Krizhevsky et al.
        (2012), section 2: raw values, centred.
    """

    def __init__(self, scale=1.0, shift=0.0, padding=0, deskew=False, **kwargs):
        super().__init__(**kwargs)
        self.scale = list(scale) if isinstance(scale, list | tuple) else scale
        self.shift = list(shift) if isinstance(shift, list | tuple) else shift
        self.padding = padding
        self.deskew = deskew
        self._upright = Deskew(name="deskew") if deskew else None

    def call(self, x):
        if self.deskew:
            x = self._upright(keras.ops.cast(x, "float32"))
        x = keras.ops.cast(x, self.compute_dtype)
        if self.padding:
            border = (self.padding, self.padding)
            x = keras.ops.pad(x, ((0, 0), border, border, (0, 0)))
        scale, shift = (keras.ops.convert_to_tensor(each, x.dtype) for each in (self.scale, self.shift))
        return x * scale + shift

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return batch, height + 2 * self.padding, width + 2 * self.padding, channels

    def get_config(self):
        return {
            **super().get_config(),
            "scale": self.scale,
            "shift": self.shift,
            "padding": self.padding,
            "deskew": self.deskew,
        }
