"""Images to compare an exported file with its model: real ones, the user's or scikit-learn's, and synthetic ones."""

import gzip
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from zoo import images
from zoo.errors import ZooError

MOST, FEWEST = 256, 32  # images of a comparison: it takes seconds for small ones, and should not take minutes for large ones
PIXELS = 2**22  # raw values of all images, within these limits
WINDOW = 96  # side of a crop of a photograph, in pixels
EXTREME_SIZES = (1, 1), (1, 2000), (3000, 2)  # width and height


@dataclass(frozen=True)
class Samples:
    """Inputs on which a file is compared with its model.

    Attributes:
        inputs: (n, ...) array.
        real: number of real inputs, which come first.
        skipped: dict, name of a family of inputs on which the model cannot be compared -> reason.
    """

    inputs: np.ndarray
    real: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


def count(spec: dict) -> int:
    """Return the number of images of a comparison: 256 small ones, 32 of AlexNet's size."""
    return max(FEWEST, min(MOST, PIXELS // (spec["height"] * spec["width"] * spec["channels"])))


def read(folder: str | Path, spec: dict, most: int = MOST) -> np.ndarray:
    """Return up to `count` images of a folder, evenly spread over its sorted files. Unreadable images are skipped.

    Args:
        folder: any folder of images.
        spec: dict of height, width, channels and resize.
        most: largest number of images.

    Returns:
        (n, height, width, channels) uint8.

    Raises:
        ImageError: if no image can be read.
    """
    paths = images.find(folder)
    some = [paths[index] for index in np.linspace(0, len(paths) - 1, min(count(spec), most, len(paths))).astype(int)]
    real, _, problems = images.read_all(some, spec)
    if not len(real):
        raise images.ImageError(f"no image in {folder} can be read; the first: {problems[0]}")
    return real


def shipped(spec: dict, most: int = MOST) -> np.ndarray:
    """Return up to `count` images that scikit-learn ships: scanned digits in gray, crops of two photographs in color.

    Args:
        spec: dict of height, width, channels and resize.
        most: largest number of images.

    Returns:
        (n, height, width, channels) uint8.
    """
    number = min(count(spec), most)
    # Read the files directly: importing scikit-learn would take longer.
    datasets = Path(importlib.util.find_spec("sklearn").origin).parent / "datasets"
    if spec["channels"] == 1:
        with gzip.open(datasets / "data" / "digits.csv.gz", "rt") as file:
            rows = np.loadtxt(file, delimiter=",", max_rows=number)
        scans = (rows[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype("uint8")  # the last column is the label
        return np.stack([images.conform(Image.fromarray(scan), spec) for scan in scans])
    photographs = [np.asarray(Image.open(datasets / "images" / f"{name}.jpg")) for name in ("china", "flower")]
    generator = np.random.default_rng(0)
    crops = []
    for index in range(number):
        photograph = photographs[index % len(photographs)]
        top, left = (int(generator.integers(side - WINDOW)) for side in photograph.shape[:2])
        crop = Image.fromarray(photograph[top : top + WINDOW, left : left + WINDOW])
        crops.append(images.conform(crop, spec))
    return np.stack(crops)


def adversarial(spec: dict) -> np.ndarray:
    """Return images that models are not trained on, but clients send: empty, noisy, periodic, of extreme sizes.

    Args:
        spec: dict of height, width, channels and resize.

    Returns:
        (9, height, width, channels) uint8: black, white, uniform noise, salt and pepper, a checkerboard, a single bright
        pixel, and noise resized from one pixel, from a long column and from two long rows.
    """
    shape = spec["height"], spec["width"], spec["channels"]
    generator = np.random.default_rng(0)
    rows, columns = np.indices(shape[:2])
    checkerboard = np.broadcast_to((255 * ((rows + columns) % 2))[..., None], shape)
    pixel = np.zeros(shape)
    pixel[shape[0] // 2, shape[1] // 2] = 255
    synthetic = [
        np.zeros(shape),
        np.full(shape, 255),
        generator.integers(0, 256, shape),
        255 * generator.integers(0, 2, shape),
        checkerboard,
        pixel,
    ]
    for width, height in EXTREME_SIZES:
        noise = Image.fromarray(generator.integers(0, 256, (height, width, 3), "uint8"))
        synthetic.append(images.conform(noise, spec))
    return np.stack(synthetic).astype("uint8")


def in_ranges(images: np.ndarray, dtype: str) -> np.ndarray:
    """Return images for a model whose range of pixel values is unknown.

    Args:
        images: (n, height, width, channels) uint8.
        dtype: of the model's input.

    Returns:
        Array of the same shape: for a floating type in turn from 0 to 1, from 0 to 255, and from -1 to 1. For integers as
        they are.
    """
    if np.issubdtype(dtype, np.floating):
        images = images.astype("float64")
        images[::3] /= 255
        images[2::3] = images[2::3] / 127.5 - 1
    return images.astype(dtype)


def from_array(given: np.ndarray | str | Path, shape: tuple[int, ...], dtype: str, most: int = MOST) -> np.ndarray:
    """Return inputs of an array or of an .npy file, evenly spread over it.

    Args:
        given: (n, ...) array, or path of an .npy file that contains one.
        shape: of one input.
        dtype: of the input.
        most: largest number of inputs.

    Raises:
        ZooError: if the file cannot be read, or the array has another shape.
    """
    name = "the array" if isinstance(given, np.ndarray) else str(given)
    try:
        array = given if isinstance(given, np.ndarray) else np.load(given, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ZooError(f"{name} cannot be read as an .npy file: {error}") from error
    if array.shape[1:] != tuple(shape) or not len(array) or array.dtype.kind not in "biuf":
        raise ZooError(f"{name} must be numbers of the shape {('n', *shape)}; it is {array.dtype} of {array.shape}")
    return array[np.linspace(0, len(array) - 1, min(most, len(array))).astype(int)].astype(dtype)
