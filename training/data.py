"""Labelled pictures as arrays: decoded once, kept as raw uint8 in the size that the model takes.

A source is a TFDS name, a drawn data set, or a folder with a folder a class, which may lie in folders train, validation
and test.
"""

import glob
import hashlib
import json
import os
import re
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from training import drawn
from zoo import pictures
from zoo.errors import ZooError, did_you_mean
from zoo.files import atomic, cache_folder

PARTS = ("train", "validation", "test")
TFDS_HOST = "storage.googleapis.com"
FEW = 50  # classes that a message may list


@dataclass(frozen=True)
class Samples:
    """Pictures, (n, height, width, channels) uint8, and labels, (n,) int32 indices of the class names."""

    pictures: np.ndarray
    labels: np.ndarray

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, rows):
        return Samples(self.pictures[rows], self.labels[rows])


@dataclass(frozen=True)
class Source:
    """The parts that a source has of its own, "train" or "all" and perhaps others, and what could not be read."""

    class_names: tuple
    parts: dict
    problems: list = field(default_factory=list)

    def in_order(self, class_names, class_ids=None):
        """Return the source with labels that index `class_names`, a classifier's, which may be more than the source's.

        Args:
            class_names: one str a class.
            class_ids: one str a class by which the source may call it too, such as "n01440764", or None.

        Raises:
            ZooError: if the source has a class that is not among them; with the nearest one.
        """
        place = {name: index for names in (class_ids or (), class_names) for index, name in enumerate(names)}
        for name in self.class_names:
            if name not in place:
                known = ", ".join(class_names) if len(class_names) <= FEW else f"{len(class_names):,} classes"
                raise ZooError(
                    f"the data have a class '{name}' that the model lacks{did_you_mean(name, place)} It has {known}"
                )
        moved = np.array([place[name] for name in self.class_names], "int32")
        parts = {part: Samples(samples.pictures, moved[samples.labels]) for part, samples in self.parts.items()}
        return Source(tuple(class_names), parts, self.problems)

    def fingerprint(self):
        """Return a sha256 over all pixels and labels, so that two runs can know that they saw the same."""
        digest = hashlib.sha256("\n".join(self.class_names).encode())
        for name, samples in sorted(self.parts.items()):
            digest.update(name.encode() + np.ascontiguousarray(samples.labels).tobytes())
            digest.update(np.ascontiguousarray(samples.pictures).data)
        return digest.hexdigest()


def load(name, picture, strict=False):
    """Load a TFDS data set or a folder.

    Args:
        name: "mnist", "drawn:letters", or the path of a folder.
        picture: dict of height, width, channels and resize, as a card's [picture].
        strict: refuse a folder in which a file cannot be read, instead of leaving that file out.

    Returns:
        `Source`.

    Raises:
        ZooError: if there is no such data, or they cannot be read; with what to do.
    """
    if name and Path(name).is_dir():
        return _folder(Path(name), picture, strict)
    if name.startswith(drawn.PREFIX):
        return drawn.load(name, picture)
    if os.sep in name or name.startswith("."):
        raise ZooError(f"no folder {name}")
    return _tfds(name, picture)


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
    samples = source.parts.get(part) or source.parts.get("all")
    if samples is None:
        raise ZooError(f"{name} has no part '{part}', but {', '.join(source.parts)}")
    return samples.pictures, samples.labels, source.class_names


def place(name):
    """Return " in FOLDER" for a data set that TFDS keeps there, for messages; "" for what names its place, or has none."""
    return "" if name.startswith(drawn.PREFIX) or Path(name).is_dir() else f" in {_tfds_home()}"


def split(source, validation, test, seed):
    """Return (train, validation, test) samples; what a source lacks is carved from its training part, stratified.

    Args:
        source: `Source`.
        validation, test: number of pictures, or a share below 1, of the parts that the source lacks.
        seed: int.

    Raises:
        ZooError: if there are fewer than two classes, or one has too few pictures to be in all parts.
    """
    from sklearn.model_selection import train_test_split

    parts = dict(source.parts)
    rest = parts.pop("all", None) or parts.pop("train", None)
    if rest is None:
        raise ZooError(f"the data have no part 'train' to learn from, but {', '.join(parts)}")
    shown = np.bincount(rest.labels, minlength=len(source.class_names))
    if len(shown) < 2:
        raise ZooError(f"there is one class, '{source.class_names[0]}'; a classifier needs two or more")
    if not shown.all():
        raise ZooError(
            f"class '{source.class_names[int(shown.argmin())]}' has no picture to learn from; add some or remove it"
        )
    for name, amount in (("test", test), ("validation", validation)):
        if name in parts or not amount:
            continue
        amount = amount if amount < 1 else int(amount)
        try:
            kept, carved = train_test_split(np.arange(len(rest)), test_size=amount, stratify=rest.labels, random_state=seed)
            # scikit-learn is content with a rare class that is in one of the two only.
            if any(set(rest.labels[rows]) != set(rest.labels) for rows in (kept, carved)):
                raise ValueError("a class is not in both")
        except ValueError as error:
            counts = np.bincount(rest.labels, minlength=len(source.class_names))
            rarest = int(counts.argmin())
            raise ZooError(
                f"no {name} part of {amount} can be taken from {len(rest)} pictures with every class in it: class "
                f"'{source.class_names[rarest]}' has {counts[rarest]}; add pictures, or change data.{name}"
            ) from error
        parts[name], rest = rest[np.sort(carved)], rest[np.sort(kept)]
    return rest, parts.get("validation"), parts.get("test")


def _progress():
    """Return a bar for a person at a terminal; what a program reads, standard output, stays clean."""
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


def _folder(folder, picture, strict):
    """Read a folder of class folders, or of parts with class folders in each."""
    children = sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    parts = {child.name: child for child in children} if {c.name for c in children} & set(PARTS) else {"all": folder}
    if unknown := set(parts) - {*PARTS, "all"}:
        raise ZooError(f"{folder} has folders {', '.join(PARTS)}, and others: {', '.join(sorted(unknown))}")
    if "all" not in parts and "train" not in parts:
        raise ZooError(f"{folder} has a folder {' and '.join(parts)}, but no folder train")
    files = {}
    for part, place in parts.items():
        classes = sorted(child for child in place.iterdir() if child.is_dir() and not child.name.startswith("."))
        files[part] = [
            (path, child.name)
            for child in classes
            for path in sorted(child.rglob("*"))
            if path.is_file() and not path.name.startswith(".")  # what is no picture is named later, not passed over
        ]
        empty = {child.name for child in classes} - {name for _, name in files[part]}
        if empty and files[part]:
            raise ZooError(f"{place} has class folders without a file: {', '.join(sorted(empty))}; fill them or remove them")
    found = sorted({name for listed in files.values() for _, name in listed})
    if not found:
        raise ZooError(f"{folder} has no pictures in class folders; expected {folder}/CLASS/PICTURE.png, a folder a class")
    samples, problems = {}, []
    with _progress() as progress:
        task = progress.add_task("reading pictures", total=sum(map(len, files.values())))
        for part, listed in files.items():
            paths = [path for path, _ in listed]
            read, kept, bad = pictures.read_all(paths, picture, strict, lambda: progress.advance(task))
            labels = np.array([found.index(listed[index][1]) for index in kept], "int32")
            samples[part] = Samples(read, labels)
            problems += bad
    for part, place in parts.items():
        if not len(samples[part]):
            reasons = [problem for problem in problems if str(place) in problem] or ["there is none"]
            raise ZooError(f"no picture in {place} can be read; the first: {reasons[0]}")
    return Source(tuple(found), samples, problems)


def _tfds(name, picture):
    """Decode a TFDS data set once; later calls read the decoded arrays from the cache."""
    folder = _prepared(name)
    about = json.loads((folder / "dataset_info.json").read_text("utf-8"))
    size = [picture["height"], picture["width"], picture["channels"], picture["resize"]]
    size += [picture["crop_from"]] if picture.get("crop_from") else []
    shards = [[part["name"], part["shardLengths"], part["numBytes"]] for part in about["splits"]]
    key = hashlib.sha256(json.dumps([name, about["version"], shards, size]).encode()).hexdigest()[:16]
    cached = cache_folder() / "data" / f"{name}-{key}.npz"
    if not cached.exists():
        arrays = _decode(name, folder, picture)
        try:
            with atomic(cached) as temporary:
                np.savez(temporary, **arrays)
        except OSError as error:
            note = f"note: the decoded {name} could not be kept ({error}); it will be decoded again next time"
            print(note, file=sys.stderr)
    else:
        try:
            with np.load(cached, allow_pickle=False) as stored:
                arrays = dict(stored)
        except Exception as error:  # a damaged archive raises what zipfile, zlib or NumPy choose to
            raise ZooError(f"{cached} is damaged ({error}); mend: rm '{cached}'") from error
    parts = {
        part: Samples(arrays[f"{part}_pictures"], arrays[f"{part}_labels"]) for part in PARTS if f"{part}_labels" in arrays
    }
    return Source(tuple(str(label) for label in arrays["class_names"]), parts)


def _decode(name, folder, picture):
    """Return the arrays of a prepared data set: class names, and pictures and labels of each part."""
    import tensorflow_datasets as tfds
    from PIL import Image

    builder = tfds.builder_from_directory(folder)
    if "image" not in builder.info.features or "label" not in builder.info.features:
        raise ZooError(f"{name} has no 'image' and 'label'; only data sets of labelled pictures can be used")
    arrays = {"class_names": np.array(builder.info.features["label"].names)}
    with _progress() as progress:
        for part in PARTS:
            if part not in builder.info.splits:
                continue
            rows = builder.info.splits[part].num_examples
            task = progress.add_task(f"decoding {name} {part}", total=rows)
            shape = picture["height"], picture["width"], picture["channels"]
            read, labels = np.empty((rows, *shape), "uint8"), np.empty(rows, "int32")
            same_size = builder.info.features["image"].shape == shape and not picture.get("crop_from")
            row = 0
            options = tfds.ReadConfig(interleave_cycle_length=1)  # the order of the files, on every machine
            batch_size = 1000 if same_size else None
            data = builder.as_dataset(split=part, shuffle_files=False, read_config=options, batch_size=batch_size)
            for example in data.as_numpy_iterator():
                image, label = example["image"], example["label"]
                if not same_size:
                    image = pictures.conform(Image.fromarray(image.squeeze()), picture)[None]
                read[row : row + len(image)], labels[row : row + len(image)] = image, label
                row += len(image)
                progress.update(task, completed=row)
            if (labels == -1).all():  # as in ImageNet's test part
                print(f"note: the part {part} of {name} has no labels and is left out", file=sys.stderr)
            else:
                arrays |= {f"{part}_pictures": read, f"{part}_labels": labels}
    return arrays


def _tfds_home():
    """Return the folder in which TFDS keeps prepared data sets."""
    return Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def _prepared(name):
    """Return the folder of a prepared data set, preparing it where the network allows.

    TFDS itself waits minutes for a network that is not there, so the folder is looked at, and the network tried, first.
    """
    import tensorflow_datasets as tfds

    home = _tfds_home()
    versions = [found.parent for found in home.glob(f"{glob.escape(name)}/*/dataset_info.json")] if name else []
    if versions:
        return max(versions, key=lambda folder: [int(number) for number in re.findall(r"\d+", folder.name)])
    if name not in tfds.list_builders(with_community_datasets=False):
        near = did_you_mean(name, tfds.list_builders(with_community_datasets=False))
        raise ZooError(f"no folder and no TFDS data set '{name}'{near}")
    if not any(key.lower() == "https_proxy" for key in os.environ):
        try:
            socket.create_connection((TFDS_HOST, 443), timeout=5).close()
        except OSError as error:
            raise ZooError(
                f"{name} is not prepared in {home} and cannot be fetched ({TFDS_HOST}: {error}); on a machine with a "
                f"network run `tfds build {name} --data_dir DIR`, copy DIR and set TFDS_DATA_DIR=DIR"
            ) from error
    builder = tfds.builder(name, data_dir=home)
    builder.download_and_prepare()
    return Path(builder.data_dir)
