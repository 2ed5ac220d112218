"""A folder as of PASCAL VOC: JPEGImages, and in ImageSets/Main a list CLASS_PART.txt a class and part.

A line is the name of a picture without its ending and 1 if the class is in it, -1 if not, 0 if only with difficulty.
"""

import re

from training.data.listing import SPLIT_OF, Listing, check_size, skipped
from training.data.samples import SPLITS
from zoo.errors import ZooError
from zoo.images import SUFFIXES

LISTS = "ImageSets/Main"
PICTURES = "JPEGImages"


def is_one(folder):
    """Tell whether a folder is of this kind."""
    return (folder / LISTS).is_dir() and (folder / PICTURES).is_dir()


def find_in(folder):
    """List the pictures of a folder as of VOC.

    Args:
        folder: Path.

    Returns:
        `training.data.listing.Listing`; pictures of no class or of several, and those that are missing, are problems.

    Raises:
        ZooError: if there are no lists, or a line is none of theirs.
    """
    classes = {}  # part -> picture -> its classes
    for path in sorted((folder / LISTS).glob("*.txt")):
        # train.txt lists a part, train_train.txt the trains in it, and trainval is a union.
        if match := re.fullmatch(r"(.+)_(train|val|test)", path.stem):
            name, part = match[1], SPLIT_OF[match[2]]
            for picture, sign in _lines(path):
                labels = classes.setdefault(part, {}).setdefault(picture, set())
                if sign == 1:
                    labels.add(name)
    if not classes:
        raise ZooError(f"{folder / LISTS} has no lists of classes; expected such as bolt_train.txt and bolt_val.txt")
    files = {path.stem: path.name for path in sorted((folder / PICTURES).iterdir()) if path.suffix.lower() in SUFFIXES}
    splits, problems = {}, []
    for part in sorted(classes, key=SPLITS.index):
        problems += skipped(f"{folder}, part {part}", classes[part])
        single = {picture: next(iter(labels)) for picture, labels in classes[part].items() if len(labels) == 1}
        missing = sorted(single.keys() - files)
        problems += [f"{folder}, part {part}: no picture {picture} in {folder / PICTURES}" for picture in missing]
        splits[part] = [(f"{PICTURES}/{files[each]}", label) for each, label in sorted(single.items()) if each in files]
    return Listing(folder, folder, splits, problems)


def _lines(path):
    """Yield (picture, 1, 0 or -1) for each line of a list."""
    check_size(path)
    for number, line in enumerate(path.read_text("utf-8", "surrogateescape").splitlines(), 1):
        words = line.split()
        if words and (len(words) != 2 or words[1] not in ("1", "0", "-1")):
            raise ZooError(f"{path} line {number} is '{line}'; expected the name of a picture and 1, -1 or 0")
        if words:
            yield words[0], int(words[1])
