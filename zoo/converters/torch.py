"""Read a .pth file, PyTorch's format for trained weights, without PyTorch and without executing code in it.

Such a file is a pickle: a program for a small stack machine that may call any Python function. A state_dict needs some
thirty instructions of that machine and the few names below. This module implements these and refuses everything else, with
an error that names it. The values of the tensors are stored outside of the pickle and read on demand.

There are two formats: since PyTorch 1.6 a zip archive with one entry of values per storage, and before that five pickles,
the fourth of them the object, followed by all values.
"""

import contextlib
import functools
import io
import math
import os
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from zoo.errors import ZooError

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of the old format
LARGEST_PICKLE = 2**21  # AlexNet's has 2 KB
LARGEST_DIRECTORY = 2**23
MOST_AXES, MOST_PAIRS = 32, 2**16
# Errors that zipfile raises for damaged and encrypted archives, and for later versions of the format.
ZIP_ERRORS = (
    *(zipfile.BadZipFile, EOFError, KeyError, NotImplementedError, RuntimeError, ValueError, OverflowError, OSError),
    *(struct.error, zlib.error),
)
CHUNK = 2**20  # bytes
DTYPES = {
    **{"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": "<u2"},
    **{"LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1"},
    "BoolStorage": "?",
}
# Names that the pickle of a state_dict may contain. They are neither looked up nor called.
NAMES = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    *(("torch", kind) for kind in DTYPES),
}
# Instructions without an argument that push a new object.
NEW = {
    **{"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple},
    **{"NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False},
}
# Instructions that push their argument.
LITERAL = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING"),
}


class _Wrong(Exception):
    """The bytes of a file are invalid. `read` adds the name of the file."""


@dataclass(frozen=True)
class _Name:
    """A name in a module, which a pickle refers to."""

    module: str
    name: str


@dataclass(eq=False)
class _Storage:
    """A flat array, of which tensors are views."""

    key: str
    kind: str
    count: int
    read: Callable[[], np.ndarray] | None = None  # returns the values; set once their position is known

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(DTYPES[self.kind])

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.count * self.dtype.itemsize


@dataclass(eq=False)
class Tensor:
    """An array of a state_dict, which stays in the file until `load`."""

    shape: tuple
    _storage: _Storage = field(repr=False)
    _offset: int = field(repr=False)
    _strides: tuple = field(repr=False)

    def load(self) -> np.ndarray:
        """Return the values, a float32 array of `shape`."""
        values = self._storage.read()
        if self._storage.kind == "BFloat16Storage":  # the upper half of a float32
            values = (values.astype("<u4") << 16).view("<f4")
        strides = [
            stride * values.itemsize if side > 1 else 0 for side, stride in zip(self.shape, self._strides, strict=True)
        ]
        view = np.lib.stride_tricks.as_strided(values[self._offset :], self.shape, strides, writeable=False)
        with np.errstate(all="ignore"):  # values too large for float32 become infinite
            return np.ascontiguousarray(view, "float32").reshape(self.shape)


def read(path: str | os.PathLike) -> dict[str, Tensor]:
    """Return the tensors of a .pth file by name. Their values are not loaded yet.

    Args:
        path: a file of `torch.save` with a state_dict, or with a checkpoint that has one in "state_dict".

    Returns:
        Names such as "features.0.weight" -> tensors. The prefix "module." of DataParallel is removed.

    Raises:
        ZooError: if the file has another format or is damaged, or if loading it would call functions that no state_dict
            needs.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(4)
            if start == b"PK\x03\x04":
                found = _read_archive(path, file)
            elif start[:1] == b"\x80":
                found = _read_pickles(path, file)
            else:
                raise _Wrong("it is neither a zip archive nor a pickle")
    except (_Wrong, OSError) as error:  # OSError: a damaged archive may contain an impossible position
        raise ZooError(f"{path} is not a .pth file, or it is damaged: {error}") from error
    return _tensors(path, found)


def _tensors(path: str | os.PathLike, found: object) -> dict[str, Tensor]:
    """Return the tensors of the object in a file."""
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict):
        raise ZooError(f"{path} contains no dict of tensors; save model.state_dict() with torch.save")
    tensors = {name: value for name, value in found.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if not tensors:
        keys = ", ".join(str(key)[:40] for key in list(found)[:8]) or "an empty dict"
        raise ZooError(f"{path} contains no tensors, only {keys}; save model.state_dict() with torch.save")
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


# The archive.


def _read_archive(path: str | os.PathLike, file: BinaryIO) -> object:
    """Return the object of an archive: NAME/data.pkl, with values in NAME/data/KEY."""
    _check_directory(file)
    with _archive(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        tops = [name.removesuffix("data.pkl") for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(tops) != 1:
            raise _Wrong("the archive has no data.pkl" if not tops else "the archive contains several objects")
        (top,) = tops
        if f"{top}constants.pkl" in entries:
            raise ZooError(f"{path} is a TorchScript program; save model.state_dict() with torch.save instead")
        if f"{top}byteorder" in entries and _content(archive, entries[f"{top}byteorder"]) != b"little":
            raise ZooError(f"{path} was written on a big-endian machine, which is not supported")
        found, storages = _unpickle(path, io.BytesIO(_content(archive, entries[f"{top}data.pkl"])))
        for storage in storages.values():
            entry = entries.get(f"{top}data/{storage.key}")
            if entry is None:
                raise _Wrong(f"the archive has no values {storage.key[:100]}")
            _check_stored(archive, entry)
            if entry.file_size != storage.size:
                raise _Wrong(f"the values {entry.filename} have {entry.file_size:,} bytes instead of {storage.size:,}")
            storage.read = functools.partial(_archived, path, entry.filename, storage)
    return found


@contextlib.contextmanager
def _archive(file: str | os.PathLike | BinaryIO) -> Iterator[zipfile.ZipFile]:
    """Yield an open zip archive; its errors of many types are raised as `_Wrong`."""
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except ZIP_ERRORS as error:
        raise _Wrong(str(error) or type(error).__name__) from error


def _check_directory(file: BinaryIO) -> None:
    """Refuse an archive with a larger directory than PyTorch writes, because zipfile reads all of it into memory."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 2**16 - 22))
    end = file.read()
    place = end.rfind(b"PK\x05\x06")
    if place < 0 or len(end) < place + 22:
        raise _Wrong("it is truncated: the archive has no end record")
    stated = int.from_bytes(end[place + 12 : place + 16], "little")
    if end[max(0, place - 20) : place][:4] == b"PK\x06\x07":  # the end record of a large archive
        file.seek(min(size, int.from_bytes(end[place - 12 : place - 4], "little")))
        stated = max(stated % (2**32 - 1), int.from_bytes(file.read(48)[40:48], "little"))
    if stated > LARGEST_DIRECTORY:
        raise _Wrong(f"the archive's directory claims {stated:,} bytes; more than {LARGEST_DIRECTORY:,} are refused")


def _check_stored(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Refuse an entry that could unpack to more bytes than it has in the file."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.compress_size != entry.file_size:
        raise _Wrong(f"{entry.filename} is compressed or encrypted, which PyTorch does not do")
    if entry.header_offset + entry.file_size > archive.start_dir:
        raise _Wrong(f"{entry.filename} claims {entry.file_size:,} bytes, more than the file has")


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Return the bytes of a small entry."""
    _check_stored(archive, entry)
    if entry.file_size > LARGEST_PICKLE:
        raise _Wrong(f"{entry.filename} claims {entry.file_size:,} bytes; more than {LARGEST_PICKLE:,} are refused")
    with archive.open(entry) as file:
        return file.read()


def _archived(path: str | os.PathLike, name: str, storage: _Storage) -> np.ndarray:
    """Return the values of an entry. zipfile compares the checksum at the end of the entry."""
    values = np.empty(storage.count, storage.dtype)
    content, done = values.view("u1"), 0
    try:
        with _archive(path) as archive, archive.open(name) as file:
            while chunk := file.read(CHUNK):
                content[done : done + len(chunk)] = np.frombuffer(chunk, "u1")
                done += len(chunk)
    except _Wrong as error:
        raise ZooError(f"{path} is damaged at {name}: {error}") from error
    if done != storage.size:
        raise ZooError(f"{path} was changed while it was read; run the command again")
    return values


# The five pickles.


def _read_pickles(path: str | os.PathLike, file: BinaryIO) -> object:
    """Return the object of the old format. After it come the keys of the storages and, for each, a count and the values."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    pickles = io.BytesIO(file.read(LARGEST_PICKLE))
    magic, _ = _unpickle(path, pickles)
    if magic != MAGIC:
        raise _Wrong("it is a pickle, but not one of torch.save")
    protocol, _ = _unpickle(path, pickles)
    system, _ = _unpickle(path, pickles)
    if protocol != 1001 or not isinstance(system, dict):
        raise _Wrong("its version is not supported")
    if system.get("little_endian") is not True:
        raise ZooError(f"{path} was written on a big-endian machine, which is not supported")
    found, storages = _unpickle(path, pickles)
    keys, _ = _unpickle(path, pickles)
    place = pickles.tell()
    for key in keys if isinstance(keys, list) else ():
        storage = storages.get(key) if isinstance(key, str) else None
        if storage is None:
            raise _Wrong("it has values that belong to no tensor")
        file.seek(place)
        count = int.from_bytes(file.read(8), "little")
        place += 8
        if count != storage.count:
            raise _Wrong(f"it has {count:,} values at byte {place:,} for a tensor of {storage.count:,}")
        if storage.size > size - place:
            raise _Wrong(
                f"it is truncated: {storage.size:,} bytes of values at byte {place:,}, but only {size - place:,} are left"
            )
        storage.read = functools.partial(_stored, path, place, storage)
        place += storage.size
    for storage in storages.values():
        if storage.read is None:
            raise _Wrong(f"the values {storage.key} are missing")
    return found


def _stored(path: str | os.PathLike, place: int, storage: _Storage) -> np.ndarray:
    """Return the values at a position of a file of the old format."""
    values = np.fromfile(path, storage.dtype, storage.count, offset=place)
    if len(values) != storage.count:
        raise ZooError(f"{path} was changed while it was read; run the command again")
    return values


# The machine.


def _unpickle(path: str | os.PathLike, pickles: BinaryIO) -> tuple[object, dict[str, _Storage]]:
    """Return the next object, with tensors as `Tensor` and functions as `_Name`, and its storages by key."""
    machine = _Machine(path)
    try:
        for instruction, argument, _ in pickletools.genops(pickles):
            machine.do(instruction.name, argument)
    except (ValueError, OverflowError) as error:  # of pickletools: truncated or unknown instruction
        raise _Wrong(f"its pickle is damaged ({str(error)[:200]})") from error
    except (IndexError, KeyError, TypeError, AttributeError) as error:  # empty stack, unknown memo, wrong type
        raise _Wrong("its pickle is inconsistent") from error
    if len(machine.stack) != 1:
        raise _Wrong("its pickle is inconsistent")
    return machine.stack[0], machine.storages


class _Machine:
    """The part of Python's pickle machine that a state_dict needs."""

    def __init__(self, path):
        self.path = path
        self.stack, self.marks, self.memo, self.storages = [], [], {}, {}
        self.pairs = 0

    def do(self, name: str, argument: Any) -> None:
        """Execute an instruction."""
        stack = self.stack
        if name in LITERAL:
            stack.append(argument)
        elif name in NEW:
            stack.append(NEW[name]())
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name == "TUPLE":
            stack.append(tuple(self._since_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(self._taken(int(name[-1]))))
        elif name == "APPEND":
            (value,) = self._taken(1)
            self._top(list).append(value)
        elif name == "APPENDS":
            values = self._since_mark()
            self._top(list).extend(values)
        elif name == "SETITEM":
            values = self._taken(2)
            _update(self._top(dict), values)
        elif name == "SETITEMS":
            values = self._since_mark()
            _update(self._top(dict), values)
        elif name in ("GLOBAL", "INST"):
            stack.append(self._named(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            stack.append(self._named(*self._taken(2)))
        elif name == "BINPERSID":
            stack.append(self._storage(*self._taken(1)))
        elif name == "REDUCE":
            function, arguments = self._taken(2)
            stack.append(self._called(function, arguments))
        elif name == "BUILD":  # of an OrderedDict: the version notes of state_dict(), which are not needed
            self._taken(1)
            self._top(dict)
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise ZooError(f"{self.path}: the pickle has the instruction {name}, which no state_dict needs")

    def _taken(self, count):
        """Pop values from the stack, without crossing the last mark."""
        if len(self.stack) - count < (self.marks[-1] if self.marks else 0):
            raise IndexError
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken

    def _since_mark(self):
        taken = self.stack[(mark := self.marks.pop()) :]
        del self.stack[mark:]
        return taken

    def _top(self, kind):
        if not isinstance(self.stack[-1], kind):
            raise TypeError
        return self.stack[-1]

    def _named(self, module, name):
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError
        if (module, name) not in NAMES:
            raise ZooError(
                f"{self.path}: the pickle refers to {module[:100]}.{name[:100]}, which no state_dict needs; nothing was "
                "called"
            )
        return _Name(module, name)

    def _called(self, function, arguments):
        """Return the result of one of the known functions."""
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise TypeError
        if function.name == "OrderedDict":
            found, pairs = {}, arguments[0] if arguments else []
            self.pairs += len(pairs)
            if self.pairs > MOST_PAIRS:
                raise TypeError
            for pair in pairs:  # as pickles of Python 2 have them
                if not isinstance(pair, list | tuple) or len(pair) != 2:
                    raise TypeError
                _update(found, pair)
            return found
        if function.name == "_rebuild_parameter":
            if not isinstance(arguments[0], Tensor):
                raise TypeError
            return arguments[0]
        if function.name not in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            raise TypeError
        return _view(*arguments[:4])

    def _storage(self, about):
        """Return the storage of a persistent id, the same one for each reference."""
        what, kind, key, _, count, *view = about
        if what != "storage" or not isinstance(kind, _Name) or kind.name not in DTYPES or not isinstance(key, str):
            raise TypeError
        if view not in ([], [None]) or not _is_count(count):
            raise TypeError
        storage = self.storages.setdefault(key, _Storage(key, kind.name, count))
        if (storage.kind, storage.count) != (kind.name, count):
            raise TypeError
        return storage


def _update(found: dict, values: Sequence) -> None:
    """Put alternating keys and values into a dict."""
    if not all(isinstance(key, str) or _is_count(key) for key in values[::2]):
        raise TypeError
    found.update(zip(values[::2], values[1::2], strict=True))


def _view(storage: object, offset: object, shape: object, strides: object) -> Tensor:
    """Return a tensor, after a check that it lies within its storage and has no more values."""
    if not isinstance(storage, _Storage) or not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise TypeError
    if len(shape) != len(strides) or len(shape) > MOST_AXES or not all(map(_is_count, (offset, *shape, *strides))):
        raise TypeError
    if math.prod(side or 1 for side in shape) >= 2**40:
        raise _Wrong(f"a tensor of {'x'.join(map(str, shape))}")
    last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    if math.prod(shape) and (last >= storage.count or math.prod(shape) > storage.count):
        raise _Wrong(f"a tensor of {'x'.join(map(str, shape))} reaches beyond its {storage.count:,} values")
    return Tensor(shape, storage, offset, strides)


def _is_count(value: object) -> bool:
    """Return whether a value is a non-negative int."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
