"""Randomly changed files are rejected with an error or work completely."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import exporters
from exporters import parity
from exporters.onnx import files, info, metadata
from exporters.onnx.untrusted import sandbox
from exporters.quantization import pipeline
from untrusted_models import endless_loop, external_weight, filled, nested_branches
from zoo.errors import ZooError

NUMBERS = st.sampled_from([-1, 0, 1, 2, 3, 7, 2**31 - 1, 2**31, 2**62, -(2**63)]) | st.integers(-(2**63), 2**63 - 1)


TEXTS = st.sampled_from(["", "x", "y", "w", "../data", "data", "\x1b[2J", "\n", "0", "-1", "9" * 30, "yes"])


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Return the bytes of valid files: an exported model, branches, a loop, and external weights."""
    path = tmp_path_factory.mktemp("lenet") / "lenet5.onnx"
    exporters.to_onnx("lenet5.mnist", path)
    protos = [nested_branches(3), endless_loop(), external_weight(location="data", offset="0", length="16"), filled(3, 4)]
    return [path.read_bytes(), *(proto.SerializeToString() for proto in protos)]


def read_all(path):
    """Read a file in every way and return whether it was accepted; an accepted file must be usable to its last weight."""
    try:
        loaded = files.load(path)
    except ZooError as error:
        assert str(path) in str(error)
        for reader in (metadata.read, info.gather):
            with pytest.raises(ZooError):
                reader(path)
        return False
    for value in loaded.graph.initializers.values():
        if value.const_value.dtype != ir.DataType.STRING:
            assert value.const_value.numpy().shape == value.const_value.shape.numpy()
            assert len(value.const_value.tobytes()) == value.const_value.nbytes
    info.print_info(path, as_json=True)
    info.print_info(path, as_json=False)
    try:
        assert metadata.read(path)["model"]
    except ZooError as error:
        assert "was not exported by the zoo" in str(error)
    return True


FUZZ = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(data=st.data())
def test_damaged_bytes_are_rejected_or_read(bases, folder, data):
    content = bytearray(bases[data.draw(st.integers(0, 4))])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(len(content) - 1, 0)) | st.integers(0, min(300, max(len(content) - 1, 0))))
        act = data.draw(st.sampled_from(["cut", "flip", "insert", "remove", "overwrite"]))
        insertion = data.draw(st.binary(min_size=1, max_size=12))
        if act == "cut":
            del content[place:]
        elif act == "flip" and content:
            content[place] ^= 1 << data.draw(st.integers(0, 7))
        elif act == "insert":
            content[place:place] = insertion
        elif act == "remove":
            del content[place : place + len(insertion)]
        else:
            content[place : place + len(insertion)] = insertion
    (folder / "model.onnx").write_bytes(bytes(content))
    read_all(folder / "model.onnx")


def values(field):
    """Return a strategy for the values of a protobuf field."""
    if field.enum_type is not None:
        return st.sampled_from([each.number for each in field.enum_type.values])
    if field.type == field.TYPE_BYTES:
        return st.binary(max_size=40)
    return {
        field.CPPTYPE_STRING: TEXTS,
        field.CPPTYPE_INT32: st.integers(0, 30) | st.integers(-(2**31), 2**31 - 1),
        field.CPPTYPE_INT64: NUMBERS,
        field.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
        field.CPPTYPE_FLOAT: st.floats(width=32),
        field.CPPTYPE_DOUBLE: st.floats(),
    }[field.cpp_type]


def change(message, data):
    """Change a random field of a message or of a nested message, in place."""
    known = [
        field for field in message.DESCRIPTOR.fields if field.name not in ("training_info", "functions", "configuration")
    ]
    set_ = [field for field, _ in message.ListFields() if field in known]
    if not known:
        return
    # Prefer fields that are set: they are the ones that are read.
    field = data.draw(st.sampled_from(set_ * 5 + known), label="field")
    value = getattr(message, field.name)
    if field.message_type is not None and field.is_repeated:
        act = data.draw(st.sampled_from(["within", "within", "within", "remove", "twice", "add", "swap"]))
        if not len(value) or act == "add":
            value.add()
        elif act == "within":
            change(value[data.draw(st.integers(0, len(value) - 1))], data)
        elif act == "remove":
            del value[data.draw(st.integers(0, len(value) - 1))]
        elif act == "twice":
            value.add().CopyFrom(value[data.draw(st.integers(0, len(value) - 2))] if len(value) > 1 else value[0])
        else:
            value.reverse()
    elif field.message_type is not None:
        change(value, data)
    else:
        drawn = data.draw(values(field))
        if field.is_repeated:
            at = data.draw(st.integers(0, len(value)))
            value[at : at + data.draw(st.integers(0, 1))] = [drawn]
        else:
            setattr(message, field.name, drawn)


@FUZZ
@given(data=st.data())
def test_changed_fields_are_rejected_or_read(bases, folder, data):
    proto = onnx.ModelProto.FromString(bases[data.draw(st.integers(0, 4))])
    for _ in range(data.draw(st.integers(1, 3))):
        change(proto, data)
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    read_all(folder / "model.onnx")


def test_unchanged_files_are_valid(bases, folder):
    for content in bases:
        (folder / "model.onnx").write_bytes(content)
        assert read_all(folder / "model.onnx")


def verify_and_quantize(path):
    """Verify and quantize a file; each must end in a report or in an error message."""
    out = path.with_name("out.onnx")
    pictures = np.random.default_rng(0).integers(0, 256, (8, 28, 28, 1), "uint8")
    for act, kind in (
        (lambda: exporters.verify(path), parity.Report),
        (lambda: exporters.quantize(path, out, calibration=pictures), pipeline.Report),
    ):
        out.unlink(missing_ok=True)
        out.with_suffix(".json").unlink(missing_ok=True)
        try:
            assert isinstance(act(), kind)
        except ZooError as error:
            assert str(error) and not out.exists()


CLAIMS = {
    "model": TEXTS | st.sampled_from(["mine.keras", "linear", "lenet5.mnist", "os:getcwd", "../mine.keras"]),
    "precision": st.sampled_from(["fp32", "fp16", "int8", "", "x"]),
    "layout": st.sampled_from(["NCHW", "NHWC", None, "", 3]),
    "pixels": st.sampled_from(["uint8", "float32", "float16", "x", None, 3]),
    "raw_input": st.booleans() | st.none(),
    "weights_sha256": TEXTS,
    "class_names": st.lists(TEXTS, max_size=4) | st.none(),
    "picture": st.none()
    | st.fixed_dictionaries(
        {
            "height": NUMBERS,
            "width": NUMBERS,
            "channels": st.sampled_from([0, 1, 3]),
            "resize": st.sampled_from(["pad", "x"]),
        }
    ),
}


@pytest.mark.slow("tries 60 generated files")
@settings(max_examples=60)
@given(data=st.data())
def test_changed_metadata_ends_in_a_report_or_an_error(data, with_metadata):
    """The sandbox is disabled: the graph is valid."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sandbox, "load", files.load)
        keys = data.draw(st.lists(st.sampled_from(sorted(CLAIMS)), min_size=1, max_size=3, unique=True))
        verify_and_quantize(with_metadata(**{key: data.draw(CLAIMS[key]) for key in keys}))


@pytest.mark.slow("tries 80 generated graphs, each in a sandbox")
@settings(max_examples=80)
@given(data=st.data())
def test_changed_graph_ends_in_a_report_or_an_error(mine, data):
    proto = onnx.load(mine / "mine.onnx")
    for _ in range(data.draw(st.integers(1, 3))):
        change(proto.graph, data)
    (mine / "changed.onnx").write_bytes(proto.SerializeToString())
    verify_and_quantize(mine / "changed.onnx")
