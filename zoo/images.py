"""Reading pictures, the same way everywhere: in training, in prediction and in the check of an exported file."""

import concurrent.futures
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from zoo.errors import ZooError
from zoo.machine import cores

# What runs at once has at most so many raw values: 27 pictures of AlexNet's size, whose maps take 0.1 GB.
BATCH_PIXELS = 2**22
MOST_NAMED = 30  # files that a message names before it counts
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}


class ImageError(ZooError):
    """A file that is no picture, or one that is damaged or too large."""


def read(path, picture):
    """Read one picture of any size and mode as raw pixels.

    EXIF orientation is applied, 16-bit grey keeps its upper eight bits, transparency lies on white. A picture of another
    size is scaled, antialiased and bilinear: "pad" keeps all of it and its proportions between black bars, "crop" keeps
    its proportions and the middle, "stretch" keeps all of it and not its proportions. With `crop_from` that makes a square
    of so many pixels, of which the middle is cut out.

    Args:
        path: the file.
        picture: dict of height, width, channels (1 or 3), resize, and crop_from or none, as a card's [picture].

    Returns:
        (height, width, channels) uint8.

    Raises:
        ImageError: if the file is no picture, is cut short, or has more pixels than Pillow holds safe; it names the file.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return conform(ImageOps.exif_transpose(image), picture)
    except FileNotFoundError as error:
        raise ImageError(f"no file {path}") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path} is not a picture of a known format; remove it or save it as PNG or JPEG") from error
    except Image.DecompressionBombError as error:
        limit = 2 * Image.MAX_IMAGE_PIXELS
        raise ImageError(f"{path} has more than {limit:,} pixels; make it smaller first") from error
    except (IsADirectoryError, PermissionError) as error:
        raise ImageError(f"{path} cannot be read ({error.strerror.lower()}); name a file that you may read") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow's decoders raise for damaged files
        raise ImageError(f"{path} is damaged ({error}); replace it or remove it") from error


def conform(image, picture):
    """Return a Pillow image as raw pixels of a picture format, (height, width, channels) uint8; see `read`."""
    mode = "L" if picture["channels"] == 1 else "RGB"
    image = _eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    image = image.convert(mode)
    whole = without_crop(picture)
    size = whole["width"], whole["height"]
    if image.size != size:
        fit = {"pad": _pad, "crop": ImageOps.fit, "stretch": Image.Image.resize}[picture["resize"]]
        image = fit(image, size, Image.Resampling.BILINEAR)
    return center_crop(np.asarray(image).reshape(*size[::-1], picture["channels"]), picture["height"], picture["width"])


def without_crop(picture):
    """Return the picture format of what the middle is cut out of: the format itself, where nothing is."""
    side = picture.get("crop_from")
    return {**picture, "height": side, "width": side, "crop_from": None} if side else picture


def center_crop(pictures, height, width):
    """Return the middle of pictures, (..., height, width, channels); of an odd border the smaller half is above and left."""
    top, left = (pictures.shape[-3] - height) // 2, (pictures.shape[-2] - width) // 2
    if min(top, left) < 0:
        raise ValueError(f"no {height}x{width} can be cut out of pictures of {pictures.shape[-3]}x{pictures.shape[-2]}")
    return pictures[..., top : top + height, left : left + width, :]


def batch_size_for(shape):
    """Return how many pictures of a shape are run at once: 1,000 small ones, fewer large ones, by their pixels."""
    return max(1, min(1000, BATCH_PIXELS // math.prod(shape)))


def _pad(image, size, resampling):
    """Pad as Pillow does, but keep a line of a picture so long that Pillow would round its width to nothing."""
    scale = min(size[0] / image.width, size[1] / image.height)
    if round(scale * min(image.size)) == 0:
        image = image.resize(tuple(max(1, round(scale * side)) for side in image.size), resampling)
    return ImageOps.pad(image, size, resampling)


def _eight_bits(image):
    """Return 16-bit grey as 8-bit grey: Pillow would clip it at 255 instead."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).astype("uint32") >> 8).clip(0, 255).astype("uint8"))
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed white")
    return image


def find(folder):
    """Return the picture files below a folder, by their endings, sorted.

    Raises:
        ImageError: if the folder does not exist or has none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImageError(f"no folder {folder}")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise ImageError(f"{folder} has no pictures (looked for {', '.join(sorted(SUFFIXES))})")
    return found


def read_all(paths, picture, strict=False, advance=lambda: None):
    """Read many pictures on all cores.

    Args:
        paths: the files.
        picture: as for `read`.
        strict: raise where files cannot be read, instead of leaving them out.
        advance: called once a file, for a progress bar.

    Returns:
        ((n, height, width, channels) uint8, indices of the n paths that were read, list of messages about the others).

    Raises:
        ImageError: if strict and a file cannot be read; it names them, of many the first.
    """

    def attempt(path):
        try:
            return read(path, picture)
        except ImageError as error:
            return error

    pictures, kept, problems = [], [], []
    with concurrent.futures.ThreadPoolExecutor(cores()) as pool:
        for index, result in enumerate(pool.map(attempt, paths)):
            advance()
            if isinstance(result, ImageError):
                problems.append(str(result))
            else:
                pictures.append(result)
                kept.append(index)
    if strict and problems:
        raise ImageError("\n".join(listed(problems)))
    shape = picture["height"], picture["width"], picture["channels"]
    return np.stack(pictures) if pictures else np.empty((0, *shape), "uint8"), kept, problems


def listed(problems, before=""):
    """Return messages about files as lines to print, with words before each: the first of many, and how many more."""
    more = [f"{before}{len(problems) - MOST_NAMED:,} more like these"] if len(problems) > MOST_NAMED else []
    return [*(f"{before}{problem}" for problem in problems[:MOST_NAMED]), *more]
