"""Reads a folder in the layout of PASCAL VOC: JPEGImages, and a list CLASS_SPLIT.txt per class and split in ImageSets/Main.

A line of a list is the name of an image without its suffix, and 1 if the class is in the image, -1 if not, 0 if it is
difficult to see.
"""

import re
from pathlib import Path

from training.data.listing import SPLIT_OF, Listing, check_size, skipped
from training.data.samples import SPLITS
from zoo.errors import ZooError
from zoo.images import SUFFIXES

LISTS = "ImageSets/Main"
IMAGES = "JPEGImages"


def is_one(folder: Path) -> bool:
    """Return whether a folder has this layout."""
    return (folder / LISTS).is_dir() and (folder / IMAGES).is_dir()


def find_in(folder: Path) -> Listing:
    """List the images of a folder in the layout of VOC.

    Args:
        folder: the folder.

    Returns:
        `training.data.listing.Listing`. Images without a class, with several classes, and missing images are problems.

    Raises:
        ZooError: if there are no lists, or a list has an invalid line.
    """
    classes = {}  # split -> image -> set of classes
    for path in sorted((folder / LISTS).glob("*.txt")):
        # train.txt lists a split; train_train.txt lists which of its images show a train. trainval lists are unions.
        if match := re.fullmatch(r"(.+)_(train|val|test)", path.stem):
            name, split = match[1], SPLIT_OF[match[2]]
            for image, sign in _lines(path):
                labels = classes.setdefault(split, {}).setdefault(image, set())
                if sign == 1:
                    labels.add(name)
    if not classes:
        raise ZooError(f"{folder / LISTS} has no class lists; expected files such as bolt_train.txt and bolt_val.txt")
    files = {path.stem: path.name for path in sorted((folder / IMAGES).iterdir()) if path.suffix.lower() in SUFFIXES}
    splits, problems = {}, []
    for split in sorted(classes, key=SPLITS.index):
        problems += skipped(f"{folder}, split {split}", classes[split])
        single = {image: next(iter(labels)) for image, labels in classes[split].items() if len(labels) == 1}
        missing = sorted(single.keys() - files)
        problems += [f"{folder}, split {split}: no image {image} in {folder / IMAGES}" for image in missing]
        splits[split] = [(f"{IMAGES}/{files[image]}", label) for image, label in sorted(single.items()) if image in files]
    return Listing(folder, folder, splits, problems)


def _lines(path):
    """Yield (image, 1, 0 or -1) for each line of a list."""
    check_size(path)
    for number, line in enumerate(path.read_text("utf-8", "surrogateescape").splitlines(), 1):
        words = line.split()
        if words and (len(words) != 2 or words[1] not in ("1", "0", "-1")):
            raise ZooError(f"{path} line {number} is '{line}'; expected the name of an image and 1, -1 or 0")
        if words:
            yield words[0], int(words[1])
