"""Reads a folder with one subfolder per class, optionally inside folders train, validation and test."""

import os
from pathlib import Path

from training.data.listing import SPLIT_OF, Listing
from training.data.samples import SPLITS
from zoo.errors import ZooError


def find_in(folder: Path) -> Listing:
    """List the images of a folder with class folders, or with split folders that contain class folders.

    Args:
        folder: the folder.

    Returns:
        `training.data.listing.Listing`.

    Raises:
        ZooError: if the folder has another layout, or a class folder is empty.
    """
    places = {"all": folder}
    if any(child.name.lower() in SPLIT_OF for child in _subfolders(folder)):
        places = _split_folders(folder)
    splits = {}
    for split, place in places.items():
        classes = _subfolders(place)
        splits[split] = [(path.relative_to(folder).as_posix(), child.name) for child in classes for path in _files(child)]
        empty = {child.name for child in classes} - {name for _, name in splits[split]}
        if empty and splits[split]:
            raise ZooError(f"{place} has empty class folders: {', '.join(sorted(empty))}; add images or remove the folders")
    if not any(splits.values()):
        raise ZooError(f"{folder} has no images in class folders; expected {folder}/CLASS/IMAGE.png, one folder per class")
    return Listing(folder, folder, splits)


def _subfolders(folder):
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def _files(folder):
    """Return all files below a folder, sorted. Files that are not images are reported when they are read."""

    def raise_error(error):
        raise error

    walk = os.walk(folder, onerror=raise_error)  # rglob ignores folders without read permission
    paths = (Path(place, name) for place, _, names in walk for name in names if not name.startswith("."))
    return sorted(path for path in paths if path.is_file())


def _split_folders(folder):
    """Return a dict from each split to its folder."""
    places, others = {}, []
    for child in _subfolders(folder):
        split = SPLIT_OF.get(child.name.lower())
        if split is None:
            others.append(child.name)
        elif split in places:
            raise ZooError(f"{folder} has two folders for one split: {places[split].name} and {child.name}; remove one")
        else:
            places[split] = child
    if others:
        raise ZooError(f"{folder} has both split folders ({', '.join(SPLITS)}) and other folders: {', '.join(others)}")
    return places
