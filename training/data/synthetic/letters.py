"""The letters A to H in twenty-two fonts, upright, up to two pixels from the center of a 20x20 retina."""

import itertools
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.data.samples import Samples, Source
from training.data.synthetic import _retina

LETTERS = "ABCDEFGH"
SIDE = _retina.SIDE
SHIFT = 2  # each letter is drawn at every position up to this many pixels from the center

# The fonts of matplotlib that have capitals. The splits use different fonts: a test image that differs from a training image
# only in its position would be a near copy of it.
TEST = ("DejaVuSansMono-Oblique", "DejaVuSerif-Bold", "STIXGeneralBol", "cmss10")
VALIDATION = ("DejaVuSans-Bold", "cmr10")
TRAIN = (
    *("DejaVuSans", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmb10", "cmmi10", "cmti10", "cmtt10"),
)


def make(image_spec: dict) -> Source:
    """Return the letters, white on black: each letter of each font at 25 positions.

    The splits have different fonts: 3,200 training images of 16 fonts, 400 validation images of 2, 800 test images of 4.

    Args:
        image_spec: height, width and channels, which must be 20, 20 and 1.

    Raises:
        ZooError: if images of another size are requested.
    """
    _retina.check(image_spec)
    splits = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
    return Source(tuple(LETTERS), {split: _shifted(fonts) for split, fonts in splits.items()})


def _shifted(fonts):
    """Return every letter of the given fonts at every position, as `Samples`."""
    glyphs = np.stack([glyph for font in fonts for glyph in _glyphs(font)])
    positions = itertools.product(range(2 * SHIFT + 1), repeat=2)
    margin = 2 * SHIFT
    images = [np.pad(glyphs, ((0, 0), (down, margin - down), (right, margin - right))) for down, right in positions]
    labels = np.tile(np.arange(len(LETTERS), dtype="int32"), len(fonts) * len(images))
    return Samples(np.concatenate(images)[..., None], labels)


def _glyphs(name):
    """Return the centered letters of a font, (8, 16, 16) uint8, in the largest font size in which every letter fits.

    The squares are smaller than the retina by the range of the shifts.
    """
    side = SIDE - 2 * SHIFT
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
    for size in range(2 * side, 0, -1):
        font = ImageFont.truetype(path, size)
        boxes = [font.getbbox(letter) for letter in LETTERS]
        if max(max(right - left, bottom - top) for left, top, right, bottom in boxes) <= side:
            break
    glyphs = []
    for letter, (left, top, right, bottom) in zip(LETTERS, boxes, strict=True):
        image = Image.new("L", (side, side))
        corner = (side - (right - left)) // 2 - left, (side - (bottom - top)) // 2 - top
        ImageDraw.Draw(image).text(corner, letter, font=font, fill=255)
        glyphs.append(np.asarray(image))
    return np.stack(glyphs)
