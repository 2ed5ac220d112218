"""Augmentation layers for raw 0-255 pixels. Random only in training.

Each layer has its own SeedGenerator. Its state is a variable, so it is part of a checkpoint, and a resumed run continues the
random sequence.
"""

import math

import keras
import numpy as np
from keras import ops

from zoo.images import batch_size_for, center_crop
from zoo.layers.whitening import Fitted
from zoo.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable("training")
class AffineDistortion(keras.layers.Layer):
    """Apply a random affine transformation to each image, as for the 600,000 distorted training images of LeNet-5.

    Args:
        translation: largest shift along each axis, in pixels.
        drift: largest shift as a fraction of the side, for images of any size; added to `translation`.
        scaling: largest relative change of size, 0.1 for ±10 %.
        squeezing: largest relative compression of one axis with elongation of the other.
        shearing: largest horizontal shear, in pixels per pixel of height.
        rotation: largest rotation, in radians; 0 in 1998.
        fill_mode: pixels from outside the image: "constant" for 0, as in 1998, or "nearest" for the nearest border pixel.
        seed: int.

    References:
        LeCun et al. (1998), section III: translation, scaling, squeezing and shearing. The paper does not give the amounts;
        the defaults are a reconstruction.
    """

    def __init__(  # noqa: PLR0913  the keys of the layer in recipes
        self,
        translation: float = 2.0,
        drift: float = 0.0,
        scaling: float = 0.1,
        squeezing: float = 0.1,
        shearing: float = 0.2,
        rotation: float = 0.0,
        fill_mode: str = "constant",
        seed: int | None = None,
        **kwargs,
    ) -> None:
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

    def call(self, images: Tensor, training: bool | None = None) -> Tensor:
        if not training:
            return images
        batch, height, width = ops.shape(images)[0], images.shape[1], images.shape[2]
        draw = keras.random.uniform((6, batch), -1.0, 1.0, seed=self.seed_generator)
        scale = 1.0 + self.amounts["scaling"] * draw[0]
        squeeze = 1.0 + self.amounts["squeezing"] * draw[1]
        shear = self.amounts["shearing"] * draw[2]
        angle = self.amounts["rotation"] * draw[3]
        # Maps coordinates of the output to the input, about the center: first rotate, then shear and scale.
        across, down = scale * squeeze, scale / squeeze
        a, b = across * ops.cos(angle) + shear * ops.sin(angle), -across * ops.sin(angle) + shear * ops.cos(angle)
        c, d = down * ops.sin(angle), down * ops.cos(angle)
        center_x, center_y = (width - 1) / 2, (height - 1) / 2
        max_x, max_y = (self.amounts["translation"] + self.amounts["drift"] * side for side in (width, height))
        shift_x = center_x - a * center_x - b * center_y + max_x * draw[4]
        shift_y = center_y - c * center_x - d * center_y + max_y * draw[5]
        zero = ops.zeros_like(a)
        transform = ops.stack([a, b, shift_x, c, d, shift_y, zero, zero], axis=-1)
        return ops.image.affine_transform(images, transform, "bilinear", self.fill_mode, data_format="channels_last")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> Config:
        return {**super().get_config(), **self.amounts, "fill_mode": self.fill_mode, "seed": self.seed}


@keras.saving.register_keras_serializable("training")
class BatchShift(keras.layers.Layer):
    """Shift all images of a batch by the same random offset, a fast augmentation.

    Args:
        pixels: largest shift along each axis. Pixels from outside the image are 0.
        seed: int.
    """

    def __init__(self, pixels: int = 2, seed: int | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.pixels = pixels
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images: Tensor, training: bool | None = None) -> Tensor:
        if not training:
            return images
        _, height, width, channels = images.shape
        border = (self.pixels, self.pixels)
        padded = ops.pad(images, ((0, 0), border, border, (0, 0)))
        offset = keras.random.randint((2,), 0, 2 * self.pixels + 1, seed=self.seed_generator)
        size = (ops.shape(images)[0], height, width, channels)
        return ops.slice(padded, (0, offset[0], offset[1], 0), size)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> Config:
        return {**super().get_config(), "pixels": self.pixels, "seed": self.seed}


@keras.saving.register_keras_serializable("training")
class RandomCrop(keras.layers.Layer):
    """Crop a square at a random position of each image in training, and the center square otherwise.

    Args:
        size: side of the square, in pixels.
        seed: int.

    Raises:
        ValueError: when called, if the images are smaller than the square.

    References:
        Krizhevsky, Sutskever, Hinton (2012), section 4.1: crops of 224 from 256 pixels.
    """

    def __init__(self, size: int, seed: int | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.size = size
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images: Tensor, training: bool | None = None) -> Tensor:
        _, height, width, channels = images.shape
        self.compute_output_shape(images.shape)
        if not training:
            return center_crop(images, self.size, self.size)
        batch = ops.shape(images)[0]
        top, left = (
            keras.random.randint((batch, 1, 1), 0, side - self.size + 1, seed=self.seed_generator)
            for side in (height, width)
        )
        row = top + ops.arange(self.size)[:, None]
        column = left + ops.arange(self.size)
        pixel = (ops.arange(batch)[:, None, None] * height + row) * width + column  # (batch, size, size)
        return ops.take(ops.reshape(images, (-1, channels)), pixel, axis=0)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, height, width, channels = input_shape
        if min(height, width) < self.size:
            raise ValueError(f"{self.name}: cannot crop {self.size}x{self.size}. Received: images of {height}x{width}")
        return batch, self.size, self.size, channels

    def get_config(self) -> Config:
        return {**super().get_config(), "size": self.size, "seed": self.seed}


@keras.saving.register_keras_serializable("training", name="PCAColour")
class PCAColor(keras.layers.Layer):
    """Add a random color to all pixels of an image, along the principal components of the colors (PCA color augmentation).

    The added color is P (a · s). The columns of P are the eigenvectors of the color covariance of the training images, s²
    its eigenvalues, and a is drawn from N(0, deviation²) for each image in each call. The text of the paper multiplies by
    the eigenvalues s². The authors' code multiplies by their square roots, as here; for raw 0-255 pixels only that gives
    sensible amounts.

    Args:
        deviation: standard deviation of a.
        until: number of epochs, possibly fractional, after which the layer stops adding colors; None for never.
        seed: int.

    Raises:
        ValueError: when called before `adapt`.

    References:
        Krizhevsky, Sutskever, Hinton (2012), section 4.1; Computer History Museum, AlexNet source code, convdata_jpeg.py.
    """

    def __init__(self, deviation: float = 0.1, until: float | None = None, seed: int | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.deviation = deviation
        self.until = until
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        settings = {"dtype": self.variable_dtype, "trainable": False}
        self.axes = Fitted("zeros", shape=(channels, channels), name="axes", **settings)
        self.deviations = Fitted("zeros", shape=(channels,), name="deviations", **settings)
        self.last = self.add_weight((), "zeros", dtype="int32", trainable=False, name="last")
        self.seen = self.add_weight((), "zeros", dtype="int32", trainable=False, name="seen")

    def adapt(self, images: np.ndarray, steps: float | None = None) -> None:
        """Fit the layer to the training images.

        The result does not depend on the order of the images, because the sums are integers below 2^53 and therefore exact.

        Args:
            images: (n, height, width, channels) uint8; processed in batches.
            steps: number of training steps per epoch; required if `until` is set.

        Raises:
            ValueError: if `until` is set and `steps` is not given.
        """
        if self.until is not None and steps is None:
            raise ValueError(f"{self.name} stops after {self.until} epochs: pass the steps per epoch to `adapt`")
        channels = images.shape[-1]
        if not self.built:
            self.build(images.shape)
        total, products = np.zeros(channels), np.zeros((channels, channels))
        batch = batch_size_for(images.shape[1:])
        for start in range(0, len(images), batch):
            colors = np.asarray(images[start : start + batch], "float64").reshape(-1, channels)
            total += colors.sum(axis=0)
            products += colors.T @ colors
        pixels = math.prod(images.shape[:-1])
        mean = total / pixels
        variances, axes = np.linalg.eigh(products / pixels - np.outer(mean, mean))
        # The sign of an eigenvector is arbitrary. Making its largest entry positive gives the same result on every machine.
        self.axes.assign(axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(channels)]))
        self.deviations.assign(np.sqrt(variances.clip(0)))
        if self.until is not None:
            self.last.assign(round(self.until * steps))

    def call(self, images: Tensor, training: bool | None = None) -> Tensor:
        if not self.axes.given:
            raise ValueError(f"{self.name} is not fitted: call `adapt` with the training split")
        if not training:
            return images
        batch = ops.shape(images)[0]
        draw = keras.random.normal((batch, self.deviations.shape[0]), 0.0, self.deviation, seed=self.seed_generator)
        color = ops.matmul(draw * self.deviations, ops.transpose(self.axes))
        if self.until is not None:
            color = color * ops.cast(self.seen < self.last, color.dtype)
            self.seen.assign_add(1)
        return ops.cast(images, color.dtype) + color[:, None, None]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> Config:
        return {**super().get_config(), "deviation": self.deviation, "until": self.until, "seed": self.seed}


@keras.saving.register_keras_serializable("training", name="ColourJitter")
class ColorJitter(keras.layers.RandomColorJitter):
    """Randomly change brightness, contrast, saturation and hue of each image: Keras' layer, clipped to 0-255.

    Args:
        brightness_factor: 0.1 for ±10 % of white.
        contrast_factor: 0.2 for 0.8 to 1.2 times the distance from the mean.
        saturation_factor: (0.4, 0.6) for 0.67 to 1.5 times the saturation; 0.5 changes nothing, 0 gives gray.
        hue_factor: 0.05 for up to ±9 degrees of the color wheel.
        seed: int.
    """

    def transform_images(self, images: Tensor, transformation: dict, training: bool = True) -> Tensor:
        return ops.clip(super().transform_images(images, transformation, training), *self.value_range)
