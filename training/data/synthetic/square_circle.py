"""Filled squares and circles, 12 to 14 pixels wide, at random positions on a 20x20 retina."""

import numpy as np

from training.data.samples import Samples, Source
from training.data.synthetic import _retina

SIDE = _retina.SIDE
WIDTHS = (12.0, 14.0)  # in pixels
SIZES = {"train": 10_000, "validation": 1_000, "test": 2_000}


def make(image_spec: dict) -> Source:
    """Return squares and circles, white on black, half of each class.

    The splits are drawn independently. On 400 photocells few squares are distinct, so images repeat, and most test squares
    are also training images.

    Args:
        image_spec: height, width and channels, which must be 20, 20 and 1.

    Raises:
        ZooError: if images of another size are requested.
    """
    _retina.check(image_spec)
    return of_widths(*WIDTHS)


def of_widths(smallest: float, largest: float) -> Source:
    """Return squares and circles with widths, in pixels, drawn uniformly between two values."""
    rng = np.random.default_rng(1960)
    splits = {}
    for split, size in SIZES.items():
        images = np.concatenate([_draw(rng, size // 2, smallest, largest, circle) for circle in (False, True)])
        splits[split] = Samples(images, np.repeat(np.int32([0, 1]), size // 2))
    return Source(("square", "circle"), splits)


def _draw(rng, count, smallest, largest, circle):
    """Draw figures that lie entirely on the retina, (count, 20, 20, 1) uint8. A pixel is on if its center is inside."""
    width = rng.uniform(smallest, largest, (count, 1, 1))
    down, right = (rng.uniform(0, 1, (count, 1, 1)) * (SIDE - width) + width / 2 for _ in range(2))
    center = np.arange(SIDE) + 0.5
    y, x = np.abs(center[:, None] - down), np.abs(center - right)
    inside = (np.hypot(y, x) if circle else np.maximum(y, x)) < width / 2
    return 255 * inside[..., None].astype("uint8")
