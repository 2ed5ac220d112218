"""Labeled images in memory or memory-mapped: the types that every data source returns."""

import concurrent.futures
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from zoo import classes
from zoo.machine import cores

SPLITS = ("train", "validation", "test")
HASH_CHUNK = 256  # images hashed per task of the thread pool


@dataclass(frozen=True)
class Samples:
    """Labeled images.

    Attributes:
        images: (n, height, width, channels) uint8 array, or a `MemmapSubset` of one.
        labels: (n,) int32 indices into the class names.
        names: (n,) str, the path of each image relative to the root of the source; None if the images are not files.
        digests: (n, 32) uint8, the SHA-256 of the pixels of each image; None if not computed.
    """

    images: "np.ndarray | MemmapSubset"
    labels: np.ndarray
    names: np.ndarray | None = None
    digests: np.ndarray | None = None

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, rows):
        """Return the samples selected by a slice, an array of indices or a boolean mask."""
        selected = [array if array is None else array[rows] for array in (self.names, self.digests)]
        return Samples(_select(self.images, rows), self.labels[rows], *selected)


class MemmapSubset:
    """Rows of a memory-mapped array, read on access. Indexing the array itself would copy all of them into memory.

    It has the shape, dtype, nbytes and length of an array. Indexing rows returns an array. An index that starts with `...`
    crops every image and returns another `MemmapSubset`.

    Args:
        array: (n, ...) memory-mapped array.
        rows: (m,) int indices of the rows.
    """

    def __init__(self, array: np.ndarray, rows: np.ndarray):
        self.array = array
        self.rows = rows
        self.dtype = array.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the selected rows."""
        return len(self.rows), *self.array.shape[1:]

    @property
    def nbytes(self) -> int:
        """Size of the selected rows in bytes."""
        return len(self.rows) * self.array[:1].nbytes

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, key):
        if isinstance(key, tuple) and key[0] is Ellipsis:
            return MemmapSubset(self.array[key], self.rows)
        return np.asarray(self.array[self.rows[key]])

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[:], dtype)


def _select(images, rows):
    """Return rows of an array of images. Rows of a memory-mapped array are not read yet."""
    if isinstance(images, MemmapSubset):
        return MemmapSubset(images.array, images.rows[rows])
    if isinstance(images, np.memmap) and not isinstance(rows, slice):
        return MemmapSubset(images, np.arange(len(images))[rows])
    return images[rows]


def image_digests(images: "np.ndarray | MemmapSubset") -> np.ndarray:
    """Compute the SHA-256 of the pixels of each image, on all cores.

    Args:
        images: (n, height, width, channels) uint8.

    Returns:
        (n, 32) uint8.
    """

    def hash_chunk(start):
        chunk = np.ascontiguousarray(images[start : start + HASH_CHUNK])
        return b"".join(hashlib.sha256(image).digest() for image in chunk)

    with concurrent.futures.ThreadPoolExecutor(cores()) as pool:
        digests = b"".join(pool.map(hash_chunk, range(0, len(images), HASH_CHUNK)))
    return np.frombuffer(digests, "uint8").reshape(-1, 32)


@dataclass(frozen=True)
class Source:
    """A labeled data set with its splits.

    Attributes:
        class_names: tuple of str.
        splits: dict from the name of a split to its `Samples`: "train" or "all", and optionally "validation" and "test".
        problems: list of str, the skipped images and why they were skipped.
        root: folder that the names of the samples are relative to; None if the images are not files.
    """

    class_names: tuple[str, ...]
    splits: dict[str, Samples]
    problems: list[str] = field(default_factory=list)
    root: Path | None = None

    def align_labels(self, class_names: Sequence[str], class_ids: Sequence[str] | None = None) -> "Source":
        """Return the source with labels that index the class names of a classifier.

        Args:
            class_names: class names of the classifier, in the order of its outputs. The source may have fewer classes.
            class_ids: for each class another identifier that the source may use, such as the WordNet ID "n01440764".

        Returns:
            `Source` with the given class names.

        Raises:
            ZooError: if the source has a class that the classifier lacks; it suggests the nearest name.
        """
        new_labels = np.array(classes.indices(self.class_names, class_names, class_ids), "int32")
        splits = {split: replace(samples, labels=new_labels[samples.labels]) for split, samples in self.splits.items()}
        return replace(self, class_names=tuple(class_names), splits=splits)

    def fingerprint(self) -> str:
        """Return a SHA-256 of the class names, splits, labels and pixels, which identifies the data of a run."""
        digest = hashlib.sha256("\n".join(self.class_names).encode())
        for name, samples in sorted(self.splits.items()):
            digest.update(name.encode() + samples.labels.astype("<i4").tobytes())
            digests = image_digests(samples.images) if samples.digests is None else samples.digests
            digest.update(np.ascontiguousarray(digests))
        return digest.hexdigest()
