"""What a folder or a list says is there, and how it is read: the same way for all of them."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from training.data.decoding import room
from training.data.samples import SPLITS, Samples, Source, image_digests
from zoo import console, images
from zoo.errors import ZooError

# What people call the splits, in lower case.
SPLIT_OF = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
LIST_BYTES = 2**29  # of the longest list that is read; COCO's own of 118,287 pictures has 448 MB
BATCH = 1024  # pictures decoded between two looks at the store
NAMED = 3  # files or reasons that a message names before it counts


@dataclass(frozen=True)
class Listing:
    """Files and their classes, before any is read.

    Attributes:
        source: what the user named, for messages.
        root: the folder that names are below.
        splits: dict from "all", or from "train" and perhaps others, to lists of (name, class name); a name is a path.
        problems: list of str, what was left out and why.
    """

    source: Path
    root: Path
    splits: dict
    problems: list = field(default_factory=list)


def read(listing, picture, strict):
    """Decode the pictures of a listing on all cores.

    Args:
        listing: `Listing`.
        picture: dict of height, width, channels and resize, as a card's [picture].
        strict: raise where something cannot be read, instead of leaving it out.

    Returns:
        `training.data.Source` with names.

    Raises:
        ZooError: if strict and something is to be left out; it names them, of many the first. If nothing can be read of a
            part, or there is no training part.
    """
    if strict and listing.problems:
        raise ZooError("\n".join(images.listed(listing.problems)))
    if not {"all", "train"} & set(listing.splits):
        raise ZooError(f"{listing.source} has a part {' and '.join(listing.splits)}, but no part train")
    class_names = sorted({label for listed in listing.splits.values() for _, label in listed})
    index = {label: number for number, label in enumerate(class_names)}
    total = sum(map(len, listing.splits.values()))
    store = room((total, picture["height"], picture["width"], picture["channels"]))
    splits, problems, filled = {}, list(listing.problems), 0
    with console.progress() as bar:
        task = bar.add_task("reading pictures", total=total)
        for part, listed in listing.splits.items():
            kept, digests, unreadable = [], [], []
            for start in range(0, len(listed), BATCH):
                batch = listed[start : start + BATCH]
                paths = [listing.root / name for name, _ in batch]
                found, rows, bad = images.read_all(paths, picture, advance=lambda: bar.advance(task))
                store[filled + len(kept) : filled + len(kept) + len(found)] = found
                digests.append(image_digests(found))
                kept += [batch[row] for row in rows]
                unreadable += bad
            if not kept and not (strict and unreadable):
                raise ZooError(_nothing(listing, part, unreadable or listing.problems))
            names = np.array([name for name, _ in kept], object)
            labels = np.array([index[label] for _, label in kept], "int32")
            splits[part] = Samples(store[filled : filled + len(kept)], labels, names, np.concatenate(digests))
            filled += len(kept)
            problems += unreadable
    if strict and problems:
        raise ZooError("\n".join(images.listed(problems)))
    return Source(tuple(class_names), splits, problems, listing.root)


def _nothing(listing, part, problems):
    """Say that no picture of a part can be read, and why."""
    where = listing.source if part == "all" else f"{listing.source}, part {part},"
    return f"no picture in {where} can be read: {some(problems, '; ') if problems else 'there is none'}"


def some(words, comma=", "):
    """Return the first few of many words, and how many more there are."""
    more = f" and {len(words) - NAMED:,} more" if len(words) > NAMED else ""
    return comma.join(words[:NAMED]) + more


def how_many(names):
    """Return "1 picture is" or "2 pictures are"."""
    return "1 picture is" if len(names) == 1 else f"{len(names):,} pictures are"


def skipped(source, classes):
    """Return messages about pictures that are of no class, or of several.

    Args:
        source: what lists them.
        classes: dict from a picture's name to the set of its classes.
    """
    without = [name for name, labels in classes.items() if not labels]
    several = [f"{name} ({', '.join(sorted(labels))})" for name, labels in classes.items() if len(labels) > 1]
    kinds = (("of no class", without), ("of several classes", several))
    return [f"{source}: {how_many(names)} {what}: {some(names)}" for what, names in kinds if names]


def by_split(rows):
    """Return (part, entry) pairs as a dict from each part to its entries, in the order of `SPLITS`."""
    found = {}
    for part, entry in rows:
        found.setdefault(part, []).append(entry)
    return {part: found[part] for part in ("all", *SPLITS) if part in found}


def check_size(path):
    """Refuse a list that is too long to be one."""
    if (size := path.stat().st_size) > LIST_BYTES:
        raise ZooError(f"{path} has {size / 2**20:,.0f} MiB, more than a list of pictures may, {LIST_BYTES / 2**20:,.0f}")
