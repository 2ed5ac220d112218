"""Filled squares and circles, 12 to 14 pixels wide, anywhere on a 20x20 retina."""

import numpy as np

from training.data import Samples, Source
from training.data.synthetic import _retina

SIDE = _retina.SIDE
WIDTHS = (12.0, 14.0)  # in pixels
SIZES = {"train": 10_000, "validation": 1_000, "test": 2_000}


def make(picture):
    """Return squares and circles, white on black, as a `training.data.Source`: half of each class.

    The parts are drawn independently. 400 photocells cannot tell many squares of one size apart, so pictures repeat, and
    most squares of the test are among those to train.

    Args:
        picture: dict of height, width and channels, which must be 20, 20 and 1.

    Raises:
        ZooError: if pictures of another size are asked for.
    """
    _retina.check(picture)
    return of_widths(*WIDTHS)


def of_widths(smallest, largest):
    """Return a `training.data.Source` of squares and circles whose widths are uniform between two, in pixels."""
    rng = np.random.default_rng(1960)
    parts = {}
    for part, size in SIZES.items():
        pictures = np.concatenate([_draw(rng, size // 2, smallest, largest, circle) for circle in (False, True)])
        parts[part] = Samples(pictures, np.repeat(np.int32([0, 1]), size // 2))
    return Source(("square", "circle"), parts)


def _draw(rng, count, smallest, largest, circle):
    """Draw figures wholly on the retina, (count, 20, 20, 1) uint8; a pixel is on if its middle is inside."""
    width = rng.uniform(smallest, largest, (count, 1, 1))
    down, right = (rng.uniform(0, 1, (count, 1, 1)) * (SIDE - width) + width / 2 for _ in range(2))
    middle = np.arange(SIDE) + 0.5
    y, x = np.abs(middle[:, None] - down), np.abs(middle - right)
    inside = (np.hypot(y, x) if circle else np.maximum(y, x)) < width / 2
    return 255 * inside[..., None].astype("uint8")
