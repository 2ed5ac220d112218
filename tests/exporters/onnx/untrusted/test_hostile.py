"""Files that somebody made to harm: each is refused with a reason, and nothing else happens."""

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import exporters
import zoo
from exporters import parity
from exporters.onnx import files, info, metadata
from exporters.onnx.untrusted import limits, sandbox
from exporters.quantization import pipeline
from zoo import cli
from zoo.errors import ZooError

F32 = TensorProto.FLOAT


def end(name, sizes, kind=F32):
    return helper.make_tensor_value_info(name, kind, sizes)


def model(nodes, tensors=(), sizes=("n", 4), output=("n", 4)):
    """A model from x to y."""
    graph = helper.make_graph(list(nodes), "g", [end("x", sizes)], [end("y", output)], list(tensors))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def adding(tensor):
    return model([helper.make_node("Add", ["x", "w"], ["y"])], [tensor])


def weight(**fields):
    """A tensor of four numbers, unless fields say otherwise."""
    return TensorProto(**{"name": "w", "data_type": F32, "dims": [4], "raw_data": bytes(16), **fields})


def outside(**place):
    tensor = TensorProto(name="w", data_type=F32, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in place.items():
        tensor.external_data.add(key=key, value=value)
    return adding(tensor)


def nested(depth):
    """Branches within branches."""
    node = helper.make_node("Relu", ["x"], ["y0"])
    for level in range(1, depth + 1):
        graph = helper.make_graph([node], "g", [], [end(f"y{level - 1}", None)])
        node = helper.make_node("If", ["yes"], [f"y{level}"], then_branch=graph, else_branch=graph)
        if level > 5:  # both branches of all would be two to the power of the depth
            del node.attribute[1:]
    tensors = [numpy_helper.from_array(np.array(True), "yes")]
    return model([node, helper.make_node("Identity", [f"y{depth}"], ["y"])], tensors)


def endless():
    """A loop of 2^62 turns."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Neg", ["a"], ["b"])],
        "body",
        [end("i", [], TensorProto.INT64), end("go", [], TensorProto.BOOL), end("a", ["n", 4])],
        [end("on", [], TensorProto.BOOL), end("b", ["n", 4])],
    )
    tensors = [numpy_helper.from_array(np.array(2**62), "times"), numpy_helper.from_array(np.array(True), "yes")]
    return model([helper.make_node("Loop", ["times", "yes", "x"], ["y"], body=body)], tensors)


def filling(*sizes):
    """Numbers of a shape that is a constant of a few bytes."""
    shape = numpy_helper.from_array(np.array(sizes), "shape")
    return model([helper.make_node("ConstantOfShape", ["shape"], ["y"])], [shape], output=[None] * len(sizes))


def circle():
    ends = (("b", "a"), ("a", "b"), ("b", "y"))
    return model(helper.make_node("Relu", [given], [result]) for given, result in ends)


def sparse():
    proto = adding(weight())
    proto.graph.sparse_initializer.add().dims.extend([10**9])
    return proto


def named(name):
    """A file whose node has a name of any bytes, as protobuf writes none."""
    content = model([helper.make_node("Relu", ["x"], ["y"], name="name"[: len(name)])]).SerializeToString()
    return content.replace(b"\x1a" + bytes([len(name)]) + b"name"[: len(name)], b"\x1a" + bytes([len(name)]) + name)


REFUSED = {
    "negative size": (adding(weight(dims=[-4])), r"the impossible shape \[-4\]"),
    "huge size": (adding(weight(dims=[2**62, 4])), "the impossible shape"),
    "huge product": (adding(weight(dims=[2**39, 2**39])), "more than 8,589,934,592 bytes"),
    "huge and nothing": (adding(weight(dims=[0, 2**39, 2**39], raw_data=b"")), "more than 8,589,934,592 bytes"),
    "many axes": (adding(weight(dims=[1] * 1000, raw_data=bytes(4))), "the impossible shape .* and more"),
    "short": (adding(weight(raw_data=bytes(15))), "has 15 bytes, and its shape and type need 16"),
    "long": (adding(weight(raw_data=bytes(17))), "has 17 bytes, and its shape and type need 16"),
    "short int4": (adding(weight(data_type=TensorProto.INT4, dims=[5], raw_data=bytes(2))), "need 3"),
    "no values": (adding(TensorProto(name="w", data_type=F32, dims=[2**30])), "has 0 values"),
    "few values": (adding(TensorProto(name="w", data_type=F32, dims=[4], float_data=[1, 2])), "has 2 values"),
    "values of another type": (adding(TensorProto(name="w", data_type=F32, dims=[4], int64_data=[1] * 4)), "float_data"),
    "two kinds of values": (adding(weight(float_data=[1] * 4)), "has 16 bytes"),
    "bytes of texts": (adding(weight(data_type=TensorProto.STRING)), "has 16 bytes"),
    "unknown type": (adding(weight(data_type=99)), "the unknown type 99"),
    "no type": (adding(weight(data_type=0)), "the unknown type 0"),
    "segments": (adding(weight(segment=TensorProto.Segment(begin=0, end=10**12))), "in segments"),
    "sparse": (sparse(), "sparse tensors"),
    "deep": (nested(20), "nested more than 16 deep"),
    "in an attribute": (
        model([helper.make_node("Constant", [], ["y"], value=weight(dims=[2**40]))]),
        "more than 8,589,934,592 bytes",
    ),
    "twice": (model([helper.make_node("Relu", ["x"], ["y"])] * 2), "damaged"),
    "from nowhere": (model([helper.make_node("Add", ["x", "w"], ["y"])]), "nothing in it makes 'w'"),
    "to nowhere": (model([helper.make_node("Relu", ["x"], ["z"])]), "nothing in it makes 'y'"),
    "no name": (model([helper.make_node("Relu", ["x"], ["y"])], [weight(name="")]), "without a name"),
    "no text": (named(b"\xff\xfe"), "no UTF-8"),
    "escapes": (adding(weight(name="\x1b[2J", dims=[-1])), r"'\\x1b\[2J'"),
    "up": (outside(location="../secret"), "only a file in its own folder"),
    "up from within": (outside(location="inner/../../secret"), "only a file in its own folder"),
    "absolute": (outside(location="/etc/passwd"), "only a file in its own folder"),
    "drive": (outside(location="C:secret"), "only a file in its own folder"),
    "backslash": (outside(location="..\\secret"), "only a file in its own folder"),
    "NUL": (outside(location="data\0"), "only a file in its own folder"),
    "nowhere": (outside(location=""), "only a file in its own folder"),
    "no place": (outside(offset="0"), "does not say clearly"),
    "unknown key": (outside(location="data", basepath="/etc"), "does not say clearly"),
    "missing": (outside(location="missing"), "'missing', which is missing; put it beside"),
    "long name": (outside(location="x" * 5000), "cannot be read"),
    "link out": (outside(location="link"), "leads out of its folder"),
    "link to itself": (outside(location="circle"), "cannot be read"),
    "hard link": (outside(location="hard"), "hard links"),
    "folder": (outside(location="inner"), "no regular file"),
    "pipe": (outside(location="pipe"), "no regular file"),
    "far": (outside(location="data", offset="99999999999"), "behind the end of that file"),
    "behind the end": (outside(location="data", offset="4"), "behind the end of that file"),
    "before the beginning": (outside(location="data", offset="-1"), "lies at '-1'"),
    "nowhere in particular": (outside(location="data", offset="1e3"), "lies at '1e3'"),
    "another length": (outside(location="data", length="8"), "has 8 bytes"),
    "inside and outside": (adding(weight(data_location=TensorProto.EXTERNAL)), "in the file and outside of it"),
}


@pytest.fixture
def folder(tmp_path):
    """A folder with traps, whose content and whose surroundings are to be the same afterwards."""
    (tmp_path / "secret").write_bytes(bytes(16))
    inside = tmp_path / "inside"
    (inside / "inner").mkdir(parents=True)
    (inside / "data").write_bytes(np.arange(4, dtype="float32").tobytes())
    (inside / "link").symlink_to("../secret")
    (inside / "circle").symlink_to("circle")
    os.link(tmp_path / "secret", inside / "hard")
    os.mkfifo(inside / "pipe")
    before = listing(tmp_path)
    yield inside
    (inside / "model.onnx").unlink()
    assert listing(tmp_path) == before


def listing(folder):
    """All below a folder, with what says whether it was changed."""
    paths = [path for path in folder.rglob("*") if path.name != "model.onnx"]
    facts = [(path.lstat().st_size, path.lstat().st_mtime_ns) for path in paths if not path.is_dir()]
    return sorted(paths), sorted(facts)


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_with_the_reason(folder, case):
    proto, reason = REFUSED[case]
    path = folder / "model.onnx"
    path.write_bytes(proto if isinstance(proto, bytes) else proto.SerializeToString())
    for reader in (files.load, metadata.read, info.gather, sandbox.check):
        with pytest.raises(ZooError, match=reason) as caught:
            reader(path)
        assert str(path) in str(caught.value) and str(caught.value).isprintable()


@pytest.mark.parametrize(
    "proto",
    [outside(location="data"), outside(location="./data", offset="0", length="16"), nested(3), adding(weight())],
    ids=["beside", "beside in full", "branches", "whole"],
)
def test_what_is_like_it_and_harmless_is_read(folder, proto):
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    assert sandbox.check(folder / "model.onnx").graph.name == "g"
    facts = info.gather(folder / "model.onnx")
    assert (facts["about"], facts["inputs"][0]["shape"]) == (None, ["n", 4])


def field(number, content):
    """The bytes of a field of protobuf, of any length."""
    length, found = len(content), bytes([number << 3 | 2])
    while length > 127:
        found, length = found + bytes([length & 127 | 128]), length >> 7
    return found + bytes([length]) + content


@pytest.mark.parametrize(
    "content",
    [
        field(7, field(1, b"") * 200_000),
        field(7, field(1, field(5, b"") * 200_000)),
        field(14, b"") * 200_000,
        field(7, field(5, bytes([0x08, 1]) * 200_000)),
    ],
    ids=["nodes", "attributes", "metadata", "axes"],
)
def test_a_few_bytes_do_not_become_gigabytes(folder, monkeypatch, content):
    """Of 2 GB of empty nodes protobuf would make 150 GB."""
    monkeypatch.setattr(limits, "MOST_FIELDS", 100_000)
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(ZooError, match="more than 100,000 fields"):
        files.load(folder / "model.onnx")


def test_numbers_of_a_byte_do_not_become_gigabytes(folder, monkeypatch):
    monkeypatch.setattr(limits, "LARGEST_FILE", 10_000)
    content = field(7, field(5, field(7, bytes(2_000))))  # int64_data, packed: 8 bytes in memory for each
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(ZooError, match="unpacks to more than 10,000 bytes"):
        files.load(folder / "model.onnx")


@pytest.mark.parametrize(
    ("proto", "reason"),
    [
        (filling(10**12), "does not run"),
        (filling(2**16, 2**16, 2), "does not run"),
        (circle(), "sorted"),
        (model([helper.make_node("Relu", ["x"], ["y"], domain="of.nobody")]), "does not run"),
        (model([helper.make_node("Gemm", ["x", "x"], ["y"])], sizes=(3, 4)), "does not run"),
        (model([helper.make_node("Relu", ["x"], ["y"])], sizes=(10**6, 10**6), output=(10**6, 10**6)), "more memory"),
    ],
    ids=["10^12 numbers", "32 GB", "circle", "unknown operator", "wrong sizes", "huge input"],
)
def test_what_does_not_run_is_refused_by_the_probe(folder, proto, reason):
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ZooError, match=reason) as caught:
        sandbox.check(path)
    assert str(path) in str(caught.value)


def test_what_never_ends_is_stopped(folder, monkeypatch):
    monkeypatch.setattr(sandbox, "SECONDS", 2)
    path = folder / "model.onnx"
    path.write_bytes(endless().SerializeToString())
    with pytest.raises(ZooError, match="was stopped after 2 seconds of the CPU"):
        sandbox.check(path)


BOUND = """
import resource, sys
from exporters.onnx import probe
for kind in (resource.RLIMIT_CPU, resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
    resource.setrlimit(kind, (50, 50))
print(probe.check(sys.argv[1]).graph.name)
"""


def test_a_user_who_may_use_less_may_probe_too(folder):
    path = folder / "model.onnx"
    path.write_bytes(adding(weight()).SerializeToString())
    done = subprocess.run([sys.executable, "-c", BOUND, str(path)], capture_output=True, text=True)
    assert done.stdout == "g\n", done.stderr


CRASHING = """
import sys
{act}
"""


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "onnxruntime crashes with SIGSEGV"),
        ("sys.exit(7)", "onnxruntime ends with 7"),
        ("print('first', 'second\\x1b[2J'); sys.exit(1)", r"first second\\x1b\[2J"),
        ("open('here', 'w').write('x')", None),
    ],
)
def test_what_happens_to_the_child_happens_to_nobody_else(folder, tmp_path_factory, monkeypatch, act, reason):
    """The child's own file is another one here: what crashes onnxruntime today will be mended tomorrow."""
    child = tmp_path_factory.mktemp("child") / "probe_child.py"
    child.write_text(CRASHING.format(act=act))
    monkeypatch.setattr(sandbox, "__file__", str(child.with_name("sandbox.py")))
    path = folder / "model.onnx"
    path.write_bytes(adding(weight()).SerializeToString())
    if reason is None:
        assert sandbox.check(path).graph.name == "g"  # what it writes is gone with the folder that it was in
    else:
        with pytest.raises(ZooError, match=reason):
            sandbox.check(path)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "9" * 100_000,
        '{"model": "\\ud800"}',
        '{"model": "lenet5", "weights_sha256": "0", "class_names": 3}',
        '{"model": "lenet5", "weights_sha256": "0", "precision": "int4"}',
        '{"model": "lenet5", "weights_sha256": "0", "layout": "CHWN"}',
        "{}",
        "null",
    ],
)
def test_metadata_that_are_not_ours_are_refused(folder, text):
    proto = adding(weight())
    helper.set_model_props(proto, {"zoo": text})
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ZooError, match="was not exported by the zoo"):
        metadata.read(path)
    assert info.gather(path)["about"] is None


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """The bytes of files that are in order: of the zoo, with branches and a loop, and with weights beside."""
    path = tmp_path_factory.mktemp("lenet") / "lenet5.onnx"
    exporters.to_onnx("lenet5.mnist", path)
    protos = [nested(3), endless(), outside(location="data", offset="0", length="16"), filling(3, 4)]
    return [path.read_bytes(), *(proto.SerializeToString() for proto in protos)]


def read_all(path):
    """Read a file in every way; what is accepted has to be usable, down to the last weight."""
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
    info.tell(path, as_json=True)
    info.tell(path, as_json=False)
    try:
        assert metadata.read(path)["model"]
    except ZooError as error:
        assert "was not exported by the zoo" in str(error)
    return True


FUZZ = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(data=st.data())
def test_damaged_bytes_are_refused_or_read(bases, folder, data):
    content = bytearray(bases[data.draw(st.integers(0, 4))])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(len(content) - 1, 0)) | st.integers(0, min(300, max(len(content) - 1, 0))))
        act = data.draw(st.sampled_from(["cut", "flip", "insert", "remove", "overwrite"]))
        some = data.draw(st.binary(min_size=1, max_size=12))
        if act == "cut":
            del content[place:]
        elif act == "flip" and content:
            content[place] ^= 1 << data.draw(st.integers(0, 7))
        elif act == "insert":
            content[place:place] = some
        elif act == "remove":
            del content[place : place + len(some)]
        else:
            content[place : place + len(some)] = some
    (folder / "model.onnx").write_bytes(bytes(content))
    read_all(folder / "model.onnx")


NUMBERS = st.sampled_from([-1, 0, 1, 2, 3, 7, 2**31 - 1, 2**31, 2**62, -(2**63)]) | st.integers(-(2**63), 2**63 - 1)
TEXTS = st.sampled_from(["", "x", "y", "w", "../data", "data", "\x1b[2J", "\n", "0", "-1", "9" * 30, "yes"])


def values(field):
    """A strategy for what a field of protobuf may hold."""
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
    """Change a field of a message or of one within it, in place."""
    known = [
        field for field in message.DESCRIPTOR.fields if field.name not in ("training_info", "functions", "configuration")
    ]
    set_ = [field for field, _ in message.ListFields() if field in known]
    if not known:
        return
    # Mostly what is there already: it is what somebody reads.
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
def test_changed_fields_are_refused_or_read(bases, folder, data):
    proto = onnx.ModelProto.FromString(bases[data.draw(st.integers(0, 4))])
    for _ in range(data.draw(st.integers(1, 3))):
        change(proto, data)
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    read_all(folder / "model.onnx")


def test_the_files_that_are_changed_here_are_in_order(bases, folder):
    for content in bases:
        (folder / "model.onnx").write_bytes(content)
        assert read_all(folder / "model.onnx")


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A user's model and its file, side by side."""
    folder = tmp_path_factory.mktemp("mine")
    classifier = zoo.load("linear", classes=["kitten", "dog", "fish"])
    generator = np.random.default_rng(0)
    classifier.set_weights([generator.normal(size=weight.shape) for weight in classifier.get_weights()])
    classifier.save(folder / "mine.keras")
    exporters.to_onnx(folder / "mine.keras", folder / "mine.onnx")
    return folder


def saying(folder, **claims):
    """The path of a copy of a user's file that says other things about itself."""
    changed = files.load(folder / "mine.onnx")
    changed.metadata_props["zoo"] = json.dumps({**metadata.find(changed), **claims})
    files.save(changed, folder / "changed.onnx")
    return folder / "changed.onnx"


EVIL = "from pathlib import Path\nPath('imported').touch()\ndef net(): Path('called').touch()\n"


@pytest.mark.parametrize(
    "name", ["evil:net", "evil", "evil.net", "evil:net.keras", "./evil:net", "/etc/passwd", "x" * 5000 + ".keras"]
)
def test_a_model_that_a_file_names_is_not_imported(mine, tmp_path, monkeypatch, name):
    (tmp_path / "evil.py").write_text(EVIL)
    monkeypatch.chdir(tmp_path)
    path = saying(mine, model=name)
    for act in (exporters.verify, lambda path: exporters.quantize(path, tmp_path / "out.onnx", "fp16")):
        with pytest.raises(ZooError, match="name it with --against"):
            act(path)
    assert [each.name for each in tmp_path.iterdir()] == ["evil.py"]
    assert exporters.verify(path, mine / "mine.keras").passed


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_file_that_claims_to_be_coarse_is_held_to_what_it_is(mine, precision):
    with pytest.raises(ZooError, match=f"says that it is {precision}, but computes in fp32"):
        exporters.verify(saying(mine, precision=precision))


def test_what_a_file_says_does_not_reach_the_terminal_as_it_is(mine, capsys):
    for claims in ({"model": "\x1b[2J"}, {"model": "\x1b[2J.keras"}, {"weights_sha256": "0", "model": "mine.keras"}):
        with pytest.raises(ZooError) as caught:
            exporters.verify(saying(mine, **claims))
        assert str(caught.value).isprintable()
    with pytest.raises(SystemExit):
        cli._end("one\x1b[2J\ntwo", 2)
    assert capsys.readouterr().err == "zoo: one\\x1b[2J\ntwo\n"


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ([2**20, 1, 28, 28], "takes 1,048,576 inputs at a time"),
        ([0, 1, 28, 28], "takes 0 inputs at a time"),
        ([], "not one input and one output"),
        (["n", 1, 28], r"takes inputs of .*, the model of \(1, 28, 28\)"),
        (["n", 1, 20, 28], r"takes inputs of .*, the model of \(1, 28, 28\)"),
    ],
)
def test_an_input_that_the_model_has_not_is_refused(mine, monkeypatch, sizes, reason):
    """The file is not tried out in a process of its own, which would refuse some of them before."""
    monkeypatch.setattr(sandbox, "check", files.load)
    proto = onnx.load(mine / "mine.onnx")
    proto.graph.input[0].CopyFrom(end("pictures", sizes, TensorProto.UINT8))
    (mine / "changed.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ZooError, match=reason):
        exporters.verify(mine / "changed.onnx")


def test_a_file_of_two_inputs_is_refused(mine):
    proto = onnx.load(mine / "mine.onnx")
    proto.graph.input.append(end("second", ["n"]))
    (mine / "changed.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ZooError, match="not one input and one output"):
        exporters.verify(mine / "changed.onnx")


def verify_and_quantize(path):
    """Do with a file all that a user does; it ends with a report or with an error that says what is wrong."""
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
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_a_file_says_of_itself_ends_in_a_report_or_an_error(mine, data):
    """The graph is in order, so that it is not tried out in a process of its own here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sandbox, "check", files.load)
        keys = data.draw(st.lists(st.sampled_from(sorted(CLAIMS)), min_size=1, max_size=3, unique=True))
        verify_and_quantize(saying(mine, **{key: data.draw(CLAIMS[key]) for key in keys}))


@pytest.mark.slow("tries 80 generated graphs, each in a sandbox")
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_whatever_a_graph_is_ends_in_a_report_or_an_error(mine, data):
    proto = onnx.load(mine / "mine.onnx")
    for _ in range(data.draw(st.integers(1, 3))):
        change(proto.graph, data)
    (mine / "changed.onnx").write_bytes(proto.SerializeToString())
    verify_and_quantize(mine / "changed.onnx")
