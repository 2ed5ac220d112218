"""Lists as COCO's: a JSON file of images, annotations and categories, of which the category of each image counts."""

import os
import re
from pathlib import Path

from pydantic import BaseModel, ValidationError

from training.data.listing import SPLIT_OF, Listing, check_size, skipped
from training.data.samples import SPLITS
from zoo.errors import ZooError

ROBOFLOW = "_annotations.coco.json"  # beside the pictures of a part
TRIED = 100  # pictures that are looked for in each folder


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
    # The whole of it is parsed before what is not asked for, the outlines above all, is dropped. That takes seven times the
    # file: 2.8 GB, and half a minute, for 401 MB made like COCO's own list, measured.
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def is_one(folder):
    """Tell whether a folder has lists in one of the two usual places."""
    return bool(_lists(folder))


def _lists(folder):
    """Return the lists in PART/_annotations.coco.json, annotations/instances_PART.json, or annotations/PART.json."""
    beside = sorted(folder.glob(f"*/{ROBOFLOW}"))
    return beside or sorted(folder.glob("annotations/instances_*.json")) or sorted(folder.glob("annotations/*.json"))


def find(path):
    """List the pictures of a JSON file; see `find_in`."""
    root, found, problems = _labelled(path)
    return Listing(path, root, {"all": found}, problems)


def find_in(folder):
    """List the pictures of a folder with a list a part, or with one for all.

    A picture is looked for where users have it: beside the list or in a folder images or train2017 there, or one level up.

    Args:
        folder: Path.

    Returns:
        `training.data.listing.Listing`; pictures that have no category, or more than one, are problems.

    Raises:
        ZooError: if a list is not COCO's, its pictures are nowhere, or nobody can tell which part it is.
    """
    lists = _lists(folder)
    if len(lists) == 1:
        return find(lists[0])
    paths = {}
    for path in lists:
        part = SPLIT_OF.get(_word(path).rstrip("0123456789").lower())
        if part is None:
            raise ZooError(f"{path}: no telling which part it lists; expected a name that ends in {', '.join(SPLITS)}")
        if part in paths:
            raise ZooError(f"{paths[part]} and {path} list one part, {part}; remove one, or name the list with --data")
        paths[part] = path
    splits, problems = {}, []
    for part in sorted(paths, key=SPLITS.index):
        root, found, without = _labelled(paths[part])
        below = Path(os.path.relpath(root, folder))
        splits[part] = [((below / name).as_posix(), label) for name, label in found]
        problems += without
    return Listing(folder, folder, splits, problems)


def _word(path):
    """Return the word that tells a list's part: "train2017" of instances_train2017.json, of others the folder's name."""
    return path.parent.name if path.name == ROBOFLOW else re.split(r"[_\W]", path.stem)[-1]


def _labelled(path):
    """Return the folder of a list's pictures, the (name, class name) of each that has one class, and problems."""
    check_size(path)
    try:
        listed = _List.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise ZooError(f"{path} is no list as COCO's: {where}: {first['msg']}") from error
    if not listed.images:
        raise ZooError(f"{path} lists no images")
    # Two entries may be of one file, each with a category of its own.
    names = _by_id(path, "images", [(image.id, os.path.normpath(image.file_name)) for image in listed.images])
    categories = _by_id(path, "categories", [(category.id, category.name) for category in listed.categories])
    classes = {name: set() for name in names.values()}
    for annotation in listed.annotations:
        image, category = annotation.image_id, annotation.category_id
        if image not in names or category not in categories:
            raise ZooError(f"{path}: an annotation is of image {image} and category {category}; one of them is not listed")
        classes[names[image]].add(categories[category])
    found = [(name, *labels) for name, labels in classes.items() if len(labels) == 1]
    return _root(path, classes), found, skipped(path, classes)


def _by_id(path, what, entries):
    """Return (id, name) pairs as a dict; refuse an id that is there twice, as nobody knows which of the two is meant."""
    found = {}
    for key, name in entries:
        if key in found:
            raise ZooError(f"{path}: two {what} have the id {key}: {found[key]} and {name}; give each its own")
        found[key] = name
    return found


def _root(path, names):
    """Return the folder below which the most of a list's first pictures are."""
    folders = [
        base / way for base in path.resolve().parents[:2] for way in (".", "images", _word(path), f"images/{_word(path)}")
    ]
    first = list(names)[:TRIED]
    there = [sum(os.path.isfile(folder / name) for name in first) for folder in folders]
    if not any(there):
        raise ZooError(f"{path}: its pictures are nowhere, such as {first[0]}; looked in {', '.join(map(str, folders))}")
    return folders[there.index(max(there))]  # the nearest of those that have as many
