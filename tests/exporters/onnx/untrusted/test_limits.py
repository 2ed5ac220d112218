"""Damaged and malicious files are rejected with the reason, without reading or writing anything else."""

import pytest
from onnx import TensorProto, helper

from exporters.onnx import files, info, metadata
from exporters.onnx.untrusted import limits, sandbox
from untrusted_models import (
    F32,
    add_weight,
    external_weight,
    model,
    named_node,
    nested_branches,
    protobuf_field,
    sparse_weight,
    weight,
)
from zoo.errors import ZooError

REJECTED = {
    "negative size": (add_weight(weight(dims=[-4])), r"the invalid shape \[-4\]"),
    "huge size": (add_weight(weight(dims=[2**62, 4])), "the invalid shape"),
    "huge product": (add_weight(weight(dims=[2**39, 2**39])), "more than 8,589,934,592 bytes"),
    "huge and nothing": (add_weight(weight(dims=[0, 2**39, 2**39], raw_data=b"")), "more than 8,589,934,592 bytes"),
    "many axes": (add_weight(weight(dims=[1] * 1000, raw_data=bytes(4))), "the invalid shape .* and more"),
    "short": (add_weight(weight(raw_data=bytes(15))), "has 15 bytes, but its shape and type need 16"),
    "long": (add_weight(weight(raw_data=bytes(17))), "has 17 bytes, but its shape and type need 16"),
    "short int4": (add_weight(weight(data_type=TensorProto.INT4, dims=[5], raw_data=bytes(2))), "need 3"),
    "no values": (add_weight(TensorProto(name="w", data_type=F32, dims=[2**30])), "has 0 values"),
    "few values": (add_weight(TensorProto(name="w", data_type=F32, dims=[4], float_data=[1, 2])), "has 2 values"),
    "values of another type": (add_weight(TensorProto(name="w", data_type=F32, dims=[4], int64_data=[1] * 4)), "float_data"),
    "two kinds of values": (add_weight(weight(float_data=[1] * 4)), "has 16 bytes"),
    "bytes of texts": (add_weight(weight(data_type=TensorProto.STRING)), "has 16 bytes"),
    "unknown type": (add_weight(weight(data_type=99)), "the unknown type 99"),
    "no type": (add_weight(weight(data_type=0)), "the unknown type 0"),
    "segments": (add_weight(weight(segment=TensorProto.Segment(begin=0, end=10**12))), "in segments"),
    "sparse": (sparse_weight(), "sparse tensors"),
    "deep": (nested_branches(20), "nested more than 16 deep"),
    "in an attribute": (
        model([helper.make_node("Constant", [], ["y"], value=weight(dims=[2**40]))]),
        "more than 8,589,934,592 bytes",
    ),
    "twice": (model([helper.make_node("Relu", ["x"], ["y"])] * 2), "damaged"),
    "from nowhere": (model([helper.make_node("Add", ["x", "w"], ["y"])]), "reads 'w', but no node produces it"),
    "to nowhere": (model([helper.make_node("Relu", ["x"], ["z"])]), "reads 'y', but no node produces it"),
    "no name": (model([helper.make_node("Relu", ["x"], ["y"])], [weight(name="")]), "without a name"),
    "no text": (named_node(b"\xff\xfe"), "not UTF-8"),
    "escapes": (add_weight(weight(name="\x1b[2J", dims=[-1])), r"'\\x1b\[2J'"),
    "up": (external_weight(location="../secret"), "only files in its own folder"),
    "up from within": (external_weight(location="inner/../../secret"), "only files in its own folder"),
    "absolute": (external_weight(location="/etc/passwd"), "only files in its own folder"),
    "drive": (external_weight(location="C:secret"), "only files in its own folder"),
    "backslash": (external_weight(location="..\\secret"), "only files in its own folder"),
    "NUL": (external_weight(location="data\0"), "only files in its own folder"),
    "nowhere": (external_weight(location=""), "only files in its own folder"),
    "no place": (external_weight(offset="0"), "is not clear"),
    "unknown key": (external_weight(location="data", basepath="/etc"), "is not clear"),
    "missing": (external_weight(location="missing"), "'missing', which is missing; copy it next to the file"),
    "long name": (external_weight(location="x" * 5000), "cannot be read"),
    "link out": (external_weight(location="link"), "outside its own folder"),
    "link to itself": (external_weight(location="circle"), "cannot be read"),
    "hard link": (external_weight(location="hard"), "several hard links"),
    "folder": (external_weight(location="inner"), "not a regular file"),
    "pipe": (external_weight(location="pipe"), "not a regular file"),
    "far": (external_weight(location="data", offset="99999999999"), "after the end of that file"),
    "behind the end": (external_weight(location="data", offset="4"), "after the end of that file"),
    "before the beginning": (external_weight(location="data", offset="-1"), "'-1' as an offset"),
    "nowhere in particular": (external_weight(location="data", offset="1e3"), "'1e3' as an offset"),
    "another length": (external_weight(location="data", length="8"), "has 8 bytes"),
    "inside and outside": (add_weight(weight(data_location=TensorProto.EXTERNAL)), "both inside and outside the file"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_file_is_rejected_with_the_reason(folder, case):
    proto, reason = REJECTED[case]
    path = folder / "model.onnx"
    path.write_bytes(proto if isinstance(proto, bytes) else proto.SerializeToString())
    for reader in (files.load, metadata.read, info.gather, sandbox.load):
        with pytest.raises(ZooError, match=reason) as caught:
            reader(path)
        assert str(path) in str(caught.value) and str(caught.value).isprintable()


@pytest.mark.parametrize(
    "proto",
    [
        external_weight(location="data"),
        external_weight(location="./data", offset="0", length="16"),
        nested_branches(3),
        add_weight(weight()),
    ],
    ids=["beside", "beside in full", "branches", "whole"],
)
def test_similar_but_harmless_file_is_read(folder, proto):
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    assert sandbox.load(folder / "model.onnx").graph.name == "g"
    facts = info.gather(folder / "model.onnx")
    assert (facts["about"], facts["inputs"][0]["shape"]) == (None, ["n", 4])


@pytest.mark.parametrize(
    "content",
    [
        protobuf_field(7, protobuf_field(1, b"") * 200_000),
        protobuf_field(7, protobuf_field(1, protobuf_field(5, b"") * 200_000)),
        protobuf_field(14, b"") * 200_000,
        protobuf_field(7, protobuf_field(5, bytes([0x08, 1]) * 200_000)),
    ],
    ids=["nodes", "attributes", "metadata", "axes"],
)
def test_many_empty_fields_are_rejected_before_parsing(folder, monkeypatch, content):
    """Protobuf would expand 2 GB of empty nodes to 150 GB."""
    monkeypatch.setattr(limits, "MAX_FIELDS", 100_000)
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(ZooError, match="more than 100,000 protobuf fields"):
        files.load(folder / "model.onnx")


def test_packed_integers_are_rejected_before_parsing(folder, monkeypatch):
    monkeypatch.setattr(limits, "MAX_FILE_BYTES", 10_000)
    content = protobuf_field(7, protobuf_field(5, protobuf_field(7, bytes(2_000))))  # packed int64_data: 8 bytes each
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(ZooError, match="decodes to more than 10,000 bytes"):
        files.load(folder / "model.onnx")
