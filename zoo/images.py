"""Read image files, the same way in training, in prediction and in the check of an exported file."""

import concurrent.futures
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from zoo.errors import ZooError
from zoo.machine import cores

# Raw values in a batch, at most: 27 images of AlexNet's size, whose feature maps take 0.1 GB.
BATCH_PIXELS = 2**22
MOST_LISTED = 30  # files that a message lists; of more it states the number
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}


class ImageError(ZooError):
    """A file is not an image, or it is damaged or too large."""


def read(path: str | os.PathLike, image_spec: Mapping[str, Any]) -> np.ndarray:
    """Read an image of any size and mode as raw pixels.

    EXIF orientation is applied, 16-bit gray is reduced to its upper eight bits, and transparency is blended with white.
    Images of other sizes are resized, bilinear with antialiasing: "pad" keeps the aspect ratio and adds black bars, "crop"
    keeps the aspect ratio and crops the center, "stretch" does not keep the aspect ratio. With `crop_from`, the image is
    first resized to a square of that side, and then the center is cropped.

    Args:
        path: the file.
        image_spec: dict of height, width, channels (1 or 3), resize and, optionally, crop_from, as [picture] of a card.

    Returns:
        (height, width, channels) uint8.

    Raises:
        ImageError: if the file is not an image, is truncated, or has more pixels than Pillow accepts; it names the file.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return conform(ImageOps.exif_transpose(image), image_spec)
    except FileNotFoundError as error:
        raise ImageError(f"no file {path}") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path} is not an image of a known format; remove it or save it as PNG or JPEG") from error
    except Image.DecompressionBombError as error:
        limit = 2 * Image.MAX_IMAGE_PIXELS
        raise ImageError(f"{path} has more than {limit:,} pixels; resize it first") from error
    except (IsADirectoryError, PermissionError) as error:
        raise ImageError(f"{path} cannot be read ({error.strerror.lower()}); give a file that you may read") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # raised by Pillow's decoders for damaged files
        raise ImageError(f"{path} is damaged ({error}); replace it or remove it") from error


def conform(image: Image.Image, image_spec: Mapping[str, Any]) -> np.ndarray:
    """Convert a Pillow image to raw pixels of an image spec, see `read`.

    Args:
        image: the image, of any size and mode.
        image_spec: as for `read`.

    Returns:
        (height, width, channels) uint8.
    """
    mode = "L" if image_spec["channels"] == 1 else "RGB"
    image = _eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    image = image.convert(mode)
    whole = without_crop(image_spec)
    size = whole["width"], whole["height"]
    if image.size != size:
        fit = {"pad": _pad, "crop": ImageOps.fit, "stretch": Image.Image.resize}[image_spec["resize"]]
        image = fit(image, size, Image.Resampling.BILINEAR)
    pixels = np.asarray(image).reshape(*size[::-1], image_spec["channels"])
    return center_crop(pixels, image_spec["height"], image_spec["width"])


def without_crop(image_spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the image spec of the image before the center crop; the same spec if there is no `crop_from`."""
    side = image_spec.get("crop_from")
    return {**image_spec, "height": side, "width": side, "crop_from": None} if side else dict(image_spec)


def center_crop(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the center of images. If the border is odd, the smaller half is at the top and left.

    Args:
        images: (..., height, width, channels) array.
        height: of the crop.
        width: of the crop.

    Returns:
        (..., height, width, channels) view.

    Raises:
        ValueError: if the images are smaller than the crop.
    """
    top, left = (images.shape[-3] - height) // 2, (images.shape[-2] - width) // 2
    if min(top, left) < 0:
        raise ValueError(f"{height}x{width} cannot be cropped from images of {images.shape[-3]}x{images.shape[-2]}")
    return images[..., top : top + height, left : left + width, :]


def batch_size_for(shape: tuple[int, ...]) -> int:
    """Return a batch size for inference, by the number of raw values of an image: 1,000 for small images, fewer for large.

    Args:
        shape: (height, width, channels) of an image.
    """
    return max(1, min(1000, BATCH_PIXELS // math.prod(shape)))


def _pad(image: Image.Image, size: tuple[int, int], resampling: Image.Resampling) -> Image.Image:
    """Pad as Pillow does, but keep one line of an image so long that Pillow would round its width to 0."""
    scale = min(size[0] / image.width, size[1] / image.height)
    if round(scale * min(image.size)) == 0:
        image = image.resize(tuple(max(1, round(scale * side)) for side in image.size), resampling)
    return ImageOps.pad(image, size, resampling)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Convert 16-bit gray to 8-bit gray. Pillow would clip it at 255 instead."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).astype("uint32") >> 8).clip(0, 255).astype("uint8"))
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed value for white")
    return image


def find(folder: str | os.PathLike) -> list[Path]:
    """Return the image files below a folder, by their suffixes, sorted.

    Args:
        folder: searched with its subfolders.

    Raises:
        ImageError: if the folder does not exist or has no images.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImageError(f"no folder {folder}")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise ImageError(f"{folder} has no images (looked for {', '.join(sorted(SUFFIXES))})")
    return found


def read_all(
    paths: Iterable[str | os.PathLike],
    image_spec: Mapping[str, Any],
    strict: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> tuple[np.ndarray, list[int], list[str]]:
    """Read images on all cores.

    Args:
        paths: the files.
        image_spec: as for `read`.
        strict: raise an error if files cannot be read, instead of skipping them.
        advance: called once per file, for a progress bar.

    Returns:
        ((n, height, width, channels) uint8, indices of the n paths that were read, messages about the skipped ones).

    Raises:
        ImageError: if strict and files cannot be read; it lists the first of them.
    """

    def attempt(path):
        try:
            return read(path, image_spec)
        except ImageError as error:
            return error

    images, kept, problems = [], [], []
    with concurrent.futures.ThreadPoolExecutor(cores()) as pool:
        for index, result in enumerate(pool.map(attempt, paths)):
            advance()
            if isinstance(result, ImageError):
                problems.append(str(result))
            else:
                images.append(result)
                kept.append(index)
    if strict and problems:
        raise ImageError("\n".join(listed(problems)))
    shape = image_spec["height"], image_spec["width"], image_spec["channels"]
    return np.stack(images) if images else np.empty((0, *shape), "uint8"), kept, problems


def listed(problems: Sequence[str], prefix: str = "") -> list[str]:
    """Return messages about files as lines to print: the first ones and, if there are more, their number.

    Args:
        problems: one message per file.
        prefix: put before each line.
    """
    more = [f"{prefix}{len(problems) - MOST_LISTED:,} more like these"] if len(problems) > MOST_LISTED else []
    return [*(f"{prefix}{problem}" for problem in problems[:MOST_LISTED]), *more]
