"""Read a .caffemodel file, Caffe's format for trained weights, without Caffe.

The file is one protocol buffer. Google's library would hold it in memory twice, as bytes and as values, 244 MB each for
AlexNet. This module walks through the fields of the file and records the positions of the arrays, which are read on demand.
A length that the file states is checked against the length of the enclosing field.

References:
    Protocol Buffers, https://protobuf.dev/programming-guides/encoding: the encoding of fields.
    Jia et al. (2014), Caffe, src/caffe/proto/caffe.proto, the field numbers.
"""

import math
import os
from dataclasses import dataclass, field

import numpy as np

from zoo.errors import ZooError

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5  # wire types
FIXED = {EIGHT_BYTES: 8, FOUR_BYTES: 4}
# Layer formats: field number of a layer in the network, and field numbers of name and blobs in the layer.
V2, V1 = 100, 2
NAME, BLOBS = {V2: 1, V1: 4}, {V2: 7, V1: 6}
V0 = 1  # field in a V1 layer: a layer in the format before 2013
OLD_SHAPE, DATA, SHAPE, DOUBLE_DATA = (1, 2, 3, 4), 5, 7, 8  # in a blob
VALUES = {DATA: np.dtype("<f4"), DOUBLE_DATA: np.dtype("<f8")}
# Limits for untrusted files: AlexNet has 16 blobs, the largest networks of Caffe about a thousand.
MOST_RUNS, LONGEST_NAME, MOST_AXES = 2**14, 1024, 32
CHUNK = 2**20  # values


class _Wrong(Exception):
    """The bytes of a file are invalid. `read` adds the name of the file."""


@dataclass
class _Run:
    """Consecutive values in the file: a packed list, or single values with a tag byte before each."""

    start: int
    count: int
    number: int
    packed: bool


@dataclass
class Blob:
    """An array of a layer, which stays in the file until `load`."""

    path: os.PathLike
    shape: tuple = ()
    _runs: list = field(default_factory=list, repr=False)

    def load(self) -> np.ndarray:
        """Return the values, a float32 array of `shape`."""
        values, done = np.empty(sum(run.count for run in self._runs), "float32"), 0
        with open(self.path, "rb") as file:
            for run in self._runs:
                kind = VALUES[run.number]
                kind = kind if run.packed else np.dtype([("tag", "u1"), ("value", kind)])
                file.seek(run.start)
                left = run.count
                while left:
                    content = file.read(min(left, CHUNK) * kind.itemsize)
                    if not content or len(content) % kind.itemsize:
                        raise ZooError(f"{self.path} was changed while it was read; run the command again")
                    chunk = np.frombuffer(content, kind)
                    with np.errstate(all="ignore"):  # values too large for float32 become infinite
                        values[done : done + len(chunk)] = chunk if run.packed else chunk["value"]
                    done, left = done + len(chunk), left - len(chunk)
        return values.reshape(self.shape)


def read(path: str | os.PathLike) -> dict[str, list[Blob]]:
    """Return the arrays of a .caffemodel file by layer. Their values are not loaded yet.

    Args:
        path: the file, in Caffe's current (V2) or first (V1) layer format.

    Returns:
        Name of each layer -> its blobs: weights and, if there is one, bias. A blob in the old format has four axes; those of
        a matrix or vector begin with ones.

    Raises:
        ZooError: if the file has another format or is damaged.
    """
    try:
        with open(path, "rb") as file:
            layers = _Net(path, file).layers()
    except _Wrong as error:
        raise ZooError(f"{path} is not a .caffemodel, or it is damaged: {error}") from error
    if not layers:
        raise ZooError(f"{path} has no layer with weights; give a .caffemodel file, not a .prototxt or .solverstate file")
    return layers


class _Net:
    """Reader of the nested fields of a file: network, layers, blobs, shapes."""

    def __init__(self, path, file):
        self.path, self.file = path, file
        self.recorded = 0

    def layers(self) -> dict[str, list[Blob]]:
        layers = {}
        for number, wire, start, end in self._fields(0, os.fstat(self.file.fileno()).st_size):
            if number in NAME and wire == BYTES:
                name, blobs = self._layer(number, start, end)
                if blobs:
                    layers[name] = blobs  # of two layers with the same name, the last counts, as in Caffe
        return layers

    def _layer(self, kind, start, end):
        name, blobs = "", []
        for number, wire, first, last in self._fields(start, end):
            if wire != BYTES:
                continue
            if number == NAME[kind]:
                name = self._text(first, last)
            elif number == BLOBS[kind]:
                blobs.append(self._blob(name, first, last))
            elif kind == V1 and number == V0:
                raise ZooError(
                    f"{self.path} has the layer format of Caffe before 2014; upgrade it with Caffe's own "
                    f"upgrade_net_proto_binary {self.path} NEW.caffemodel"
                )
        return name, blobs

    def _blob(self, layer, start, end):
        self._count()
        old, shape, runs = {}, None, {number: [] for number in VALUES}
        for number, wire, first, last in self._fields(start, end):
            if number in OLD_SHAPE and wire == VARINT:
                old[number] = first
            elif number == SHAPE and wire == BYTES:
                shape = self._shape(first, last)
            elif number in VALUES:
                self._record(runs[number], number, wire, first, last)
        found = runs[DOUBLE_DATA] or runs[DATA]
        count = sum(run.count for run in found)
        if old:
            shape = tuple(old.get(number, 0) for number in OLD_SHAPE)
        if shape is not None and (math.prod(shape) != count or max(shape, default=0) >= 2**31):
            raise _Wrong(f"layer '{layer}' has {count:,} values for a shape of {'x'.join(map(str, shape)) or 'no axes'}")
        return Blob(self.path, (count,) if shape is None else shape, found)

    def _record(self, runs: list[_Run], number: int, wire: int, start: int, end: int) -> None:
        """Add a field of values to the runs of a blob."""
        size = VALUES[number].itemsize
        if wire == BYTES:
            if (end - start) % size:
                raise _Wrong(f"{end - start:,} bytes of values of {size} bytes at byte {start:,}")
            runs.append(_Run(start, (end - start) // size, number, True))
        elif FIXED.get(wire) == size:
            last = runs[-1] if runs else None
            if last and not last.packed and start == last.start + 1 + last.count * (1 + size):
                last.count += 1
                return
            runs.append(_Run(start - 1, 1, number, False))
        else:
            raise _Wrong(f"values of wire type {wire} at byte {start:,}")
        self._count()

    def _count(self):
        """Limit the number of runs that are recorded for a file."""
        self.recorded += 1
        if self.recorded > MOST_RUNS:
            raise _Wrong(f"more than {MOST_RUNS:,} arrays and pieces of arrays")

    def _shape(self, start, end):
        sides = []
        for number, wire, first, last in self._fields(start, end):
            if number == 1 and wire == VARINT:
                sides.append(first)
            while number == 1 and wire == BYTES and first < last and len(sides) <= MOST_AXES:
                side, first = self._varint(first, last)
                sides.append(side)
            if len(sides) > MOST_AXES:
                raise _Wrong(f"a shape of more than {MOST_AXES} axes at byte {start:,}")
        return tuple(sides)

    def _text(self, start, end):
        if end - start > LONGEST_NAME:
            raise _Wrong(f"a layer's name of {end - start:,} bytes at byte {start:,}")
        self.file.seek(start)
        return self.file.read(end - start).decode("utf-8", "replace")

    def _fields(self, start, end):
        """Yield (number, wire type, start, end) of each field of a message; for a varint (number, VARINT, value, value)."""
        while start < end:
            tag, start = self._varint(start, end)
            number, wire = tag >> 3, tag & 7
            if wire == VARINT:
                value, start = self._varint(start, end)
                yield number, wire, value, value
                continue
            if wire == BYTES:
                length, start = self._varint(start, end)
            elif wire in FIXED:
                length = FIXED[wire]
            else:
                raise _Wrong(f"unknown wire type {wire} (byte {start:,})")
            if length > end - start:
                raise _Wrong(f"a field of {length:,} bytes at byte {start:,}, but only {end - start:,} are left")
            yield number, wire, start, start + length
            start += length

    def _varint(self, start, end):
        """Return a number of seven bits per byte, lowest first, and the position after it."""
        self.file.seek(start)
        value = 0
        for index, byte in enumerate(self.file.read(min(10, end - start))):
            value |= (byte & 127) << 7 * index
            if byte < 128:
                return value, start + index + 1
        raise _Wrong(f"a number without an end at byte {start:,}")
