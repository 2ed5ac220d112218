"""Distortions of training pictures, as layers on raw 0-255 pixels; outside of training they do nothing that is random.

Each draws from its own SeedGenerator, whose state is a variable: a checkpoint holds it and a resumed run draws on.
"""

import math

import keras
import numpy as np
from keras import ops

from zoo.images import batch_size_for, center_crop
from zoo.layers.whitening import Fitted


@keras.saving.register_keras_serializable("training")
class AffineDistortion(keras.layers.Layer):
    """Distort each picture by its own random planar affine map, as LeNet-5's training set of 600,000 was made.

    Args:
        translation: largest shift in each direction, in pixels.
        drift: the same as a share of the side, for pictures of any size; it is added.
        scaling: largest relative change of size, 0.1 for ±10 %.
        squeezing: largest relative compression of one axis with elongation of the other.
        shearing: largest horizontal shear, in pixels a pixel of height.
        rotation: largest turn, in radians; 0 in 1998.
        fill_mode: what comes in from outside: "constant" for 0, as in 1998, or "nearest" for what lies at the border.
        seed: int.

    References:
        LeCun et al. (1998), section III: translation, scaling, squeezing and shearing. The amounts are a reconstruction.
    """

    def __init__(
        self,
        translation=2.0,
        drift=0.0,
        scaling=0.1,
        squeezing=0.1,
        shearing=0.2,
        rotation=0.0,
        fill_mode="constant",
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.fill_mode = fill_mode
        self.amounts = {
            "translation": translation,
            "drift": drift,
            "scaling": scaling,
            "squeezing": squeezing,
            "shearing": shearing,
            "rotation": rotation,
        }
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, pictures, training=None):
        if not training:
            return pictures
        batch, height, width = ops.shape(pictures)[0], pictures.shape[1], pictures.shape[2]
        draw = keras.random.uniform((6, batch), -1.0, 1.0, seed=self.seed_generator)
        scale = 1.0 + self.amounts["scaling"] * draw[0]
        squeeze = 1.0 + self.amounts["squeezing"] * draw[1]
        shear = self.amounts["shearing"] * draw[2]
        turn = self.amounts["rotation"] * draw[3]
        # The map goes from the distorted picture back to the given one, about the centre: first turn, then shear and scale.
        across, down = scale * squeeze, scale / squeeze
        a, b = across * ops.cos(turn) + shear * ops.sin(turn), -across * ops.sin(turn) + shear * ops.cos(turn)
        c, d = down * ops.sin(turn), down * ops.cos(turn)
        centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
        most_x, most_y = (self.amounts["translation"] + self.amounts["drift"] * side for side in (width, height))
        shift_x = centre_x - a * centre_x - b * centre_y + most_x * draw[4]
        shift_y = centre_y - c * centre_x - d * centre_y + most_y * draw[5]
        zero = ops.zeros_like(a)
        transform = ops.stack([a, b, shift_x, c, d, shift_y, zero, zero], axis=-1)
        return ops.image.affine_transform(pictures, transform, "bilinear", self.fill_mode, data_format="channels_last")

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), **self.amounts, "fill_mode": self.fill_mode, "seed": self.seed}


@keras.saving.register_keras_serializable("training")
class BatchShift(keras.layers.Layer):
    """Shift all pictures of a batch by the same random number of pixels: the cheapest distortion that helps.

    Args:
        pixels: largest shift in each direction; what comes in from outside is 0.
        seed: int.
    """

    def __init__(self, pixels=2, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.pixels = pixels
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, pictures, training=None):
        if not training:
            return pictures
        _, height, width, channels = pictures.shape
        border = (self.pixels, self.pixels)
        padded = ops.pad(pictures, ((0, 0), border, border, (0, 0)))
        offset = keras.random.randint((2,), 0, 2 * self.pixels + 1, seed=self.seed_generator)
        size = (ops.shape(pictures)[0], height, width, channels)
        return ops.slice(padded, (0, offset[0], offset[1], 0), size)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "pixels": self.pixels, "seed": self.seed}


@keras.saving.register_keras_serializable("training")
class RandomCrop(keras.layers.Layer):
    """Cut a square out of each picture, at a place of its own; outside of training, out of the middle.

    Args:
        size: side of the square, in pixels.
        seed: int.

    Raises:
        ValueError: when called, if the pictures are smaller.

    References:
        Krizhevsky, Sutskever, Hinton (2012), section 4.1: 224 out of 256, "10 million" different ones of each picture.
    """

    def __init__(self, size, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, pictures, training=None):
        _, height, width, channels = pictures.shape
        self.compute_output_shape(pictures.shape)
        if not training:
            return center_crop(pictures, self.size, self.size)
        batch = ops.shape(pictures)[0]
        top, left = (
            keras.random.randint((batch, 1, 1), 0, side - self.size + 1, seed=self.seed_generator)
            for side in (height, width)
        )
        row = top + ops.arange(self.size)[:, None]
        column = left + ops.arange(self.size)
        pixel = (ops.arange(batch)[:, None, None] * height + row) * width + column  # (batch, size, size)
        return ops.take(ops.reshape(pictures, (-1, channels)), pixel, axis=0)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        if min(height, width) < self.size:
            raise ValueError(f"{self.name}: cuts out {self.size}x{self.size}. Received: pictures of {height}x{width}")
        return batch, self.size, self.size, channels

    def get_config(self):
        return {**super().get_config(), "size": self.size, "seed": self.seed}


@keras.saving.register_keras_serializable("training")
class PCAColour(keras.layers.Layer):
    """Add a random colour to each picture, the same at all of its pixels, along the axes along which colours vary.

    It is P (a · s): the columns of P are the eigenvectors of the covariance of the colours of the training part, s² its
    eigenvalues, and a is drawn from N(0, deviation²), anew for each picture each time. The paper's text multiplies by the
    eigenvalues s²; the authors' code by their roots, as here, and on raw 0-255 pixels nothing else makes sense.

    Args:
        deviation: of a.
        until: after how many passes over the training part it stops, to the step; None for never.
        seed: int.

    Raises:
        ValueError: when called, if it was not fitted.

    References:
        Krizhevsky, Sutskever, Hinton (2012), section 4.1; Computer History Museum, AlexNet source code, convdata_jpeg.py.
    """

    def __init__(self, deviation=0.1, until=None, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.deviation = deviation
        self.until = until
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        channels = input_shape[-1]
        settings = {"dtype": self.variable_dtype, "trainable": False}
        self.axes = Fitted("zeros", shape=(channels, channels), name="axes", **settings)
        self.deviations = Fitted("zeros", shape=(channels,), name="deviations", **settings)
        self.last = self.add_weight((), "zeros", dtype="int32", trainable=False, name="last")
        self.seen = self.add_weight((), "zeros", dtype="int32", trainable=False, name="seen")

    def adapt(self, pictures, steps=None):
        """Fit the layer: to the training part, and to nothing else.

        The sums are exact, as they are whole numbers below 2^53, and so the same in whatever order they are taken.

        Args:
            pictures: (n, height, width, channels) uint8; a part at a time is looked at.
            steps: how many calls show all of them once, for `until`.
        """
        if self.until is not None and steps is None:
            raise ValueError(f"{self.name} stops after {self.until} passes: tell `adapt` how many steps one has")
        channels = pictures.shape[-1]
        if not self.built:
            self.build(pictures.shape)
        total, products = np.zeros(channels), np.zeros((channels, channels))
        batch = batch_size_for(pictures.shape[1:])
        for start in range(0, len(pictures), batch):
            colours = np.asarray(pictures[start : start + batch], "float64").reshape(-1, channels)
            total += colours.sum(axis=0)
            products += colours.T @ colours
        pixels = math.prod(pictures.shape[:-1])
        mean = total / pixels
        variances, axes = np.linalg.eigh(products / pixels - np.outer(mean, mean))
        # An axis has no sign of its own. With its largest entry positive it is the same on every machine.
        self.axes.assign(axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(channels)]))
        self.deviations.assign(np.sqrt(variances.clip(0)))
        if self.until is not None:
            self.last.assign(round(self.until * steps))

    def call(self, pictures, training=None):
        if not self.axes.given:
            raise ValueError(f"{self.name} was fitted to no data: call `adapt` with the training part")
        if not training:
            return pictures
        batch = ops.shape(pictures)[0]
        draw = keras.random.normal((batch, self.deviations.shape[0]), 0.0, self.deviation, seed=self.seed_generator)
        colour = ops.matmul(draw * self.deviations, ops.transpose(self.axes))
        if self.until is not None:
            colour = colour * ops.cast(self.seen < self.last, colour.dtype)
            self.seen.assign_add(1)
        return ops.cast(pictures, colour.dtype) + colour[:, None, None]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "deviation": self.deviation, "until": self.until, "seed": self.seed}


@keras.saving.register_keras_serializable("training")
class ColourJitter(keras.layers.RandomColorJitter):
    """Vary brightness, contrast, saturation and hue of each picture: Keras' layer, whose colours stay within 0-255 here.

    Args:
        brightness_factor: 0.1 for ±10 % of white.
        contrast_factor: 0.2 for 0.8 to 1.2 times the distance from the mean.
        saturation_factor: (0.4, 0.6) for 0.67 to 1.5 times; 0.5 changes nothing, 0 makes grey.
        hue_factor: 0.05 for up to 9 degrees of the colour wheel, either way.
        seed: int.
    """

    def transform_images(self, images, transformation, training=True):
        return ops.clip(super().transform_images(images, transformation, training), *self.value_range)
