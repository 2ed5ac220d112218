"""A folder of pictures a class, or such folders in folders of splits."""

import os
from pathlib import Path

from training.data.listing import SPLIT_OF, Listing
from training.data.samples import SPLITS
from zoo.errors import ZooError


def find_in(folder):
    """List a folder of class folders, or of splits with class folders in each.

    Args:
        folder: Path.

    Returns:
        `training.data.listing.Listing`.

    Raises:
        ZooError: if the folders are neither, or one is empty.
    """
    places = {"all": folder}
    if any(child.name.lower() in SPLIT_OF for child in _folders(folder)):
        places = _parts(folder)
    files = {}
    for part, place in places.items():
        classes = _folders(place)
        files[part] = [(path.relative_to(folder).as_posix(), child.name) for child in classes for path in _files(child)]
        empty = {child.name for child in classes} - {name for _, name in files[part]}
        if empty and files[part]:
            raise ZooError(f"{place} has class folders without a file: {', '.join(sorted(empty))}; fill them or remove them")
    if not any(files.values()):
        raise ZooError(f"{folder} has no pictures in class folders; expected {folder}/CLASS/PICTURE.png, a folder a class")
    return Listing(folder, folder, files)


def _folders(folder):
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def _files(folder):
    """Return the files below a folder, sorted. What is no picture is named later, and not passed over."""

    def refuse(error):
        raise error

    places = os.walk(folder, onerror=refuse)  # rglob passes over folders that it may not read
    paths = (Path(place, name) for place, _, names in places for name in names if not name.startswith("."))
    return sorted(path for path in paths if path.is_file())


def _parts(folder):
    """Return the folder of each part."""
    places, others = {}, []
    for child in _folders(folder):
        part = SPLIT_OF.get(child.name.lower())
        if part is None:
            others.append(child.name)
        elif part in places:
            raise ZooError(f"{folder} has two folders for one part: {places[part].name} and {child.name}; remove one")
        else:
            places[part] = child
    if others:
        raise ZooError(f"{folder} has folders {', '.join(SPLITS)}, and others: {', '.join(others)}")
    return places
