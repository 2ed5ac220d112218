"""Small image files for tests of data sources."""

import numpy as np
from PIL import Image

GRAY = {"height": 6, "width": 5, "channels": 1, "resize": "pad"}


def write_noise(path, seed):
    """Write an image of 6x5 random pixels; return them as (6, 5, 1) uint8."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 5), "uint8")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels[..., None]


def write_uniform(path, value):
    """Write an image of 6x5 pixels with the same value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (5, 6), value).save(path)
