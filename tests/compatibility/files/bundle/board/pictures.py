"""Pictures as the workstation reads them, to the last bit: the net was trained and checked on those."""

import io

import numpy as np

from .files import BundleError
from .orientation import upright
from .resize import resize


class PictureError(BundleError):
    """A file that is no picture, or one that is damaged."""


def read(path, picture):
    """Read a picture of any size as raw pixels.

    Args:
        path: the file.
        picture: dict of height, width, channels (1 or 3), resize, and crop_from or none.

    Returns:
        (height, width, channels) uint8.

    Raises:
        PictureError: if it cannot be read; it names the file.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise PictureError(f"{path} cannot be read ({error.strerror.lower()})") from None
    try:
        pixels = decoder()(data, picture["channels"])
    except BundleError:
        raise
    except Exception as error:  # whatever the decoders raise for damaged files
        raise PictureError(f"{path} is no picture, or damaged ({error}); save it as PNG or JPEG") from None
    return conform(upright(pixels, data), picture)


def decoder():
    """Return `by_pillow`, as on the workstation, or `by_opencv` where there is no Pillow."""
    for module, found in (("PIL.Image", by_pillow), ("cv2", by_opencv)):
        try:
            __import__(module)
            return found
        except ImportError:
            continue
    raise BundleError("Python has neither PIL nor cv2 to read pictures with; sudo apt-get install python3-pil")


def by_pillow(data, channels):
    """Return the pixels of a file's bytes, (height, width, channels) uint8, as they lie in it."""
    from PIL import Image

    image = Image.open(io.BytesIO(data))
    image.load()
    if image.mode.startswith("I"):  # 16-bit grey: Pillow would clip it at 255
        return _coloured((np.asarray(image).astype("uint32") >> 8).clip(0, 255).astype("uint8")[..., None], channels)
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed white")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        return _coloured(_on_white(np.asarray(image.convert("RGBA"))), channels)
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return pixels.reshape(image.height, image.width, channels)


def by_opencv(data, channels):
    """Return the pixels of a file's bytes, (height, width, channels) uint8, as they lie in it."""
    import cv2

    pixels = cv2.imdecode(np.frombuffer(data, "uint8"), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("OpenCV cannot read it")
    if pixels.dtype == "uint16":
        pixels = (pixels >> 8).astype("uint8")
    if pixels.dtype != "uint8":
        raise ValueError(f"{pixels.dtype} pixels have no fixed white")
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.shape[-1] == 4:
        pixels = _on_white(pixels[..., [2, 1, 0, 3]])
    elif pixels.shape[-1] == 3:
        pixels = pixels[..., ::-1]
    return _coloured(pixels, channels)


def _on_white(pixels):
    """Return red, green, blue and opacity on white, in Pillow's whole numbers."""
    opacity = pixels[..., 3:].astype("int64") << 7
    mixed = pixels[..., :3] * opacity + 255 * ((255 << 7) - opacity) + (128 << 7)
    return ((((mixed >> 8) + mixed) >> 8) >> 7).astype("uint8")


def _coloured(pixels, channels):
    """Return (height, width, 1 or 3) as so many channels; grey is what Pillow weighs as ITU-R 601-2."""
    if pixels.shape[-1] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=-1)
    red, green, blue = (pixels[..., place].astype("int64") for place in range(3))
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype("uint8")[..., None]


def of_frame(frame, picture):
    """Return a camera's frame, (height, width, 3) blue, green, red, as raw pixels of a picture format."""
    return conform(_coloured(frame[..., ::-1], picture["channels"]), picture)


def conform(pixels, picture):
    """Return pixels of any size, (height, width, channels) uint8, scaled and cut to a picture format."""
    side = picture.get("crop_from")
    size = (side, side) if side else (picture["width"], picture["height"])
    if pixels.shape[1::-1] != size:
        pixels = {"pad": _pad, "crop": _crop, "stretch": resize}[picture["resize"]](pixels, size)
    top, left = (pixels.shape[0] - picture["height"]) // 2, (pixels.shape[1] - picture["width"]) // 2
    return pixels[top : top + picture["height"], left : left + picture["width"]]


def _pad(pixels, size):
    """Keep all of a picture and its proportions, between black bars."""
    height, width = pixels.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    if round(scale * min(width, height)) == 0:  # a line of a long one is kept
        pixels = resize(pixels, (max(1, round(scale * width)), max(1, round(scale * height))))
        height, width = pixels.shape[:2]
    within = size
    if width / height > size[0] / size[1]:
        within = size[0], round(height / width * size[0])
    elif width / height < size[0] / size[1]:
        within = round(width / height * size[1]), size[1]
    scaled = resize(pixels, within)
    left, top = round((size[0] - within[0]) * 0.5), round((size[1] - within[1]) * 0.5)
    padded = np.zeros((size[1], size[0], pixels.shape[2]), "uint8")
    padded[top : top + within[1], left : left + within[0]] = scaled
    return padded


def _crop(pixels, size):
    """Keep a picture's proportions and its middle."""
    height, width = pixels.shape[:2]
    cut = (width, height)
    if width / height > size[0] / size[1]:
        cut = size[0] / size[1] * height, height
    elif width / height < size[0] / size[1]:
        cut = width, width / (size[0] / size[1])
    left, top = (width - cut[0]) * 0.5, (height - cut[1]) * 0.5
    return resize(pixels, size, (left, top, left + cut[0], top + cut[1]))
