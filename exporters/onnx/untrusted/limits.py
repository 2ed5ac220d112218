"""What an ONNX file of a stranger may claim: bounds that are checked before memory is taken or a path is followed."""

import math
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
import onnx_ir as ir

LARGEST_FILE = 2**31 - 1  # bytes; protobuf reads no more
LARGEST_WEIGHTS = 8 * 2**30  # bytes of all tensors
MOST_FIELDS = 1_000_000  # of protobuf; each takes memory even where it is empty
DEEPEST = 16  # graphs within each other, such as the branches of If
LARGEST_AXIS, MOST_AXES = 2**40, 32

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types of protobuf; the others are groups, which ONNX has none of
VALUES = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
TWO_NUMBERS = (ir.DataType.COMPLEX64, ir.DataType.COMPLEX128)
EXTERNAL_KEYS = ("location", "offset", "length", "checksum")


class Refused(ValueError):
    """What is wrong with a file, as the rest of a sentence that begins with the file's name."""


def scan(content):
    """Refuse bytes that are cut short, or that protobuf would unpack to far more memory than they are themselves.

    An empty node is 2 bytes of a file and 150 in memory, so the fields are counted before protobuf sees them.

    Args:
        content: bytes of an `onnx.ModelProto`.

    Raises:
        Refused: if it has too many fields, or is no protobuf.
    """
    fields = unpacked = 0
    waiting = [(0, len(content), onnx.ModelProto.DESCRIPTOR)]
    while waiting:
        place, end, message = waiting.pop()
        while place < end:
            tag, place = _varint(content, place, end)
            wire = tag & 7
            if wire == VARINT:
                _, place = _varint(content, place, end)
            elif wire in (FIXED64, FIXED32):
                place += 8 if wire == FIXED64 else 4
            elif wire == BYTES:
                length, place = _varint(content, place, end)
                field = message.fields_by_number.get(tag >> 3)
                if field is not None and field.message_type is not None:
                    waiting.append((place, place + length, field.message_type))
                elif field is not None and field.type == field.TYPE_STRING:
                    _check_text(content[place : place + length])
                elif field is not None and field.type in (field.TYPE_INT32, field.TYPE_INT64, field.TYPE_UINT64):
                    unpacked += 8 * length  # a packed list of numbers, of which each may be one byte
                place += length
            else:
                raise Refused("is damaged or no ONNX file")
            if place > end:
                raise Refused("is cut short, damaged, or no ONNX file")
            fields += 1
            if fields > MOST_FIELDS:
                raise Refused(f"has more than {MOST_FIELDS:,} fields, which no net of its size needs")
    if unpacked > LARGEST_FILE:
        raise Refused(f"unpacks to more than {LARGEST_FILE:,} bytes of numbers")


def _check_text(content):
    """Refuse what is no UTF-8, which protobuf would hand on as bytes."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise Refused("is damaged or no ONNX file: a text in it is no UTF-8") from error


def _varint(content, place, end):
    """Return the number that begins at a place, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= end:
            break
        byte = content[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise Refused("is cut short, damaged, or no ONNX file")


def check(model, folder):
    """Refuse a model whose tensors are not of the size that they say, or are nested too deep, or lie elsewhere.

    Args:
        model: `onnx.ModelProto`, as parsed.
        folder: the file's folder, in which its external data have to be.

    Raises:
        Refused: with the tensor and what is wrong with it.
    """
    if not model.HasField("graph"):
        raise Refused("is damaged or no ONNX file: it holds no graph")
    if model.training_info:
        raise Refused("holds graphs for training, which are not read")
    total = 0
    for tensor in _tensors(model):
        total += _checked_size(tensor, folder)
        if total > LARGEST_WEIGHTS:
            raise Refused(f"claims more than {LARGEST_WEIGHTS:,} bytes of weights")


def _tensors(model):
    """Yield every tensor of a model, those of graphs within nodes and of functions too."""
    waiting = [(each, 1) for each in (model.graph, *model.functions)]
    while waiting:
        graph, depth = waiting.pop()
        if depth > DEEPEST:
            raise Refused(f"has graphs nested more than {DEEPEST} deep")
        attributes = [attribute for node in graph.node for attribute in node.attribute]
        if isinstance(graph, onnx.GraphProto):
            yield from graph.initializer
            if not all(tensor.name for tensor in graph.initializer):
                raise Refused("is damaged: it has a weight without a name")
        else:
            attributes += graph.attribute_proto
        for attribute in attributes:
            yield from (attribute.t, *attribute.tensors) if attribute.HasField("t") else attribute.tensors
            inner = (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs
            waiting.extend((each, depth + 1) for each in inner)
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                raise Refused("has sparse tensors, which are not read")
        if isinstance(graph, onnx.GraphProto) and graph.sparse_initializer:
            raise Refused("has sparse tensors, which are not read")


def check_wiring(model):
    """Refuse a model that reads what nothing in it makes.

    Args:
        model: `onnx_ir.Model`, which holds such values as if they were in order.

    Raises:
        Refused: with the name of what is missing.
    """
    for whole in (model.graph, *model.functions.values()):
        for graph in (whole, *whole.subgraphs()):
            for value in (*graph.outputs, *(each for node in graph for each in node.inputs if each is not None)):
                if value.producer() is None and not value.is_graph_input() and not value.is_initializer():
                    raise Refused(f"is damaged: nothing in it makes '{value.name}', which it reads")


def _checked_size(tensor, folder):
    """Return the bytes of a tensor, once it is known that they are there."""
    name = f"the tensor '{tensor.name}'"
    if tensor.data_type not in ir.DataType._value2member_map_ or tensor.data_type == ir.DataType.UNDEFINED:
        raise Refused(f"is damaged: {name} has the unknown type {tensor.data_type}")
    if len(tensor.dims) > MOST_AXES or not all(0 <= size <= LARGEST_AXIS for size in tensor.dims):
        raise Refused(f"is damaged: {name} has the impossible shape {_short(tensor.dims)}")
    dtype, count = ir.DataType(tensor.data_type), math.prod(tensor.dims)
    bits = 0 if dtype == ir.DataType.STRING else dtype.bitwidth
    # A tensor without values has a shape still, for which NumPy computes strides.
    if math.prod(max(size, 1) for size in tensor.dims) * max(bits, 8) > 8 * LARGEST_WEIGHTS:
        raise Refused(f"claims that {name} has the shape {_short(tensor.dims)}, more than {LARGEST_WEIGHTS:,} bytes")
    size = math.ceil(count * bits / 8)
    if tensor.HasField("segment"):
        raise Refused(f"has {name} in segments, which are not read")
    given = [field for field in VALUES if getattr(tensor, field)]
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        if given or tensor.raw_data or not bits:
            raise Refused(f"is damaged: {name} is in the file and outside of it")
        _check_external(tensor, size, folder, name)
    elif tensor.HasField("raw_data"):
        if given or not bits or len(tensor.raw_data) != size:
            raise Refused(f"is damaged: {name} has {len(tensor.raw_data):,} bytes, and its shape and type need {size:,}")
    else:
        field = onnx.helper.tensor_dtype_to_field(tensor.data_type)
        expected = math.ceil(count * bits / 8) if bits in (2, 4) else count * (2 if dtype in TWO_NUMBERS else 1)
        if given not in ([field], []) or len(getattr(tensor, field)) != expected:
            found = sum(len(getattr(tensor, each)) for each in VALUES)
            raise Refused(f"is damaged: {name} has {found:,} values, and its shape and type need {expected:,} of {field}")
    return size or sum(map(len, tensor.string_data))


def _check_external(tensor, size, folder, name):
    """Refuse a tensor that lies outside of the file's folder, or outside of the file that it names."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if len(entries) != len(tensor.external_data) or not set(entries) <= set(EXTERNAL_KEYS) or "location" not in entries:
        raise Refused(f"is damaged: it does not say clearly where {name} lies")
    offset, length = (_number(entries.get(key), name) for key in ("offset", "length"))
    if length not in (None, size):
        raise Refused(f"is damaged: {name} has {length:,} bytes, and its shape and type need {size:,}")
    path = resolve(entries["location"], folder)
    if (offset or 0) + size > path.stat().st_size:
        raise Refused(f"is damaged, or {path.name} beside it is: {name} ends behind the end of that file")


def _number(text, name):
    """Return what an entry says as a number of bytes; None where it says nothing."""
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise Refused(f"is damaged: {name} lies at '{text[:20]}' of a file")
    return int(text)


def resolve(location, folder):
    """Return the path of a regular file that a stranger's file names, if it lies in the folder, links followed.

    Args:
        location: str, as the file says it.
        folder: the file's own folder.

    Raises:
        Refused: if it is no relative path, leaves the folder, is missing, or is no regular file of one name.
    """
    windows = PureWindowsPath(location)  # a drive, a root or a backslash mean something there, and elsewhere nothing
    plain = location and "\0" not in location and "\\" not in location and not windows.drive and not windows.root
    if not plain or ".." in PurePosixPath(location).parts:
        raise Refused(f"keeps weights at '{location[:100]}'; only a file in its own folder is read")
    try:
        path = (Path(folder) / location).resolve(strict=True)
        if not path.is_relative_to(Path(folder).resolve()):
            raise Refused(f"keeps weights at '{location[:100]}', which leads out of its folder; copy that file there")
        about = path.stat()
    except FileNotFoundError as error:
        raise Refused(f"keeps weights in '{location[:100]}', which is missing; put it beside") from error
    except (OSError, RuntimeError) as error:  # RuntimeError is a circle of links
        raise Refused(f"keeps weights in '{location[:100]}', which cannot be read") from error
    if not stat.S_ISREG(about.st_mode):
        raise Refused(f"keeps weights in '{location[:100]}', which is no regular file")
    if about.st_nlink > 1:  # which onnx_ir refuses: it may be a file of somebody else by another name
        raise Refused(f"keeps weights in '{location[:100]}', which has hard links; copy it")
    return path


def _short(dims):
    return f"{list(dims[:8])}{' and more' if len(dims) > 8 else ''}"
