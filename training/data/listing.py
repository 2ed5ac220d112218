"""Lists of labeled image files, and the one function that decodes them for every kind of source."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from training.data.decoding import allocate_images
from training.data.samples import SPLITS, Samples, Source, image_digests
from zoo import console, images
from zoo.errors import ZooError

# The names of splits that users write, in lower case.
SPLIT_OF = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
MAX_LIST_BYTES = 2**29  # COCO's own list of 118,287 images has 448 MB
BATCH = 1024  # images decoded at a time
NAMED = 3  # a message names at most so many files or reasons


@dataclass(frozen=True)
class Listing:
    """Image files and their classes, before the files are read.

    Attributes:
        source: the path that the user gave, for messages.
        root: folder that the names are relative to.
        splits: dict from "all", or from "train" and optionally other splits, to a list of (name, class name). A name is a
            path relative to `root`.
        problems: list of str, the skipped images and why they were skipped.
    """

    source: Path
    root: Path
    splits: dict[str, list[tuple[str, str]]]
    problems: list[str] = field(default_factory=list)


def read(listing: Listing, image_spec: dict, strict: bool) -> Source:
    """Decode the images of a listing, on all cores.

    Args:
        listing: `Listing`.
        image_spec: height, width, channels and resize, as in the [picture] table of a card.
        strict: raise an error if anything cannot be read. By default such images are skipped.

    Returns:
        `training.data.Source` with names and digests.

    Raises:
        ZooError: if a split has no readable image or there is no training split; with `strict` also if any image would be
            skipped.
    """
    if strict and listing.problems:
        raise ZooError("\n".join(images.listed(listing.problems)))
    if not {"all", "train"} & set(listing.splits):
        raise ZooError(f"{listing.source} has a split {' and '.join(listing.splits)}, but no split train")
    class_names = sorted({label for listed in listing.splits.values() for _, label in listed})
    class_index = {label: number for number, label in enumerate(class_names)}
    total = sum(map(len, listing.splits.values()))
    pixels = allocate_images((total, image_spec["height"], image_spec["width"], image_spec["channels"]))
    splits, problems, filled = {}, list(listing.problems), 0
    with console.progress() as bar:
        task = bar.add_task("reading images", total=total)
        for split, listed in listing.splits.items():
            readable, digests, unreadable = [], [], []
            for start in range(0, len(listed), BATCH):
                batch = listed[start : start + BATCH]
                paths = [listing.root / name for name, _ in batch]
                decoded, rows, errors = images.read_all(paths, image_spec, advance=lambda: bar.advance(task))
                pixels[filled + len(readable) : filled + len(readable) + len(decoded)] = decoded
                digests.append(image_digests(decoded))
                readable += [batch[row] for row in rows]
                unreadable += errors
            if not readable and not (strict and unreadable):
                raise ZooError(_no_image(listing, split, unreadable or listing.problems))
            names = np.array([name for name, _ in readable], object)
            labels = np.array([class_index[label] for _, label in readable], "int32")
            splits[split] = Samples(pixels[filled : filled + len(readable)], labels, names, np.concatenate(digests))
            filled += len(readable)
            problems += unreadable
    if strict and problems:
        raise ZooError("\n".join(images.listed(problems)))
    return Source(tuple(class_names), splits, problems, listing.root)


def _no_image(listing, split, problems):
    """Return the error message for a split without a readable image."""
    where = listing.source if split == "all" else f"{listing.source}, split {split},"
    return f"no image in {where} can be read: {first_few(problems, '; ') if problems else 'it is empty'}"


def first_few(words: Sequence[str], comma: str = ", ") -> str:
    """Join the first few words, followed by the number of the others."""
    more = f" and {len(words) - NAMED:,} more" if len(words) > NAMED else ""
    return comma.join(words[:NAMED]) + more


def count_images(names: Sequence) -> str:
    """Return "1 image" or "2 images"."""
    return "1 image" if len(names) == 1 else f"{len(names):,} images"


def skipped(source: str | Path, classes: dict[str, set[str]]) -> list[str]:
    """Return messages about images with no class or with several.

    Args:
        source: the list, for messages.
        classes: dict from the name of an image to the set of its classes.
    """
    without = [name for name, labels in classes.items() if not labels]
    several = [f"{name} ({', '.join(sorted(labels))})" for name, labels in classes.items() if len(labels) > 1]
    kinds = (("without a class", without), ("with several classes", several))
    return [f"{source}: {count_images(names)} {kind}: {first_few(names)}" for kind, names in kinds if names]


def by_split(rows: Iterable[tuple[str, tuple[str, str]]]) -> dict[str, list[tuple[str, str]]]:
    """Group (split, entry) pairs into a dict from each split to its entries, in the order of `SPLITS`."""
    grouped = {}
    for split, entry in rows:
        grouped.setdefault(split, []).append(entry)
    return {split: grouped[split] for split in ("all", *SPLITS) if split in grouped}


def check_size(path: Path) -> None:
    """Raise `ZooError` if a list file is larger than `MAX_LIST_BYTES`."""
    if (size := path.stat().st_size) > MAX_LIST_BYTES:
        limit = f"{MAX_LIST_BYTES / 2**20:,.0f} MiB"
        raise ZooError(f"{path} has {size / 2**20:,.0f} MiB; a list of images may have at most {limit}")
