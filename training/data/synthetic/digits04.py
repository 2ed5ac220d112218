"""The digits 0 to 4 in thin strokes, 16x16 pixels: the task of the Neocognitron, with five training images.

The validation and test images are the same digits, shifted, bent and with noise.
"""

import numpy as np
from PIL import Image, ImageDraw

from training.data.samples import Samples, Source
from training.data.synthetic import _image_size

SIDE = 16
OVERSAMPLING = 8  # strokes are drawn at this scale, then scaled down
DIGITS = ("0", "1", "2", "3", "4")

# One stroke per digit, points (x, y) in pixels; the center of the image is (8, 8).
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


def make(image_spec: dict) -> Source:
    """Return the digits: each once in "train", 40 distorted versions in "validation" and 200 in "test".

    A distorted digit is shifted by up to 2 pixels along each axis and bent by 0.5, and 2 % of its pixels are flipped; see
    `draw`.

    Args:
        image_spec: height, width and channels, which must be 16, 16 and 1.

    Raises:
        ZooError: if images of another size are requested.
    """
    _image_size.check(image_spec, (SIDE, SIDE, 1), "the digits of drawn:digits04")
    splits = {"train": Samples(np.stack([draw(digit) for digit in range(5)]), np.arange(5, dtype="int32"))}
    for seed, (split, count) in enumerate({"validation": 40, "test": 200}.items()):
        rng = np.random.default_rng([1980, seed])
        labels = np.repeat(np.arange(5, dtype="int32"), count)
        shifts = rng.integers(-2, 3, size=(len(labels), 2))
        drawn = [draw(digit, shift, 0.5, 0.02, rng) for digit, shift in zip(labels, shifts, strict=True)]
        splits[split] = Samples(np.stack(drawn), labels)
    return Source(DIGITS, splits)


def draw(
    digit: int,
    shift: tuple[int, int] = (0, 0),
    bend: float = 0.0,
    noise: float = 0.0,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Draw one digit.

    Args:
        digit: 0 to 4.
        shift: (x, y) in pixels, to the right and down.
        bend: standard deviation, in pixels, of the displacement of the points of the stroke. Half of its variance is a
            linear map of the whole digit, half is independent for each point.
        noise: probability that a pixel is flipped from black to white or from white to black.
        rng: generator for bend and noise.

    Returns:
        (16, 16, 1) uint8, white on black.
    """
    points = np.array(STROKES[digit], "float64") - SIDE / 2
    if bend:
        map_ = rng.normal(0, bend / 5, size=(2, 2))  # points lie about 5 pixels from the middle
        points = points + (points @ map_ + rng.normal(0, bend, size=points.shape)) / 2**0.5
    points = (points + SIDE / 2 + shift) * OVERSAMPLING
    image = Image.new("L", (SIDE * OVERSAMPLING, SIDE * OVERSAMPLING))
    ImageDraw.Draw(image).line([tuple(point) for point in points], fill=255, width=round(1.2 * OVERSAMPLING), joint="curve")
    pixels = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))
    if noise:
        pixels = np.where(rng.random(pixels.shape) < noise, 255 - pixels, pixels)
    return pixels[..., None]
