"""Images for calibration and labeled images for measuring accuracy, from folders or named data sets."""

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np

from zoo import classes, images
from zoo.errors import ZooError

MAX_IMAGES = 500  # for calibration; more hardly change a range
MIN_IMAGES = 8  # with fewer, a single image determines the ranges


def load_calibration_images(
    name: str | Path, image_spec: dict[str, Any], advance: Callable[[], object] = lambda: None
) -> np.ndarray:
    """Load up to `MAX_IMAGES` images, evenly spaced over a folder's sorted files or over a data set's training split.

    Args:
        name: folder with images at any depth, or name of a data set such as mnist.
        image_spec: dict of height, width, channels and resize.
        advance: called once per file, for a progress bar.

    Returns:
        (n, height, width, channels) uint8.

    Raises:
        ZooError: if there is no such folder or data set, an image cannot be read, or there are fewer than `MIN_IMAGES`.
    """
    if not _is_folder(name):
        loaded, _, _ = _load_data_set(str(name), image_spec, "train")
        return loaded[_evenly_spaced(len(loaded))]
    paths = images.find(name)
    if len(paths) < MIN_IMAGES:
        count = f"{len(paths)} image{'s' * (len(paths) > 1)}"
        needed = f"at least {MIN_IMAGES}, better a few hundred images like those in use later"
        raise ZooError(f"{name} has {count}; calibration needs {needed}")
    loaded, _, _ = images.read_all([paths[index] for index in _evenly_spaced(len(paths))], image_spec, True, advance)
    return loaded


def load_labeled_images(
    name: str | Path, about: dict[str, Any], advance: Callable[[], object] = lambda: None
) -> tuple[np.ndarray, np.ndarray]:
    """Load images and their class indices in a model's class names.

    Args:
        name: folder with one subfolder per class, or name of a data set, whose test split is loaded.
        about: dict of picture, class_names and optionally class_ids, as in the metadata of a file.
        advance: called once per file, for a progress bar.

    Returns:
        ((n, height, width, channels) uint8, (n,) int32).

    Raises:
        ZooError: if there is no such folder or data set, an image cannot be read, or the model lacks a class; it suggests
            the nearest one.
    """
    if not _is_folder(name):
        loaded, labels, names = _load_data_set(str(name), about["picture"], "test")
        return loaded, _class_indices(names, about)[labels]
    folders = sorted(each for each in Path(name).iterdir() if each.is_dir() and not each.name.startswith("."))
    if not folders:
        raise ZooError(f"{name} has no class folders; expected {name}/CLASS/IMAGE.png, one folder per class")
    indices = _class_indices([each.name for each in folders], about)
    paths = [images.find(each) for each in folders]
    loaded, _, _ = images.read_all([path for in_class in paths for path in in_class], about["picture"], True, advance)
    return loaded, np.repeat(indices, [len(in_class) for in_class in paths])


def _is_folder(name):
    return isinstance(name, Path) or Path(name).is_dir() or "/" in str(name)


def _evenly_spaced(count):
    return np.linspace(0, count - 1, min(MAX_IMAGES, count)).astype(int)


def _class_indices(names, about):
    """Return the indices of classes in a file's class names or ids, (n,) int32."""
    return np.array(classes.indices(names, about["class_names"], about.get("class_ids")), "int32")


def _load_data_set(name, image_spec, split):
    """Return (images, labels, class names) of a split of a data set, from the package that provides data sets."""
    loaders = list(entry_points(group="zoo.data", name="labeled"))
    if not loaders:
        raise ZooError(f"no folder {name}, and no package that provides data sets by name is installed")
    return loaders[0].load()(name, image_spec, split)
