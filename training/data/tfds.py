"""Reads data sets of TensorFlow Datasets (TFDS). The decoded images are cached."""

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

from training.data.decoding import allocate_images, fits_in_memory
from training.data.samples import SPLITS, Samples, Source
from zoo import console, images
from zoo.errors import ZooError, did_you_mean
from zoo.files import atomic, cache_folder, data_folder
from zoo.machine import cores

HOST = "storage.googleapis.com"
BATCH = 1000  # images decoded at a time


def load(name: str, image_spec: dict) -> Source:
    """Load a TFDS data set. The first call decodes its images; later calls read them from the cache.

    Args:
        name: such as "mnist".
        image_spec: height, width, channels and resize, as in the [picture] table of a card.

    Returns:
        `training.data.Source`.

    Raises:
        ZooError: if there is no such data set, or it cannot be downloaded.
    """
    folder = _prepared(name)
    about = json.loads((folder / "dataset_info.json").read_text("utf-8"))
    size = [image_spec["height"], image_spec["width"], image_spec["channels"], image_spec["resize"]]
    size += [image_spec["crop_from"]] if image_spec.get("crop_from") else []
    shards = [[split["name"], split["shardLengths"], split["numBytes"]] for split in about["splits"]]
    key = hashlib.sha256(json.dumps([name, about["version"], shards, size]).encode()).hexdigest()[:16]
    cached = cache_folder() / "data" / f"{name}-{key}"
    if not (cached / "class_names.npy").exists():
        arrays = _decode(name, folder, image_spec)
        try:
            _write_cache(arrays, cached)
        except OSError as error:
            note = f"note: cannot cache the decoded {name} ({error}); it will be decoded again next time"
            print(note, file=sys.stderr)
    else:
        arrays = _read_cache(cached)
    splits = {
        split: Samples(arrays[f"{split}_pictures"], arrays[f"{split}_labels"])
        for split in SPLITS
        if f"{split}_labels" in arrays
    }
    return Source(tuple(str(label) for label in arrays["class_names"]), splits)


def _write_cache(arrays, folder):
    """Write each array to a file. The class names come last: if their file exists, the cache is complete."""
    for name, array in sorted(arrays.items(), key=lambda each: each[0] == "class_names"):
        with atomic(folder / f"{name}.npy") as temporary:
            np.save(temporary, array, allow_pickle=False)


def _read_cache(folder):
    """Read the arrays, memory-mapped if they are large."""
    names = ["class_names", *(f"{split}_{content}" for split in SPLITS for content in ("pictures", "labels"))]
    files = [folder / f"{name}.npy" for name in names if (folder / f"{name}.npy").exists()]
    mode = None if fits_in_memory(sum(file.stat().st_size for file in files)) else "r"
    try:
        return {file.stem: np.load(file, mmap_mode=mode, allow_pickle=False) for file in files}
    except (OSError, ValueError, EOFError) as error:
        raise ZooError(f"{folder} is damaged ({error}); remove it: rm -r '{folder}'") from error


def _decode(name, folder, image_spec):
    """Return the arrays of a prepared data set: the class names, and the images and labels of each split."""
    import tensorflow_datasets as tfds
    from PIL import Image

    builder = tfds.builder_from_directory(folder)
    features, splits = builder.info.features, builder.info.splits
    if "image" not in features or "label" not in features:
        raise ZooError(f"{name} has no features 'image' and 'label'; only image classification data sets are supported")
    arrays = {"class_names": np.array(features["label"].names)}
    shape = image_spec["height"], image_spec["width"], image_spec["channels"]
    same_size = features["image"].shape == shape and not image_spec.get("crop_from")
    options = tfds.ReadConfig(interleave_cycle_length=1)  # the order of the files, the same on every machine
    sizes = {split: splits[split].num_examples for split in SPLITS if split in splits}
    pixels, first = allocate_images((sum(sizes.values()), *shape)), 0

    def conform(example):
        return images.conform(Image.fromarray(example["image"].squeeze()), image_spec)

    with console.progress() as bar, ThreadPoolExecutor(cores()) as pool:
        for split, size in sizes.items():
            task = bar.add_task(f"decoding {name} {split}", total=size)
            decoded, labels, row = pixels[first : first + size], np.empty(size, "int32"), 0
            batch_size = BATCH if same_size else None
            data = builder.as_dataset(split=split, shuffle_files=False, read_config=options, batch_size=batch_size)
            examples = data.as_numpy_iterator()
            for batch in examples if same_size else iter(lambda few=examples: list(itertools.islice(few, BATCH)), []):
                if same_size:
                    image, label = batch["image"], batch["label"]
                else:
                    image, label = list(pool.map(conform, batch)), [example["label"] for example in batch]
                decoded[row : row + len(label)], labels[row : row + len(label)] = image, label
                row += len(label)
                bar.update(task, completed=row)
            first += size
            if (labels == -1).all():  # such as the test split of ImageNet
                print(f"note: skipped the split {split} of {name}, which has no labels", file=sys.stderr)
            else:
                arrays |= {f"{split}_pictures": decoded, f"{split}_labels": labels}
    return arrays


def _prepared(name):
    """Return the folder of a prepared data set. Prepare it if it is missing and the network is reachable.

    TFDS itself waits minutes for a network that is not reachable, so the folder and the network are checked first.
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
                f"{name} is not prepared in {data_folder()} and cannot be downloaded ({HOST}: {error}); on a machine with a "
                f"network run `tfds build {name} --data_dir DIR`, copy DIR here and set TFDS_DATA_DIR=DIR"
            ) from error
    builder = tfds.builder(name, data_dir=data_folder())
    builder.download_and_prepare()
    return Path(builder.data_dir)
