"""ONNX files, written atomically and deterministically, and read without trusting their content.

A file holds its own weights as long as protobuf can read it. Above 2 GB they are stored next to it, in a file whose name
contains the hash of its content, so that an .onnx file and the weights it refers to always belong together.
"""

import contextlib
import hashlib
import logging
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from exporters.onnx.untrusted import limits
from zoo.errors import ZooError, printable
from zoo.files import atomic

MAX_PROTOBUF_BYTES = 2**31 - 2**20  # of a file with its weights; protobuf reads slightly more
MAX_INLINE_BYTES = 1024  # of a tensor that stays in the file: shapes, which others read without the weights
ALIGNMENT = 2**16  # bytes; a multiple of the page size with which operating systems map files into memory

logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # what it warns of is an error here, with the name of the file

GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9  # protobuf field numbers


def save(model: ir.Model, path: str | Path) -> None:
    """Write a model to a file atomically; the same model gives the same bytes.

    Args:
        model: model to write.
        path: .onnx file to write.
    """
    with saving(model, path):
        pass


@contextlib.contextmanager
def saving(model: ir.Model, path: str | Path) -> Iterator[Path]:
    """Write a model to a temporary file next to `path`, and rename it to `path` when the context exits.

    On an error nothing is written, and an existing file stays. Weights in a separate file are found under either name.

    Args:
        model: model to write; copied one tensor at a time.
        path: .onnx file to write.

    Yields:
        Path of the temporary file, for checks before it is renamed.
    """
    path, data = Path(path), None
    pieces = _serialize(model, {})
    with contextlib.ExitStack() as undo:
        if sum(map(_size, pieces)) > MAX_PROTOBUF_BYTES:
            content, offsets = _external_layout(model)
            digest = hashlib.sha256()
            _write(content, digest.update)
            data = path.with_name(f"{path.name}.{digest.hexdigest()[:16]}.data")
            pieces = _serialize(model, {name: (data.name, offset) for name, offset in offsets.items()})
            if not data.exists():
                undo.callback(data.unlink, missing_ok=True)
            with atomic(data) as temporary, temporary.open("wb") as file:
                _write(content, file.write)
        with atomic(path) as temporary:
            with temporary.open("wb") as file:
                _write(pieces, file.write)
            yield temporary
        undo.pop_all()
    for stale in data_files(path):
        if stale != data:
            with contextlib.suppress(PermissionError):  # Windows locks files that are mapped into memory
                stale.unlink()


def data_files(path: str | Path) -> list[Path]:
    """Return the weight files that `save` has written next to an .onnx file, sorted."""
    pattern = re.compile(re.escape(Path(path).name) + r"\.[0-9a-f]{16}\.data")
    return sorted(each for each in Path(path).parent.iterdir() if pattern.fullmatch(each.name))


def load(path: str | Path) -> ir.Model:
    """Read a model from any source; its claims are checked before memory is allocated or another file is opened.

    Args:
        path: ONNX file; external weights must be in its folder.

    Returns:
        The model; external weights are memory-mapped.

    Raises:
        ZooError: if the file is missing, damaged, too large, or refers to files outside its folder.
    """
    path = Path(path)
    try:
        content = _read_bytes(path)
        limits.check_encoding(content)
        proto = onnx.ModelProto.FromString(content)
        del content  # as large as the model
        limits.check_tensors(proto, path.parent)
        model = ir.from_proto(proto)
        limits.check_connections(model)
        for graph in (model.graph, *(function.graph for function in model.functions.values())):
            ir.external_data.set_base_dir(graph, path.parent.absolute())
        return model
    except OSError as error:
        raise ZooError(f"{path} cannot be read ({(error.strerror or str(error)).lower()})") from error
    except limits.RejectedFileError as error:
        raise ZooError(printable(f"{path} {error}")) from error
    except ZooError:
        raise
    except Exception as error:  # protobuf and onnx_ir raise their own errors; onnx_ir wraps the original one
        while error.__cause__:
            error = error.__cause__
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ZooError(printable(f"{path} is damaged or not an ONNX file ({reason[:200]}); export it again")) from error


def _read_bytes(path):
    """Return the content of a regular file that is not larger than protobuf can read."""
    if not path.exists():
        raise ZooError(f"no file {path}")
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ZooError(f"{path} is not a regular file")
    if status.st_size > limits.MAX_FILE_BYTES:
        actual = f"{status.st_size:,} bytes"
        raise limits.RejectedFileError(f"has {actual}; an ONNX file has at most {limits.MAX_FILE_BYTES:,}")
    return path.read_bytes()


def _serialize(model: ir.Model, external: Mapping[str, tuple[str, int]]) -> list[bytes | ir.TensorProtocol]:
    """Return a serialized model in pieces: bytes, or a tensor in place of its values.

    The pieces together equal `onnx.ModelProto.SerializeToString`, without a second copy of the weights.

    Args:
        model: model to serialize.
        external: name of a tensor in another file -> (name of that file, offset in bytes).
    """
    graph = model.graph
    view = ir.GraphView(
        graph.inputs,
        graph.outputs,
        nodes=graph,
        name=graph.name,
        doc_string=graph.doc_string,
        opset_imports=graph.opset_imports,
        metadata_props=graph.metadata_props,
    )
    without_weights = ir.to_proto(
        ir.Model(
            view,
            ir_version=model.ir_version,
            producer_name=model.producer_name,
            producer_version=model.producer_version,
            domain=model.domain,
            model_version=model.model_version,
            doc_string=model.doc_string,
            functions=tuple(model.functions.values()),
            metadata_props=model.metadata_props,
        )
    )
    tensors = [
        piece
        for name in sorted(graph.initializers)
        for piece in _serialize_initializer(graph.initializers[name].const_value, name, external.get(name))
    ]
    serialized_graph = [*_surround(without_weights.graph, INITIALIZER, tensors)]
    return _surround(without_weights, GRAPH, [_field_header(GRAPH, serialized_graph), *serialized_graph])


def _serialize_initializer(tensor, name, location):
    """Return the pieces of a weight that is stored at a (file name, offset), or inline for None."""
    proto = onnx.TensorProto(name=name, data_type=tensor.dtype.value, dims=tensor.shape.numpy())
    if tensor.doc_string:
        proto.doc_string = tensor.doc_string
    for key in sorted(tensor.metadata_props):
        proto.metadata_props.add(key=key, value=tensor.metadata_props[key])
    if location:
        proto.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", location[0]), ("offset", location[1]), ("length", tensor.nbytes)):
            proto.external_data.add(key=key, value=str(value))
    elif tensor.dtype == ir.DataType.STRING:
        proto.string_data.extend(tensor.string_data())
    values = [] if location or tensor.dtype == ir.DataType.STRING else [_field_header(RAW_DATA, [tensor]), tensor]
    pieces = _surround(proto, RAW_DATA, values)
    return [_field_header(INITIALIZER, pieces), *pieces]


def _surround(message, number, pieces):
    """Return pieces in place of the field `number` of a message, between the serialized fields before and after it."""
    before, after = type(message)(), type(message)()
    before.CopyFrom(message)
    after.CopyFrom(message)
    for field, _ in message.ListFields():
        if field.number >= number:
            before.ClearField(field.name)
        if field.number <= number:
            after.ClearField(field.name)
    return [before.SerializeToString(deterministic=True), *pieces, after.SerializeToString(deterministic=True)]


def _field_header(number, pieces):
    """Return the bytes that protobuf writes before the content of a field: its key and its length, as varints."""
    header = bytearray()
    for value in (number << 3 | limits.BYTES, sum(map(_size, pieces))):
        while value > 127:
            header.append(value & 127 | 128)
            value >>= 7
        header.append(value)
    return bytes(header)


def _external_layout(model):
    """Return (pieces of the external data file, dict of the name of a weight -> its offset in bytes)."""
    pieces, offsets, end = [], {}, 0
    for name, value in sorted(model.graph.initializers.items()):
        tensor = value.const_value
        if tensor.dtype != ir.DataType.STRING and tensor.nbytes > MAX_INLINE_BYTES:
            pieces += [bytes(-end % ALIGNMENT), tensor]
            offsets[name] = end + -end % ALIGNMENT
            end = offsets[name] + tensor.nbytes
    return pieces, offsets


def _size(piece):
    return len(piece) if isinstance(piece, bytes) else piece.nbytes


def _write(pieces, write: Callable[[bytes | memoryview], object]):
    """Pass the bytes of all pieces to a function, one piece after the other."""
    for piece in pieces:
        write(piece if isinstance(piece, bytes) else _tensor_bytes(piece))


def _tensor_bytes(tensor):
    """Return the little-endian bytes of a tensor, without a copy if they are in memory in that form."""
    if tensor.dtype.bitwidth < 8:  # packed, several values per byte
        return tensor.tobytes()
    array = tensor.numpy()
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(little).reshape(-1).view("uint8").data
