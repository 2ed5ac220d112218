"""Data sets of labeled images, decoded once to raw uint8 pixels in the input size of the model.

A source is the name of a TFDS data set, a synthetic data set ("drawn:NAME"), a folder with one subfolder per class
(optionally inside train, validation and test), a folder in the layout of COCO or PASCAL VOC, or a list: a CSV file of
path,label or a COCO JSON file.
"""

import os
from pathlib import Path

import numpy as np

from training.data import coco, csv_list, folder, synthetic, tfds, voc
from training.data.listing import read
from training.data.samples import SPLITS, MemmapSubset, Samples, Source
from training.data.split_file import describe_changes, write_split
from training.data.splits import class_counts, class_imbalance, duplicates_across_splits, split
from zoo.errors import ZooError
from zoo.files import data_folder

__all__ = [
    "SPLITS",
    "MemmapSubset",
    "Samples",
    "Source",
    "class_counts",
    "class_imbalance",
    "describe_changes",
    "duplicates_across_splits",
    "labeled",
    "load",
    "location",
    "split",
    "write_split",
]

LIST_READERS = {".csv": csv_list.find, ".json": coco.find}  # by file name suffix


def load(name: str, image_spec: dict, strict: bool = False) -> Source:
    """Load a data set.

    Args:
        name: "mnist", "drawn:letters", or the path of a folder or a list.
        image_spec: height, width, channels and resize, as in the [picture] table of a card.
        strict: raise an error for a file that cannot be read. By default such files are skipped.

    Returns:
        `Source`.

    Raises:
        ZooError: if the data set does not exist or cannot be read.
    """
    path, suffix = Path(name), Path(name).suffix.lower()
    if name and path.is_dir():
        layout = next((each for each in (voc, coco) if each.is_one(path)), folder)
        return read(layout.find_in(path), image_spec, strict)
    if name and path.is_file():
        if suffix not in LIST_READERS:
            raise ZooError(f"{name} is not a list of images; expected a {' or '.join(LIST_READERS)} file, or a folder")
        return read(LIST_READERS[suffix](path), image_spec, strict)
    if name.startswith(synthetic.PREFIX):
        return synthetic.load(name, image_spec)
    if os.sep in name or name.startswith(".") or suffix in LIST_READERS:
        raise ZooError(f"no folder or list {name}")
    return tfds.load(name, image_spec)


def labeled(name: str, image_spec: dict, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return one split of a data set as arrays. Other packages call it through the entry point group `zoo.data`.

    Args:
        name: as for `load`.
        image_spec: as for `load`.
        split: "train", "validation" or "test". All images are returned if the data set has no splits.

    Returns:
        (n, height, width, channels) uint8 images, (n,) int32 labels, and the class names that the labels index.

    Raises:
        ZooError: as for `load`, or if the data set has splits but not this one.
    """
    source = load(name, image_spec, strict=True)
    samples = source.splits.get(split) or source.splits.get("all")
    if samples is None:
        raise ZooError(f"{name} has no split '{split}'; it has {', '.join(source.splits)}")
    return samples.images, samples.labels, source.class_names


def location(name: str) -> str:
    """Return " in FOLDER" with the TFDS data folder, for messages; "" for synthetic data, folders and lists."""
    return "" if name.startswith(synthetic.PREFIX) or Path(name).exists() else f" in {data_folder()}"
