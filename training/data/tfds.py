"""Data sets of TFDS, decoded once and kept in the cache."""

import glob
import hashlib
import itertools
import json
import os
import re
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from training.data.decoding import fits_memory, room
from training.data.samples import SPLITS, Samples, Source
from zoo import console, images
from zoo.errors import ZooError, did_you_mean
from zoo.files import atomic, cache_folder, data_folder
from zoo.machine import cores

HOST = "storage.googleapis.com"
BATCH = 1000  # pictures decoded at a time


def load(name, picture):
    """Decode a TFDS data set once; later calls read the decoded arrays from the cache.

    Args:
        name: such as "mnist".
        picture: dict of height, width, channels and resize, as a card's [picture].

    Returns:
        `training.data.Source`.

    Raises:
        ZooError: if there is no such data set, or it cannot be had.
    """
    folder = _prepared(name)
    about = json.loads((folder / "dataset_info.json").read_text("utf-8"))
    size = [picture["height"], picture["width"], picture["channels"], picture["resize"]]
    size += [picture["crop_from"]] if picture.get("crop_from") else []
    shards = [[part["name"], part["shardLengths"], part["numBytes"]] for part in about["splits"]]
    key = hashlib.sha256(json.dumps([name, about["version"], shards, size]).encode()).hexdigest()[:16]
    cached = cache_folder() / "data" / f"{name}-{key}"
    if not (cached / "class_names.npy").exists():
        arrays = _decode(name, folder, picture)
        try:
            _keep(arrays, cached)
        except OSError as error:
            note = f"note: the decoded {name} could not be kept ({error}); it will be decoded again next time"
            print(note, file=sys.stderr)
    else:
        arrays = _kept(cached)
    splits = {
        part: Samples(arrays[f"{part}_pictures"], arrays[f"{part}_labels"]) for part in SPLITS if f"{part}_labels" in arrays
    }
    return Source(tuple(str(label) for label in arrays["class_names"]), splits)


def _keep(arrays, folder):
    """Write arrays, a file each, the class names last: where they are the others are."""
    for name, array in sorted(arrays.items(), key=lambda each: each[0] == "class_names"):
        with atomic(folder / f"{name}.npy") as temporary:
            np.save(temporary, array, allow_pickle=False)


def _kept(folder):
    """Read arrays; those that are large for the memory stay in their files, mapped."""
    names = ["class_names", *(f"{part}_{what}" for part in SPLITS for what in ("pictures", "labels"))]
    files = [folder / f"{name}.npy" for name in names if (folder / f"{name}.npy").exists()]
    mode = None if fits_memory(sum(file.stat().st_size for file in files)) else "r"
    try:
        return {file.stem: np.load(file, mmap_mode=mode, allow_pickle=False) for file in files}
    except (OSError, ValueError, EOFError) as error:
        raise ZooError(f"{folder} is damaged ({error}); mend: rm -r '{folder}'") from error


def _decode(name, folder, picture):
    """Return the arrays of a prepared data set: class names, and pictures and labels of each part."""
    import tensorflow_datasets as tfds
    from PIL import Image

    builder = tfds.builder_from_directory(folder)
    features, splits = builder.info.features, builder.info.splits
    if "image" not in features or "label" not in features:
        raise ZooError(f"{name} has no 'image' and 'label'; only data sets of labelled pictures can be used")
    arrays = {"class_names": np.array(features["label"].names)}
    shape = picture["height"], picture["width"], picture["channels"]
    same_size = features["image"].shape == shape and not picture.get("crop_from")
    options = tfds.ReadConfig(interleave_cycle_length=1)  # the order of the files, on every machine
    rows = {part: splits[part].num_examples for part in SPLITS if part in splits}
    store, first = room((sum(rows.values()), *shape)), 0

    def conform(example):
        return images.conform(Image.fromarray(example["image"].squeeze()), picture)

    with console.progress() as bar, ThreadPoolExecutor(cores()) as pool:
        for part, count in rows.items():
            task = bar.add_task(f"decoding {name} {part}", total=count)
            read, labels, row = store[first : first + count], np.empty(count, "int32"), 0
            batch_size = BATCH if same_size else None
            data = builder.as_dataset(split=part, shuffle_files=False, read_config=options, batch_size=batch_size)
            examples = data.as_numpy_iterator()
            for batch in examples if same_size else iter(lambda few=examples: list(itertools.islice(few, BATCH)), []):
                if same_size:
                    image, label = batch["image"], batch["label"]
                else:
                    image, label = list(pool.map(conform, batch)), [example["label"] for example in batch]
                read[row : row + len(label)], labels[row : row + len(label)] = image, label
                row += len(label)
                bar.update(task, completed=row)
            first += count
            if (labels == -1).all():  # as in ImageNet's test part
                print(f"note: the part {part} of {name} has no labels and is left out", file=sys.stderr)
            else:
                arrays |= {f"{part}_pictures": read, f"{part}_labels": labels}
    return arrays


def _prepared(name):
    """Return the folder of a prepared data set, preparing it where the network allows.

    TFDS itself waits minutes for a network that is not there, so the folder is looked at, and the network tried, first.
    """
    import tensorflow_datasets as tfds

    versions = [found.parent for found in data_folder().glob(f"{glob.escape(name)}/*/dataset_info.json")] if name else []
    if versions:
        return max(versions, key=lambda folder: [int(number) for number in re.findall(r"\d+", folder.name)])
    if name not in tfds.list_builders(with_community_datasets=False):
        near = did_you_mean(name, tfds.list_builders(with_community_datasets=False))
        raise ZooError(f"no folder and no TFDS data set '{name}'{near}")
    if not any(key.lower() == "https_proxy" for key in os.environ):
        try:
            socket.create_connection((HOST, 443), timeout=5).close()
        except OSError as error:
            raise ZooError(
                f"{name} is not prepared in {data_folder()} and cannot be fetched ({HOST}: {error}); on a machine with a "
                f"network run `tfds build {name} --data_dir DIR`, copy DIR and set TFDS_DATA_DIR=DIR"
            ) from error
    builder = tfds.builder(name, data_dir=data_folder())
    builder.download_and_prepare()
    return Path(builder.data_dir)
