"""Read a .pth file, PyTorch's file of learned weights, without PyTorch and without executing any of it.

Such a file is a pickle: a program for a small machine that may call any function of Python. What a state_dict needs of that
machine are some thirty instructions and the few names below; these are done here, by hand, and what asks for more is refused
with what it asks for. Values lie beside the pickle and are read when they are asked for.

Two formats are in use: since PyTorch 1.6 a zip archive with an entry of values a tensor, and before that five pickles, the
last but one the object, followed by all values.
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
from dataclasses import dataclass, field

import numpy as np

from zoo.errors import ZooError

MAGIC = 0x1950A86A20F9469CFC6C  # what the first pickle of the old format holds
LARGEST_PICKLE = 2**21  # AlexNet's has 2 KB
LARGEST_DIRECTORY = 2**23
MOST_AXES, MOST_PAIRS = 32, 2**16
# What zipfile raises of a damaged archive: also for one that is encrypted, or of a version of the future.
ZIP_ERRORS = (
    *(zipfile.BadZipFile, EOFError, KeyError, NotImplementedError, RuntimeError, ValueError, OverflowError, OSError),
    *(struct.error, zlib.error),
)
PIECE = 2**20
DTYPES = {
    **{"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": "<u2"},
    **{"LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1"},
    "BoolStorage": "?",
}
# What a pickle of a state_dict may name; nothing of it is looked up, let alone called.
NAMES = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    *(("torch", kind) for kind in DTYPES),
}
# Instructions without an argument that put something new onto the stack.
NEW = {
    **{"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple},
    **{"NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False},
}
# Instructions whose argument is what they put there.
LITERAL = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING"),
}


class _Wrong(Exception):
    """What is wrong with the bytes of a file; `read` says which file."""


@dataclass(frozen=True)
class _Name:
    """A name of a module, which a pickle wants to have looked up."""

    module: str
    name: str


@dataclass(eq=False)
class _Storage:
    """Values in a row, of which tensors are views."""

    key: str
    kind: str
    count: int
    read: object = None  # a function that returns them, once their place is known

    @property
    def dtype(self):
        return np.dtype(DTYPES[self.kind])

    @property
    def size(self):
        """Bytes."""
        return self.count * self.dtype.itemsize


@dataclass(eq=False)
class Tensor:
    """An array of a state_dict, left in the file until `load`."""

    shape: tuple
    _storage: _Storage = field(repr=False)
    _offset: int = field(repr=False)
    _strides: tuple = field(repr=False)

    def load(self):
        """Return the values, a float32 array of `shape`."""
        values = self._storage.read()
        if self._storage.kind == "BFloat16Storage":  # the upper half of a float32
            values = (values.astype("<u4") << 16).view("<f4")
        strides = [
            stride * values.itemsize if side > 1 else 0 for side, stride in zip(self.shape, self._strides, strict=True)
        ]
        view = np.lib.stride_tricks.as_strided(values[self._offset :], self.shape, strides, writeable=False)
        with np.errstate(all="ignore"):  # what is too large for a float32 becomes infinite
            return np.ascontiguousarray(view, "float32").reshape(self.shape)


def read(path):
    """Return the tensors of a .pth file; none is read yet.

    Args:
        path: a file of a state_dict, or of a checkpoint with one in "state_dict", as `torch.save` writes it.

    Returns:
        dict: such as "features.0.weight" -> `Tensor`; "module." before all names, of DataParallel, is left out.

    Raises:
        ZooError: if it is no such file, it is damaged, or loading it would call what no state_dict needs.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(4)
            if start == b"PK\x03\x04":
                found = _read_archive(path, file)
            elif start[:1] == b"\x80":
                found = _read_pickles(path, file)
            else:
                raise _Wrong("it begins neither like an archive nor like a pickle")
    except (_Wrong, OSError) as error:  # OSError: a damaged archive may send the reader to a place that cannot be
        raise ZooError(f"{path} is not a .pth file, or it is damaged: {error}") from error
    return _tensors(path, found)


def _tensors(path, found):
    """Return the tensors of the object that a file holds."""
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict):
        raise ZooError(f"{path} holds no dict of tensors; save model.state_dict() with torch.save")
    tensors = {name: value for name, value in found.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if not tensors:
        keys = ", ".join(str(key)[:40] for key in list(found)[:8]) or "nothing"
        raise ZooError(f"{path} holds no tensors but {keys}; save model.state_dict() with torch.save")
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


# The archive.


def _read_archive(path, file):
    """Return the object of an archive: NAME/data.pkl, whose values are in NAME/data/KEY."""
    _check_directory(file)
    with _archive(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        tops = [name.removesuffix("data.pkl") for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(tops) != 1:
            raise _Wrong("the archive has no data.pkl" if not tops else "the archive holds several files")
        (top,) = tops
        if f"{top}constants.pkl" in entries:
            raise ZooError(f"{path} is a TorchScript program; save model.state_dict() with torch.save instead")
        if f"{top}byteorder" in entries and _content(archive, entries[f"{top}byteorder"]) != b"little":
            raise ZooError(f"{path} was written on a big-endian machine, whose values are not read")
        found, storages = _unpickle(path, io.BytesIO(_content(archive, entries[f"{top}data.pkl"])))
        for storage in storages.values():
            entry = entries.get(f"{top}data/{storage.key}")
            if entry is None:
                raise _Wrong(f"the archive has no values {storage.key[:100]}")
            _check_stored(archive, entry)
            if entry.file_size != storage.size:
                raise _Wrong(f"the values {entry.filename} have {entry.file_size:,} bytes, of {storage.size:,}")
            storage.read = functools.partial(_archived, path, entry.filename, storage)
    return found


@contextlib.contextmanager
def _archive(file):
    """Yield a zipfile whose errors, of many kinds, are of this module's one."""
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except ZIP_ERRORS as error:
        raise _Wrong(str(error) or type(error).__name__) from error


def _check_directory(file):
    """Refuse an archive whose directory, which zipfile reads whole, is larger than PyTorch's ever is."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 2**16 - 22))
    end = file.read()
    place = end.rfind(b"PK\x05\x06")
    if place < 0 or len(end) < place + 22:
        raise _Wrong("it is cut short: an archive without its end")
    stated = int.from_bytes(end[place + 12 : place + 16], "little")
    if end[max(0, place - 20) : place][:4] == b"PK\x06\x07":  # a pointer to the end of a large one
        file.seek(min(size, int.from_bytes(end[place - 12 : place - 4], "little")))
        stated = max(stated % (2**32 - 1), int.from_bytes(file.read(48)[40:48], "little"))
    if stated > LARGEST_DIRECTORY:
        raise _Wrong(f"the archive's directory claims {stated:,} bytes; more than {LARGEST_DIRECTORY:,} are refused")


def _check_stored(archive, entry):
    """Refuse what could unpack to more than it is, or than the file."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.compress_size != entry.file_size:
        raise _Wrong(f"{entry.filename} is compressed or encrypted, which PyTorch does not do")
    if entry.header_offset + entry.file_size > archive.start_dir:
        raise _Wrong(f"{entry.filename} claims {entry.file_size:,} bytes, which are not in the file")


def _content(archive, entry):
    """Return the bytes of a small entry."""
    _check_stored(archive, entry)
    if entry.file_size > LARGEST_PICKLE:
        raise _Wrong(f"{entry.filename} claims {entry.file_size:,} bytes; more than {LARGEST_PICKLE:,} are refused")
    with archive.open(entry) as file:
        return file.read()


def _archived(path, name, storage):
    """Return the values of an entry; zipfile compares their checksum when it reaches their end."""
    values = np.empty(storage.count, storage.dtype)
    content, done = values.view("u1"), 0
    try:
        with _archive(path) as archive, archive.open(name) as file:
            while piece := file.read(PIECE):
                content[done : done + len(piece)] = np.frombuffer(piece, "u1")
                done += len(piece)
    except _Wrong as error:
        raise ZooError(f"{path} is damaged at {name}: {error}") from error
    if done != storage.size:
        raise ZooError(f"{path} was changed while it was read; give the command again")
    return values


# The five pickles.


def _read_pickles(path, file):
    """Return the object of the old format; behind it are the keys of all values and, for each, a count and the values."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    pickles = io.BytesIO(file.read(LARGEST_PICKLE))
    magic, _ = _unpickle(path, pickles)
    if magic != MAGIC:
        raise _Wrong("it is a pickle, but none that torch.save wrote")
    protocol, _ = _unpickle(path, pickles)
    system, _ = _unpickle(path, pickles)
    if protocol != 1001 or not isinstance(system, dict):
        raise _Wrong("it has another version")
    if system.get("little_endian") is not True:
        raise ZooError(f"{path} was written on a big-endian machine, whose values are not read")
    found, storages = _unpickle(path, pickles)
    keys, _ = _unpickle(path, pickles)
    place = pickles.tell()
    for key in keys if isinstance(keys, list) else ():
        storage = storages.get(key) if isinstance(key, str) else None
        if storage is None:
            raise _Wrong("it has values that no tensor has")
        file.seek(place)
        count = int.from_bytes(file.read(8), "little")
        place += 8
        if count != storage.count:
            raise _Wrong(f"it has {count:,} values at byte {place:,} for a tensor of {storage.count:,}")
        if storage.size > size - place:
            raise _Wrong(
                f"it is cut short: {storage.size:,} bytes of values at byte {place:,}, where {size - place:,} are left"
            )
        storage.read = functools.partial(_stored, path, place, storage)
        place += storage.size
    for storage in storages.values():
        if storage.read is None:
            raise _Wrong(f"it lacks the values {storage.key}")
    return found


def _stored(path, place, storage):
    values = np.fromfile(path, storage.dtype, storage.count, offset=place)
    if len(values) != storage.count:
        raise ZooError(f"{path} was changed while it was read; give the command again")
    return values


# The machine.


def _unpickle(path, pickles):
    """Return the next object of pickles, in which a tensor is a `Tensor` and a function a `_Name`, and its storages."""
    machine = _Machine(path)
    try:
        for instruction, argument, _ in pickletools.genops(pickles):
            machine.do(instruction.name, argument)
    except (ValueError, OverflowError) as error:  # pickletools' own: cut short, no such instruction, not what it should be
        raise _Wrong(f"its pickle is damaged ({str(error)[:200]})") from error
    except (IndexError, KeyError, TypeError, AttributeError) as error:  # an empty stack, nothing remembered, another kind
        raise _Wrong("its pickle does not fit together") from error
    if len(machine.stack) != 1:
        raise _Wrong("its pickle does not fit together")
    return machine.stack[0], machine.storages


class _Machine:
    """The part of Python's pickle machine that a state_dict needs."""

    def __init__(self, path):
        self.path = path
        self.stack, self.marks, self.memo, self.storages = [], [], {}, {}
        self.pairs = 0

    def do(self, name, argument):
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
        elif name == "BUILD":  # of an OrderedDict: what state_dict() notes of versions
            self._taken(1)
            self._top(dict)
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise ZooError(f"{self.path}: the pickle has the instruction {name}; a state_dict needs no such thing")

    def _taken(self, count):
        """Take the upper values from the stack."""
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
                f"{self.path}: the pickle asks to call {module[:100]}.{name[:100]}; a state_dict needs no such thing, and "
                "nothing was called"
            )
        return _Name(module, name)

    def _called(self, function, arguments):
        """Return what the three functions that are known would."""
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise TypeError
        if function.name == "OrderedDict":
            found, pairs = {}, arguments[0] if arguments else []
            self.pairs += len(pairs)
            if self.pairs > MOST_PAIRS:
                raise TypeError
            for pair in pairs:  # as Python 2 wrote them
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
        """Return the storage of a persistent id; each is one, however often it is named."""
        what, kind, key, _, count, *view = about
        if what != "storage" or not isinstance(kind, _Name) or kind.name not in DTYPES or not isinstance(key, str):
            raise TypeError
        if view not in ([], [None]) or not _is_count(count):
            raise TypeError
        storage = self.storages.setdefault(key, _Storage(key, kind.name, count))
        if (storage.kind, storage.count) != (kind.name, count):
            raise TypeError
        return storage


def _update(found, values):
    """Put keys and values, which alternate, into a dict."""
    if not all(isinstance(key, str) or _is_count(key) for key in values[::2]):
        raise TypeError
    found.update(zip(values[::2], values[1::2], strict=True))


def _view(storage, offset, shape, strides):
    """Return a tensor, which must lie within its storage and have no more values."""
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


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
