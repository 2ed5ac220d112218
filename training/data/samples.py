"""What a source of labelled pictures is, once it is decoded."""

import concurrent.futures
import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from zoo import classes
from zoo.machine import cores

SPLITS = ("train", "validation", "test")
CHUNK = 256  # pictures that a core hashes at a time


@dataclass(frozen=True)
class Samples:
    """Labelled pictures.

    Attributes:
        images: (n, height, width, channels) uint8 array; `MemmapSubset` where they are rows of one that is in a file.
        labels: (n,) int32 indices of the class names.
        names: (n,) str, the path of each picture below the source's root; None where pictures have no names.
        digests: (n, 32) uint8, the sha256 of the pixels of each picture; None where nobody has computed it.
    """

    images: np.ndarray
    labels: np.ndarray
    names: np.ndarray | None = None
    digests: np.ndarray | None = None

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, rows):
        """Return the samples at a slice, at indices or where a mask is true."""
        taken = [each if each is None else each[rows] for each in (self.names, self.digests)]
        return Samples(_chosen(self.images, rows), self.labels[rows], *taken)


class MemmapSubset:
    """Rows of an array that is in a file, read when they are asked for; NumPy itself would copy all of them to memory.

    It has an array's shape, dtype, nbytes and length, and an index of rows gives an array. An index that begins with `...`
    cuts each picture, and gives a selection still.
    """

    def __init__(self, array, rows):
        self.array = array
        self.rows = rows
        self.dtype = array.dtype

    @property
    def shape(self):
        return len(self.rows), *self.array.shape[1:]

    @property
    def nbytes(self):
        return len(self.rows) * self.array[:1].nbytes

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, key):
        if isinstance(key, tuple) and key[0] is Ellipsis:
            return MemmapSubset(self.array[key], self.rows)
        return np.asarray(self.array[self.rows[key]])

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[:], dtype)


def _chosen(pictures, rows):
    """Return rows of pictures; of those in a file nothing is read yet."""
    if isinstance(pictures, MemmapSubset):
        return MemmapSubset(pictures.array, pictures.rows[rows])
    if isinstance(pictures, np.memmap) and not isinstance(rows, slice):
        return MemmapSubset(pictures, np.arange(len(pictures))[rows])
    return pictures[rows]


def image_digests(pictures):
    """Return the sha256 of the pixels of each of n pictures, (n, 32) uint8, computed on all cores."""

    def some(start):
        chunk = np.ascontiguousarray(pictures[start : start + CHUNK])
        return b"".join(hashlib.sha256(picture).digest() for picture in chunk)

    with concurrent.futures.ThreadPoolExecutor(cores()) as pool:
        digests = b"".join(pool.map(some, range(0, len(pictures), CHUNK)))
    return np.frombuffer(digests, "uint8").reshape(-1, 32)


@dataclass(frozen=True)
class Source:
    """Labelled pictures, by the splits that they come in.

    Attributes:
        class_names: tuple of str.
        splits: dict of `Samples`: "train" or "all", and perhaps "validation" and "test".
        problems: list of str, what was left out and why.
        root: folder that the names of the samples are below; None where they have none.
    """

    class_names: tuple
    splits: dict
    problems: list = field(default_factory=list)
    root: Path | None = None

    def align_labels(self, class_names, class_ids=None):
        """Return the source with labels that index `class_names`, a classifier's, which may be more than the source's.

        Args:
            class_names: one str a class.
            class_ids: one str a class by which the source may call it too, such as "n01440764", or None.

        Raises:
            ZooError: if the source has a class that is not among them; with the nearest one.
        """
        moved = np.array(classes.indices(self.class_names, class_names, class_ids), "int32")
        splits = {part: replace(samples, labels=moved[samples.labels]) for part, samples in self.splits.items()}
        return replace(self, class_names=tuple(class_names), splits=splits)

    def fingerprint(self):
        """Return a sha256 over labels and the sha256 of each picture, so that two runs can know that they saw the same."""
        digest = hashlib.sha256("\n".join(self.class_names).encode())
        for name, samples in sorted(self.splits.items()):
            digest.update(name.encode() + samples.labels.astype("<i4").tobytes())
            digests = image_digests(samples.images) if samples.digests is None else samples.digests
            digest.update(np.ascontiguousarray(digests))
        return digest.hexdigest()
