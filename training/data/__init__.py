"""Labelled pictures as arrays: decoded once, kept as raw uint8 in the size that the model takes.

A source is a TFDS name, a drawn data set, a folder with a folder a class, which may lie in folders train, validation and
test, a folder as of COCO or VOC, or a list: a CSV file of path,label, or a JSON file as COCO's.
"""

import os
from pathlib import Path

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
    "labelled",
    "load",
    "location",
    "split",
    "write_split",
]

LISTS = {".csv": csv_list.find, ".json": coco.find}  # by the file's ending


def load(name, picture, strict=False):
    """Load a data set.

    Args:
        name: "mnist", "drawn:letters", or the path of a folder or of a list.
        picture: dict of height, width, channels and resize, as a card's [picture].
        strict: refuse a folder or list of which a file cannot be read, instead of leaving that file out.

    Returns:
        `Source`.

    Raises:
        ZooError: if there is no such data, or they cannot be read; with what to do.
    """
    path, kind = Path(name), Path(name).suffix.lower()
    if name and path.is_dir():
        lay_out = next((each for each in (voc, coco) if each.is_one(path)), folder)
        return read(lay_out.find_in(path), picture, strict)
    if name and path.is_file():
        if kind not in LISTS:
            raise ZooError(f"{name} is no list of pictures; expected a file {' or '.join(LISTS)}, or a folder")
        return read(LISTS[kind](path), picture, strict)
    if name.startswith(synthetic.PREFIX):
        return synthetic.load(name, picture)
    if os.sep in name or name.startswith(".") or kind in LISTS:
        raise ZooError(f"no folder or list {name}")
    return tfds.load(name, picture)


def labelled(name, picture, part):
    """Return a part of a source as plain arrays, for packages that do not know this one: see the entry points `zoo.data`.

    Args:
        name, picture: as for `load`.
        part: "train" or "test"; a source without parts is taken whole.

    Returns:
        ((n, height, width, channels) uint8, (n,) int32 labels, tuple of the class names that they index).

    Raises:
        ZooError: as for `load`, and if the source lacks the part.
    """
    source = load(name, picture, strict=True)
    samples = source.splits.get(part) or source.splits.get("all")
    if samples is None:
        raise ZooError(f"{name} has no part '{part}', but {', '.join(source.splits)}")
    return samples.images, samples.labels, source.class_names


def location(name):
    """Return " in FOLDER" for a data set that TFDS keeps there, for messages; "" for what names its place, or has none."""
    return "" if name.startswith(synthetic.PREFIX) or Path(name).exists() else f" in {data_folder()}"
