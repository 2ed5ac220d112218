"""ONNX files, written whole or not at all and the same each time, and read without trust.

A file holds its weights, as long as protobuf can read it. Above 2 GB they lie beside, in a file whose name has the hash of
its content, so that an .onnx and the weights it points to always belong together.
"""

import contextlib
import hashlib
import logging
import re
import stat
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from exporters.onnx.untrusted import limits
from zoo.errors import ZooError, printable
from zoo.files import atomic

LARGEST_PROTOBUF = 2**31 - 2**20  # bytes of a file with its weights; protobuf reads a little more
INLINE = 1024  # bytes of a tensor that stays in the file: shapes, which others read without the weights
ALIGNMENT = 2**16  # bytes; of a page or a block, by which systems map files into memory

logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # what it warns of is refused here, with the file's name

GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9  # protobuf's numbers of these fields


def save(model, path):
    """Write a model to a file that is there whole or not at all; the same model gives the same bytes.

    Args:
        model: `onnx_ir.Model`.
        path: the .onnx file to write.
    """
    with saving(model, path):
        pass


@contextlib.contextmanager
def saving(model, path):
    """Write a model and yield a temporary path beside `path`, to try it out; on leaving, give it the final name.

    On an error nothing is left, and what was there before stays. Weights that lie beside are found by either name.

    Args:
        model: `onnx_ir.Model`; not copied, but for a tensor at a time.
        path: the .onnx file to write.
    """
    path, data = Path(path), None
    pieces = _pieces(model, {})
    with contextlib.ExitStack() as undo:
        if sum(map(_size, pieces)) > LARGEST_PROTOBUF:
            content, offsets = _layout(model)
            digest = hashlib.sha256()
            _write(content, digest.update)
            data = path.with_name(f"{path.name}.{digest.hexdigest()[:16]}.data")
            pieces = _pieces(model, {name: (data.name, offset) for name, offset in offsets.items()})
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
            with contextlib.suppress(PermissionError):  # Windows keeps what is still mapped into memory
                stale.unlink()


def data_files(path):
    """Return the files beside an .onnx file that `save` has written for its weights, sorted."""
    pattern = re.compile(re.escape(Path(path).name) + r"\.[0-9a-f]{16}\.data")
    return sorted(each for each in Path(path).parent.iterdir() if pattern.fullmatch(each.name))


def load(path):
    """Read a model of anybody; what it claims is checked before memory is taken or another file is opened.

    Args:
        path: the file; weights outside of it have to be in its folder.

    Returns:
        `onnx_ir.Model`; weights outside of the file are mapped, not read.

    Raises:
        ZooError: if the file is missing, damaged, larger than any net of the zoo, or points out of its folder.
    """
    path = Path(path)
    try:
        content = _content(path)
        limits.scan(content)
        proto = onnx.ModelProto.FromString(content)
        del content  # as large as the model
        limits.check(proto, path.parent)
        model = ir.from_proto(proto)
        limits.check_wiring(model)
        for graph in (model.graph, *(function.graph for function in model.functions.values())):
            ir.external_data.set_base_dir(graph, path.parent.absolute())
        return model
    except OSError as error:
        raise ZooError(f"{path} cannot be read ({(error.strerror or str(error)).lower()})") from error
    except limits.Refused as error:
        raise ZooError(printable(f"{path} {error}")) from error
    except ZooError:
        raise
    except Exception as error:  # protobuf and onnx_ir have errors of their own, onnx_ir's around what was wrong
        while error.__cause__:
            error = error.__cause__
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ZooError(printable(f"{path} is damaged or no ONNX file ({reason[:200]}); export it again")) from error


def _content(path):
    """Return the bytes of a regular file that protobuf could read."""
    if not path.exists():
        raise ZooError(f"no file {path}")
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise ZooError(f"{path} is no file")
    if about.st_size > limits.LARGEST_FILE:
        raise limits.Refused(f"has {about.st_size:,} bytes; more than {limits.LARGEST_FILE:,} is no ONNX file")
    return path.read_bytes()


def _pieces(model, outside):
    """Return a model as protobuf has it, in pieces: bytes, or a tensor in the place of its values.

    It is what `onnx.ModelProto.SerializeToString` would give, without a second copy of the weights.

    Args:
        model: `onnx_ir.Model`.
        outside: dict of the tensors that lie in another file, name -> (the file's name, offset).
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
    light = ir.to_proto(
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
    tensors = [each for name in sorted(graph.initializers) for each in _initializer(graph, name, outside.get(name))]
    inner = [*_around(light.graph, INITIALIZER, tensors)]
    return _around(light, GRAPH, [_header(GRAPH, inner), *inner])


def _initializer(graph, name, place):
    """Return the pieces of a weight, which lies at a place outside of the file or at None."""
    tensor = graph.initializers[name].const_value
    proto = onnx.TensorProto(name=name, data_type=tensor.dtype.value, dims=tensor.shape.numpy())
    if tensor.doc_string:
        proto.doc_string = tensor.doc_string
    for key in sorted(tensor.metadata_props):
        proto.metadata_props.add(key=key, value=tensor.metadata_props[key])
    if place:
        proto.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", place[0]), ("offset", place[1]), ("length", tensor.nbytes)):
            proto.external_data.add(key=key, value=str(value))
    elif tensor.dtype == ir.DataType.STRING:
        proto.string_data.extend(tensor.string_data())
    values = [] if place or tensor.dtype == ir.DataType.STRING else [_header(RAW_DATA, [tensor]), tensor]
    inner = _around(proto, RAW_DATA, values)
    return [_header(INITIALIZER, inner), *inner]


def _around(message, number, pieces):
    """Return pieces in the place of a message's field of a number, between the bytes of its other fields."""
    before, after = type(message)(), type(message)()
    before.CopyFrom(message)
    after.CopyFrom(message)
    for field, _ in message.ListFields():
        if field.number >= number:
            before.ClearField(field.name)
        if field.number <= number:
            after.ClearField(field.name)
    return [before.SerializeToString(deterministic=True), *pieces, after.SerializeToString(deterministic=True)]


def _header(number, pieces):
    """Return the bytes that protobuf writes before a field of a number: its key and its length."""
    found = bytearray()
    for value in (number << 3 | limits.BYTES, sum(map(_size, pieces))):
        while value > 127:
            found.append(value & 127 | 128)
            value >>= 7
        found.append(value)
    return bytes(found)


def _layout(model):
    """Return the pieces of the file beside and where in it each weight begins: (pieces, dict name -> offset)."""
    pieces, offsets, end = [], {}, 0
    for name, value in sorted(model.graph.initializers.items()):
        tensor = value.const_value
        if tensor.dtype != ir.DataType.STRING and tensor.nbytes > INLINE:
            pieces += [bytes(-end % ALIGNMENT), tensor]
            offsets[name] = end + -end % ALIGNMENT
            end = offsets[name] + tensor.nbytes
    return pieces, offsets


def _size(piece):
    return len(piece) if isinstance(piece, bytes) else piece.nbytes


def _write(pieces, write):
    """Give the bytes of all pieces to a function, one after the other."""
    for piece in pieces:
        write(piece if isinstance(piece, bytes) else _values(piece))


def _values(tensor):
    """Return the bytes of a tensor as ONNX has them, not copied where they lie in memory so already."""
    if tensor.dtype.bitwidth < 8:  # several in a byte
        return tensor.tobytes()
    array = tensor.numpy()
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(little).reshape(-1).view("uint8").data
