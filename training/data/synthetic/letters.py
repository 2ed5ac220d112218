"""The letters A to H, upright in twenty-two fonts, a few pixels off the middle of a 20x20 retina."""

import itertools
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.data import Samples, Source
from training.data.synthetic import _retina

LETTERS = "ABCDEFGH"
SIDE = _retina.SIDE
SHIFT = 2  # each letter is shown at every place up to so many pixels from the middle

# The fonts that matplotlib brings and that have capitals. Those of the test are never seen while learning: a picture of
# another place alone would have a near copy among the others.
TEST = ("DejaVuSansMono-Oblique", "DejaVuSerif-Bold", "STIXGeneralBol", "cmss10")
VALIDATION = ("DejaVuSans-Bold", "cmr10")
TRAIN = (
    *("DejaVuSans", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmb10", "cmmi10", "cmti10", "cmtt10"),
)


def make(picture):
    """Return the letters, white on black, as a `training.data.Source`: 25 places of each letter in each font.

    The parts have different fonts: 3,200 pictures of 16 to train, 400 of 2 to validate, 800 of 4 to test.

    Args:
        picture: dict of height, width and channels, which must be 20, 20 and 1.

    Raises:
        ZooError: if pictures of another size are asked for.
    """
    _retina.check(picture)
    parts = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
    return Source(tuple(LETTERS), {part: _shifted(fonts) for part, fonts in parts.items()})


def _shifted(fonts):
    """Return every letter of some fonts at every place, as `training.data.Samples`."""
    glyphs = np.stack([glyph for font in fonts for glyph in _glyphs(font)])
    places = itertools.product(range(2 * SHIFT + 1), repeat=2)
    room = 2 * SHIFT
    pictures = [np.pad(glyphs, ((0, 0), (down, room - down), (right, room - right))) for down, right in places]
    labels = np.tile(np.arange(len(LETTERS), dtype="int32"), len(fonts) * len(pictures))
    return Samples(np.concatenate(pictures)[..., None], labels)


def _glyphs(name):
    """Return the letters of a font in the middle of squares that leave room for the shifts, (8, 16, 16) uint8.

    The font is as large as lets every letter fit.
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
