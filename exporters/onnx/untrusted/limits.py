"""Limits on an untrusted ONNX file, checked before memory is allocated for it or a path in it is followed."""

import math
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
import onnx_ir as ir

MAX_FILE_BYTES = 2**31 - 1  # the protobuf limit
MAX_WEIGHT_BYTES = 8 * 2**30  # of all tensors together
MAX_FIELDS = 1_000_000  # of protobuf; each takes memory, even an empty one
MAX_GRAPH_DEPTH = 16  # nested subgraphs, such as the branches of If
MAX_AXIS_SIZE, MAX_RANK = 2**40, 32

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # protobuf wire types; ONNX does not use the others (groups)
VALUE_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
COMPLEX = (ir.DataType.COMPLEX64, ir.DataType.COMPLEX128)
EXTERNAL_KEYS = ("location", "offset", "length", "checksum")


class RejectedFileError(ValueError):
    """The reason why a file is rejected, worded to follow the file's name."""


def check_encoding(content: bytes) -> None:
    """Reject bytes that are truncated, or that protobuf would decode to far more memory than they take.

    An empty node takes 2 bytes in a file and 150 in memory, so the fields are counted before protobuf parses them.

    Args:
        content: serialized `onnx.ModelProto`.

    Raises:
        RejectedFileError: if it has too many fields or is not valid protobuf.
    """
    fields = decoded_bytes = 0
    stack = [(0, len(content), onnx.ModelProto.DESCRIPTOR)]
    while stack:
        position, end, message = stack.pop()
        while position < end:
            tag, position = _read_varint(content, position, end)
            wire_type = tag & 7
            if wire_type == VARINT:
                _, position = _read_varint(content, position, end)
            elif wire_type in (FIXED64, FIXED32):
                position += 8 if wire_type == FIXED64 else 4
            elif wire_type == BYTES:
                length, position = _read_varint(content, position, end)
                field = message.fields_by_number.get(tag >> 3)
                if field is not None and field.message_type is not None:
                    stack.append((position, position + length, field.message_type))
                elif field is not None and field.type == field.TYPE_STRING:
                    _check_string(content[position : position + length])
                elif field is not None and field.type in (field.TYPE_INT32, field.TYPE_INT64, field.TYPE_UINT64):
                    decoded_bytes += 8 * length  # a packed list, in which each number may take one byte
                position += length
            else:
                raise RejectedFileError("is damaged or not an ONNX file")
            if position > end:
                raise RejectedFileError("is truncated, damaged or not an ONNX file")
            fields += 1
            if fields > MAX_FIELDS:
                raise RejectedFileError(f"has more than {MAX_FIELDS:,} protobuf fields; no model of its size needs so many")
    if decoded_bytes > MAX_FILE_BYTES:
        raise RejectedFileError(f"decodes to more than {MAX_FILE_BYTES:,} bytes of numbers")


def _check_string(content):
    """Reject a string that is not UTF-8, which protobuf would return as bytes."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise RejectedFileError("is damaged or not an ONNX file: a string in it is not UTF-8") from error


def _read_varint(content, position, end):
    """Return the variable-length integer at a position, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            break
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise RejectedFileError("is truncated, damaged or not an ONNX file")


def check_tensors(model: onnx.ModelProto, folder: str | Path) -> None:
    """Reject a model with inconsistent tensor sizes, too deep nesting or external data outside its folder.

    Args:
        model: parsed model.
        folder: folder of the file, in which its external data must be.

    Raises:
        RejectedFileError: with the tensor and what is wrong with it.
    """
    if not model.HasField("graph"):
        raise RejectedFileError("is damaged or not an ONNX file: it has no graph")
    if model.training_info:
        raise RejectedFileError("has training graphs, which are not supported")
    total = 0
    for tensor in _iterate_tensors(model):
        total += _checked_size(tensor, folder)
        if total > MAX_WEIGHT_BYTES:
            raise RejectedFileError(f"declares more than {MAX_WEIGHT_BYTES:,} bytes of weights")


def _iterate_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor of a model, including those of subgraphs and functions."""
    stack = [(each, 1) for each in (model.graph, *model.functions)]
    while stack:
        graph, depth = stack.pop()
        if depth > MAX_GRAPH_DEPTH:
            raise RejectedFileError(f"has subgraphs nested more than {MAX_GRAPH_DEPTH} deep")
        attributes = [attribute for node in graph.node for attribute in node.attribute]
        if isinstance(graph, onnx.GraphProto):
            yield from graph.initializer
            if not all(tensor.name for tensor in graph.initializer):
                raise RejectedFileError("is damaged: it has a weight without a name")
        else:
            attributes += graph.attribute_proto
        for attribute in attributes:
            yield from (attribute.t, *attribute.tensors) if attribute.HasField("t") else attribute.tensors
            subgraphs = (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs
            stack.extend((each, depth + 1) for each in subgraphs)
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                raise RejectedFileError("has sparse tensors, which are not supported")
        if isinstance(graph, onnx.GraphProto) and graph.sparse_initializer:
            raise RejectedFileError("has sparse tensors, which are not supported")


def check_connections(model: ir.Model) -> None:
    """Reject a model that reads a value which it does not produce.

    Args:
        model: model as converted by `onnx_ir`, which accepts such values.

    Raises:
        RejectedFileError: with the name of the missing value.
    """
    for outer in (model.graph, *model.functions.values()):
        for graph in (outer, *outer.subgraphs()):
            for value in (*graph.outputs, *(each for node in graph for each in node.inputs if each is not None)):
                if value.producer() is None and not value.is_graph_input() and not value.is_initializer():
                    raise RejectedFileError(f"is damaged: it reads '{value.name}', but no node produces it")


def _checked_size(tensor, folder):
    """Return the size of a tensor in bytes, after checking that its data are there."""
    name = f"the tensor '{tensor.name}'"
    if tensor.data_type not in ir.DataType._value2member_map_ or tensor.data_type == ir.DataType.UNDEFINED:
        raise RejectedFileError(f"is damaged: {name} has the unknown type {tensor.data_type}")
    if len(tensor.dims) > MAX_RANK or not all(0 <= size <= MAX_AXIS_SIZE for size in tensor.dims):
        raise RejectedFileError(f"is damaged: {name} has the invalid shape {_shorten(tensor.dims)}")
    dtype, count = ir.DataType(tensor.data_type), math.prod(tensor.dims)
    bits = 0 if dtype == ir.DataType.STRING else dtype.bitwidth
    # NumPy computes strides for the shape of an empty tensor, too, so a size of 0 counts as 1 here.
    if math.prod(max(size, 1) for size in tensor.dims) * max(bits, 8) > 8 * MAX_WEIGHT_BYTES:
        shape = _shorten(tensor.dims)
        raise RejectedFileError(f"declares the shape {shape} for {name}, more than {MAX_WEIGHT_BYTES:,} bytes")
    size = math.ceil(count * bits / 8)
    if tensor.HasField("segment"):
        raise RejectedFileError(f"stores {name} in segments, which are not supported")
    used = [field for field in VALUE_FIELDS if getattr(tensor, field)]
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        if used or tensor.raw_data or not bits:
            raise RejectedFileError(f"is damaged: {name} is stored both inside and outside the file")
        _check_external(tensor, size, folder, name)
    elif tensor.HasField("raw_data"):
        if used or not bits or len(tensor.raw_data) != size:
            actual = f"{len(tensor.raw_data):,} bytes"
            raise RejectedFileError(f"is damaged: {name} has {actual}, but its shape and type need {size:,}")
    else:
        field = onnx.helper.tensor_dtype_to_field(tensor.data_type)
        expected = math.ceil(count * bits / 8) if bits in (2, 4) else count * (2 if dtype in COMPLEX else 1)
        if used not in ([field], []) or len(getattr(tensor, field)) != expected:
            actual = f"{sum(len(getattr(tensor, each)) for each in VALUE_FIELDS):,} values"
            needed = f"{expected:,} of {field}"
            raise RejectedFileError(f"is damaged: {name} has {actual}, but its shape and type need {needed}")
    return size or sum(map(len, tensor.string_data))


def _check_external(tensor, size, folder, name):
    """Reject external data outside the folder of the model, or beyond the end of the data file."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if len(entries) != len(tensor.external_data) or not set(entries) <= set(EXTERNAL_KEYS) or "location" not in entries:
        raise RejectedFileError(f"is damaged: the location of {name} is not clear")
    offset, length = (_parse_bytes(entries.get(key), name) for key in ("offset", "length"))
    if length not in (None, size):
        raise RejectedFileError(f"is damaged: {name} has {length:,} bytes, but its shape and type need {size:,}")
    path = resolve_location(entries["location"], folder)
    if (offset or 0) + size > path.stat().st_size:
        raise RejectedFileError(f"is damaged, or {path.name} next to it is: {name} ends after the end of that file")


def _parse_bytes(text, name):
    """Return the offset or length of external data in bytes, or None if the entry is missing."""
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise RejectedFileError(f"is damaged: {name} has '{text[:20]}' as an offset or length in bytes")
    return int(text)


def resolve_location(location: str, folder: str | Path) -> Path:
    """Return the path of an external data file, with links resolved.

    Args:
        location: relative path, as written in the model file.
        folder: folder of the model file.

    Raises:
        RejectedFileError: if the path is not relative, is outside the folder, is missing, or is not a regular file with a
            single hard link.
    """
    windows = PureWindowsPath(location)  # drives, roots and backslashes only matter there
    plain = location and "\0" not in location and "\\" not in location and not windows.drive and not windows.root
    if not plain or ".." in PurePosixPath(location).parts:
        raise RejectedFileError(f"stores weights at '{location[:100]}'; only files in its own folder are read")
    try:
        path = (Path(folder) / location).resolve(strict=True)
        if not path.is_relative_to(Path(folder).resolve()):
            raise RejectedFileError(f"stores weights at '{location[:100]}', outside its own folder; copy that file into it")
        status = path.stat()
    except FileNotFoundError as error:
        raise RejectedFileError(
            f"stores weights in '{location[:100]}', which is missing; copy it next to the file"
        ) from error
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links
        raise RejectedFileError(f"stores weights in '{location[:100]}', which cannot be read") from error
    if not stat.S_ISREG(status.st_mode):
        raise RejectedFileError(f"stores weights in '{location[:100]}', which is not a regular file")
    if status.st_nlink > 1:  # onnx_ir refuses it, because it may be another user's file under a second name
        raise RejectedFileError(f"stores weights in '{location[:100]}', which has several hard links; copy it")
    return path


def _shorten(dims):
    return f"{list(dims[:8])}{' and more' if len(dims) > 8 else ''}"
