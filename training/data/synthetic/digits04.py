"""The digits 0 to 4 in thin strokes on 16x16, the task of the Neocognitron: five pictures to learn from.

Validation and test show the same five digits shifted, bent and with noise.
"""

import numpy as np
from PIL import Image, ImageDraw

from training.data import Samples, Source
from zoo.errors import ZooError

SIDE = 16
FINE = 8  # strokes are drawn so much larger, then scaled down
DIGITS = ("0", "1", "2", "3", "4")

# One stroke a digit as (x, y) in pixels of the field, whose middle is (8, 8).
STROKES = (
    [
        *((8, 3), (6, 3.5), (5, 5.5), (4.7, 8), (5, 10.5), (6, 12.5), (8, 13)),
        *((10, 12.5), (11, 10.5), (11.3, 8), (11, 5.5), (10, 3.5), (8, 3)),
    ],
    [(8, 3), (8, 4.7), (8, 6.3), (8, 8), (8, 9.7), (8, 11.3), (8, 13)],
    [(4.7, 5.5), (5.5, 3.7), (8, 3), (10.5, 3.7), (11, 5.7), (10, 7.7), (7, 10.3), (4.7, 13), (8, 13), (11.3, 13)],
    [(4.7, 3), (8, 3), (11, 3), (7.7, 7), (10, 7.7), (11.2, 9.7), (10.5, 12), (8, 13), (5.7, 12.6), (4.5, 11)],
    [(9.3, 13), (9.3, 8), (9.3, 3), (6.6, 6.5), (4, 10), (8, 10), (12, 10)],
)


def make(picture):
    """Return the digits: "train" has each once, "validation" and "test" have 40 and 200 altered ones of each.

    An altered digit is shifted by up to 2 pixels each way, bent by 0.5, and 2 % of its pixels are noise; see `draw`.

    Raises:
        ZooError: if another size than 16x16 of one channel is asked for.
    """
    asked = picture["height"], picture["width"], picture["channels"]
    if asked != (SIDE, SIDE, 1):
        raise ZooError(f"drawn:digits04 is drawn in 16x16 pixels of 1 channel, not in {'x'.join(map(str, asked))}")
    parts = {"train": Samples(np.stack([draw(digit) for digit in range(5)]), np.arange(5, dtype="int32"))}
    for seed, (part, count) in enumerate({"validation": 40, "test": 200}.items()):
        rng = np.random.default_rng([1980, seed])
        labels = np.repeat(np.arange(5, dtype="int32"), count)
        shifts = rng.integers(-2, 3, size=(len(labels), 2))
        drawn = [draw(digit, shift, 0.5, 0.02, rng) for digit, shift in zip(labels, shifts, strict=True)]
        parts[part] = Samples(np.stack(drawn), labels)
    return Source(DIGITS, parts)


def draw(digit, shift=(0, 0), bend=0.0, noise=0.0, rng=None):
    """Draw one digit.

    Args:
        digit: 0 to 4.
        shift: (x, y) in pixels, to the right and down.
        bend: how far the points of the stroke move, standard deviation in pixels: half of it by a linear map of the whole
            digit, half each for itself.
        noise: probability with which a pixel is flipped, white to black and black to white.
        rng: NumPy generator for bend and noise.

    Returns:
        (16, 16, 1) uint8, white on black.
    """
    points = np.array(STROKES[digit], "float64") - SIDE / 2
    if bend:
        map_ = rng.normal(0, bend / 5, size=(2, 2))  # points lie about 5 pixels from the middle
        points = points + (points @ map_ + rng.normal(0, bend, size=points.shape)) / 2**0.5
    points = (points + SIDE / 2 + shift) * FINE
    image = Image.new("L", (SIDE * FINE, SIDE * FINE))
    ImageDraw.Draw(image).line([tuple(point) for point in points], fill=255, width=round(1.2 * FINE), joint="curve")
    pixels = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))
    if noise:
        pixels = np.where(rng.random(pixels.shape) < noise, 255 - pixels, pixels)
    return pixels[..., None]
