"""Distortions of training pictures, as layers on raw 0-255 pixels; outside of training they do nothing.

Each draws from its own SeedGenerator, whose state is a variable: a checkpoint holds it and a resumed run draws on.
"""

import keras
from keras import ops


@keras.saving.register_keras_serializable("training")
class AffineDistortion(keras.layers.Layer):
    """Distort each picture by its own random planar affine map, as LeNet-5's training set of 600,000 was made.

    Args:
        translation: largest shift in each direction, in pixels.
        scaling: largest relative change of size, 0.1 for ±10 %.
        squeezing: largest relative compression of one axis with elongation of the other.
        shearing: largest horizontal shear, in pixels a pixel of height.
        rotation: largest turn, in radians; 0 in 1998.
        seed: int.

    References:
        LeCun et al. (1998), section III: translation, scaling, squeezing and shearing. The amounts are a reconstruction.
    """

    def __init__(self, translation=2.0, scaling=0.1, squeezing=0.1, shearing=0.2, rotation=0.0, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.amounts = {
            "translation": translation,
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
        shift_x = centre_x - a * centre_x - b * centre_y + self.amounts["translation"] * draw[4]
        shift_y = centre_y - c * centre_x - d * centre_y + self.amounts["translation"] * draw[5]
        zero = ops.zeros_like(a)
        transform = ops.stack([a, b, shift_x, c, d, shift_y, zero, zero], axis=-1)
        return ops.image.affine_transform(pictures, transform, "bilinear", "constant", data_format="channels_last")

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), **self.amounts, "seed": self.seed}


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
