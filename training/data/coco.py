"""Reads image classification lists in the COCO format: a JSON file of images, annotations and categories."""

import os
import re
from pathlib import Path

from pydantic import BaseModel, ValidationError

from training.data.listing import SPLIT_OF, Listing, check_size, skipped
from training.data.samples import SPLITS
from zoo.errors import ZooError

ROBOFLOW = "_annotations.coco.json"  # in the same folder as the images of its split
PROBED = 100  # images to look for in each candidate folder


class _Image(BaseModel):
    id: int | str
    file_name: str


class _Annotation(BaseModel):
    image_id: int | str
    category_id: int | str


class _Category(BaseModel):
    id: int | str
    name: str


class _List(BaseModel):
    # The whole file is parsed before unused values, mostly outlines, are dropped. Measured on a list of 401 MB made like
    # COCO's own: 2.8 GB of memory, seven times the file, and half a minute.
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def is_one(folder: Path) -> bool:
    """Return whether a folder has lists in one of the usual places."""
    return bool(_lists(folder))


def _lists(folder):
    """Return SPLIT/_annotations.coco.json, annotations/instances_SPLIT.json, or annotations/SPLIT.json, if any exist."""
    roboflow = sorted(folder.glob(f"*/{ROBOFLOW}"))
    return roboflow or sorted(folder.glob("annotations/instances_*.json")) or sorted(folder.glob("annotations/*.json"))


def find(path: Path) -> Listing:
    """List the images of a JSON file; see `find_in`."""
    root, labeled, problems = _read(path)
    return Listing(path, root, {"all": labeled}, problems)


def find_in(folder: Path) -> Listing:
    """List the images of a folder with one list per split, or with a single list.

    Images are searched in the folder of the list, in its subfolders images and train2017 (after instances_train2017.json),
    and in the same places one level up.

    Args:
        folder: the folder.

    Returns:
        `training.data.listing.Listing`. Images with no category or with several are problems.

    Raises:
        ZooError: if a list is not in the COCO format, its images are not found, or its name does not give a split.
    """
    lists = _lists(folder)
    if len(lists) == 1:
        return find(lists[0])
    paths = {}
    for path in lists:
        split = SPLIT_OF.get(_split_word(path).rstrip("0123456789").lower())
        if split is None:
            raise ZooError(f"{path}: the name does not give a split; expected a name that ends in {', '.join(SPLITS)}")
        if split in paths:
            raise ZooError(f"{paths[split]} and {path} are both the split {split}; remove one, or choose one with --data")
        paths[split] = path
    splits, problems = {}, []
    for split in sorted(paths, key=SPLITS.index):
        root, labeled, split_problems = _read(paths[split])
        relative = Path(os.path.relpath(root, folder))
        splits[split] = [((relative / name).as_posix(), label) for name, label in labeled]
        problems += split_problems
    return Listing(folder, folder, splits, problems)


def _split_word(path):
    """Return the word that names the split: "train2017" of instances_train2017.json, or the folder of a Roboflow list."""
    return path.parent.name if path.name == ROBOFLOW else re.split(r"[_\W]", path.stem)[-1]


def _read(path):
    """Return the image folder of a list, the (name, class name) of each image with one class, and the problems."""
    check_size(path)
    try:
        parsed = _List.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ZooError(f"{path} is not a COCO list: {where}: {first['msg']}") from error
    if not parsed.images:
        raise ZooError(f"{path} lists no images")
    # Two entries may name the same file, each with its own category.
    names = _by_id(path, "images", [(image.id, os.path.normpath(image.file_name)) for image in parsed.images])
    categories = _by_id(path, "categories", [(category.id, category.name) for category in parsed.categories])
    classes = {name: set() for name in names.values()}
    for annotation in parsed.annotations:
        image, category = annotation.image_id, annotation.category_id
        if image not in names or category not in categories:
            raise ZooError(f"{path}: an annotation has image {image} and category {category}; one of them is not listed")
        classes[names[image]].add(categories[category])
    labeled = [(name, *labels) for name, labels in classes.items() if len(labels) == 1]
    return _image_folder(path, classes), labeled, skipped(path, classes)


def _by_id(path, kind, entries):
    """Return (id, name) pairs as a dict. Raise `ZooError` if two entries have the same id."""
    found = {}
    for key, name in entries:
        if key in found:
            raise ZooError(f"{path}: two {kind} have the id {key}: {found[key]} and {name}; ids must be unique")
        found[key] = name
    return found


def _image_folder(path, names):
    """Return the candidate folder that contains most of the first images of a list; of equals the nearest."""
    subfolders = (".", "images", _split_word(path), f"images/{_split_word(path)}")
    candidates = [base / subfolder for base in path.resolve().parents[:2] for subfolder in subfolders]
    first = list(names)[:PROBED]
    counts = [sum(os.path.isfile(folder / name) for name in first) for folder in candidates]
    if not any(counts):
        raise ZooError(f"{path}: images not found, such as {first[0]}; searched in {', '.join(map(str, candidates))}")
    return candidates[counts.index(max(counts))]
