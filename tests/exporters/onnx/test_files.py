"""Writing and reading ONNX files."""

import os
import resource
import signal
import subprocess
import sys

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from exporters.onnx import files
from exporters.onnx.untrusted import limits
from zoo.errors import ZooError


def end(name, sizes, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, sizes)


def net(seed=0, width=500):
    """Return x @ w + b as an `onnx_ir.Model` with arrays in memory; w is (4, width), and b is not in order of names."""
    generator = np.random.default_rng(seed)
    arrays = {"w": generator.standard_normal((4, width), "float32"), "b": np.arange(width, dtype="float32")}
    x, y = (
        ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["n", size]))
        for name, size in (("x", 4), ("y", width))
    )
    weights = [ir.Value(name=name, const_value=ir.tensor(array, name=name)) for name, array in arrays.items()]
    node = ir.Node("", "Gemm", [x, *weights], outputs=[y])
    graph = ir.Graph([x], [y], nodes=[node], initializers=weights, opset_imports={"": 13}, name="g")
    return ir.Model(graph, ir_version=8), arrays


def run(path, pictures):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": pictures})[0]


X = np.random.default_rng(9).normal(size=(3, 4)).astype("float32")


def all_kinds():
    """Return a model with a branch, a function, strings, and tensors of every bit width."""
    inner = [
        helper.make_graph(
            [helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.float32([number])))],
            name,
            [],
            [end(name, [1])],
        )
        for number, name in enumerate(("then", "else"))
    ]
    nodes = [
        helper.make_node("If", ["yes"], ["number"], then_branch=inner[0], else_branch=inner[1]),
        helper.make_node("Double", ["x"], ["twice"], domain="own"),
        helper.make_node("Add", ["twice", "number"], ["y"]),
    ]
    tensors = [
        numpy_helper.from_array(np.array(True), "yes"),
        numpy_helper.from_array(np.arange(6, dtype="float64").reshape(2, 3), "of doubles"),
        numpy_helper.from_array(np.arange(5).astype(ml_dtypes.bfloat16), "of bfloat16"),
        numpy_helper.from_array(np.arange(5, dtype="float16"), "of halves"),
        numpy_helper.from_array(np.arange(5).astype(ml_dtypes.int4), "of int4"),
        numpy_helper.from_array(np.array([1 + 2j], "complex64"), "complex"),
        numpy_helper.from_array(np.zeros((0, 3), "int64"), "empty"),
        numpy_helper.from_array(np.array(["a", "Ä"], object), "of texts"),
    ]
    tensors[1].doc_string = "some numbers"
    double = helper.make_function(
        "own", "Double", ["a"], ["c"], [helper.make_node("Add", ["a", "a"], ["c"])], [helper.make_opsetid("", 13)]
    )
    graph = helper.make_graph(nodes, "kinds", [end("x", ["n", 1])], [end("y", ["n", 1])], tensors, doc_string="of all kinds")
    return helper.make_model(
        graph,
        producer_name="somebody",
        doc_string="a text",
        functions=[double],
        opset_imports=[helper.make_opsetid("", 13), helper.make_opsetid("own", 1)],
        ir_version=8,
    )


def by_protobuf(model):
    """Return protobuf's bytes of a model with sorted weights, without their redundant value infos."""
    proto = ir.to_proto(model)
    tensors = sorted(proto.graph.initializer, key=lambda tensor: tensor.name)
    value_info = [value for value in proto.graph.value_info if value.name not in {tensor.name for tensor in tensors}]
    for field, kept in ((proto.graph.initializer, tensors), (proto.graph.value_info, value_info)):
        del field[:]
        field.extend(kept)
    return proto.SerializeToString(deterministic=True)


def test_saved_bytes_equal_those_of_protobuf(tmp_path):
    model = ir.from_proto(all_kinds())
    model.metadata_props.update({"z": "1", "a": "2"})
    for name, each in (("net", net()[0]), ("kinds", model)):
        files.save(each, tmp_path / f"{name}.onnx")
        assert (tmp_path / f"{name}.onnx").read_bytes() == by_protobuf(each)
    assert [entry.key for entry in onnx.load(tmp_path / "kinds.onnx").metadata_props] == ["a", "z"]
    onnx.checker.check_model(str(tmp_path / "kinds.onnx"), full_check=True)


def test_save_and_load_round_trip(tmp_path):
    files.save(ir.from_proto(all_kinds()), tmp_path / "kinds.onnx")
    loaded = files.load(tmp_path / "kinds.onnx").graph.initializers
    expected = {tensor.name: numpy_helper.to_array(tensor) for tensor in all_kinds().graph.initializer}
    assert set(loaded) == set(expected)
    texts = expected.pop("of texts")
    assert [text.decode() for text in loaded["of texts"].const_value.string_data()] == texts.tolist()
    for name, array in expected.items():
        result = loaded[name].const_value.numpy()
        assert result.dtype == array.dtype and result.shape == array.shape
        assert result.tobytes() == array.tobytes()


def test_weight_metadata_is_preserved(tmp_path):
    proto = all_kinds()
    for key in ("z", "a"):
        proto.graph.initializer[1].metadata_props.add(key=key, value=key)
    files.save(ir.from_proto(proto), tmp_path / "kinds.onnx")
    weights = {tensor.name: tensor for tensor in onnx.load(tmp_path / "kinds.onnx").graph.initializer}
    assert [entry.key for entry in weights["of doubles"].metadata_props] == ["a", "z"]
    assert weights["of doubles"].doc_string == "some numbers"


def test_typed_value_fields_are_saved_as_raw_data(tmp_path):
    """Other writers use `float_data` instead of `raw_data`."""
    model, weights = net(width=3)
    proto = ir.to_proto(model)
    del proto.graph.initializer[:]
    for name, array in weights.items():
        proto.graph.initializer.append(helper.make_tensor(name, TensorProto.FLOAT, array.shape, array.reshape(-1).tolist()))
    (tmp_path / "theirs.onnx").write_bytes(proto.SerializeToString())
    files.save(files.load(tmp_path / "theirs.onnx"), tmp_path / "ours.onnx")
    files.save(model, tmp_path / "same.onnx")
    assert (tmp_path / "ours.onnx").read_bytes() == (tmp_path / "same.onnx").read_bytes()


def test_non_contiguous_arrays_are_written_in_order(tmp_path):
    model, weights = net()
    for name, value in model.graph.initializers.items():
        value.const_value = ir.Tensor(np.asfortranarray(weights[name]), name=name)
    files.save(model, tmp_path / "turned.onnx")
    np.testing.assert_allclose(run(tmp_path / "turned.onnx", X), X @ weights["w"] + weights["b"], rtol=1e-5)


WRITE = """
import sys
sys.path.insert(0, sys.argv[1])
from test_files import all_kinds, files, ir, net
files.save(ir.from_proto(all_kinds()), "kinds.onnx")
files.MAX_PROTOBUF_BYTES = 1000
files.save(net()[0], "net.onnx")
"""


def test_another_process_writes_the_same_bytes(tmp_path):
    contents = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", WRITE, os.path.dirname(__file__)], cwd=folder, env=environment, check=True)
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert len(contents[0]) == 3 and contents[0] == contents[1]


@pytest.fixture
def small(monkeypatch):
    """The protobuf limit is lowered to 1,000 bytes."""
    monkeypatch.setattr(files, "MAX_PROTOBUF_BYTES", 1000)


def test_large_weights_are_external(tmp_path, small):
    model, weights = net()
    files.save(model, tmp_path / "net.onnx")
    (data,) = files.data_files(tmp_path / "net.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {"net.onnx", data.name}
    assert (tmp_path / "net.onnx").stat().st_size < 1000
    np.testing.assert_allclose(run(tmp_path / "net.onnx", X), X @ weights["w"] + weights["b"], rtol=1e-5)
    for tensor in onnx.load(tmp_path / "net.onnx", load_external_data=False).graph.initializer:
        place = {entry.key: entry.value for entry in tensor.external_data}
        assert place["location"] == data.name and int(place["offset"]) % files.ALIGNMENT == 0
        content = data.read_bytes()[int(place["offset"]) :][: int(place["length"])]
        assert content == weights[tensor.name].tobytes()


def test_small_tensor_stays_inline(tmp_path, small):
    """Readers need shapes without loading the weights."""
    model, weights = net(width=200)  # 3,200 bytes, and a bias of 800
    files.save(model, tmp_path / "net.onnx")
    tensors = {
        tensor.name: tensor for tensor in onnx.load(tmp_path / "net.onnx", load_external_data=False).graph.initializer
    }
    assert tensors["b"].raw_data == weights["b"].tobytes() and not tensors["w"].raw_data


def test_external_weights_are_loaded_and_saved_again(tmp_path, small, monkeypatch):
    model, weights = net()
    files.save(model, tmp_path / "net.onnx")
    monkeypatch.chdir(tmp_path)
    loaded = files.load("net.onnx")
    monkeypatch.chdir("/")
    for name, array in weights.items():
        np.testing.assert_array_equal(loaded.graph.initializers[name].const_value.numpy(), array)
    before = (tmp_path / "net.onnx").read_bytes()
    files.save(loaded, tmp_path / "net.onnx")  # over the file that it is mapped from
    assert (tmp_path / "net.onnx").read_bytes() == before
    monkeypatch.undo()
    files.save(loaded, tmp_path / "whole.onnx")
    assert (tmp_path / "whole.onnx").read_bytes() == by_protobuf(model)


def test_stale_weight_files_are_deleted(tmp_path, small):
    others = ["net.data", "net.onnx.data", "net.onnx.0123456789abcdef.data.txt", "other.onnx.0123456789abcdef.data"]
    for name in others:
        (tmp_path / name).write_text("not ours")
    files.save(net(0)[0], tmp_path / "net.onnx")
    older = files.data_files(tmp_path / "net.onnx")
    model, weights = net(1)
    files.save(model, tmp_path / "net.onnx")
    newer = files.data_files(tmp_path / "net.onnx")
    assert len(older) == len(newer) == 1 and older != newer
    assert {path.name for path in tmp_path.iterdir()} == {"net.onnx", newer[0].name, *others}
    np.testing.assert_allclose(run(tmp_path / "net.onnx", X), X @ weights["w"] + weights["b"], rtol=1e-5)


@pytest.mark.parametrize("limit", [1000, 2**31])
def test_failed_save_keeps_existing_files(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(files, "MAX_PROTOBUF_BYTES", limit)
    files.save(net(0)[0], tmp_path / "net.onnx")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for seed in (0, 1):  # the same model, whose weights are there already, and another one
        with (
            pytest.raises(RuntimeError, match="not good enough"),
            files.saving(net(seed)[0], tmp_path / "net.onnx") as temporary,
        ):
            assert np.isfinite(run(temporary, X)).all()  # it can be tried out before it has its name
            raise RuntimeError("not good enough")
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from test_files import files, net
files.MAX_PROTOBUF_BYTES = 1000
with files.saving(net(1)[0], "net.onnx"):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_process_keeps_existing_files(tmp_path, small):
    model, weights = net(0)
    files.save(model, tmp_path / "net.onnx")
    result = subprocess.run([sys.executable, "-c", KILLED, os.path.dirname(__file__)], cwd=tmp_path)
    assert result.returncode == -signal.SIGKILL
    assert len(files.data_files(tmp_path / "net.onnx")) == 2  # the new weights are whole, and nothing points to them
    np.testing.assert_allclose(run(tmp_path / "net.onnx", X), X @ weights["w"] + weights["b"], rtol=1e-5)


@pytest.mark.parametrize("limit", [1000, 2**31])
def test_full_disk_leaves_no_partial_file(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(files, "MAX_PROTOBUF_BYTES", limit)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            files.save(net()[0], tmp_path / "net.onnx")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


MEMORY = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from test_files import files, net
model, _ = net(width=10_000_000)  # 200 MB
files.MAX_PROTOBUF_BYTES = int(sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
files.save(model, "net.onnx")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.parametrize("limit", [10**8, 2**31])
def test_writing_makes_no_second_copy_of_the_weights(tmp_path, limit):
    words = [sys.executable, "-c", MEMORY, os.path.dirname(__file__), str(limit)]
    result = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert int(result.stdout) < 20e6
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) > 200e6


@pytest.mark.slow("writes and reads a file of more than 2 GB")
def test_model_larger_than_the_protobuf_limit_runs(tmp_path):
    model, weights = net(width=2**27)
    files.save(model, tmp_path / "net.onnx")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) > 2**31 > files.MAX_PROTOBUF_BYTES
    output = run(tmp_path / "net.onnx", X[:1])
    for place in (0, 2**26, 2**27 - 1):
        assert output[0, place] == pytest.approx(X[0] @ weights["w"][:, place] + weights["b"][place], rel=1e-5)
    loaded = files.load(tmp_path / "net.onnx")
    np.testing.assert_array_equal(loaded.graph.initializers["w"].const_value.numpy()[:, -5:], weights["w"][:, -5:])


def test_invalid_files_are_rejected(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")  # to read it would wait for ever
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "long.onnx").touch()
    os.truncate(tmp_path / "long.onnx", limits.MAX_FILE_BYTES + 1)
    (tmp_path / "text.onnx").write_text("I am a text, not a model")
    for name, reason in {
        "missing": "no file",
        "pipe": "is not a regular file",
        "folder": "is not a regular file",
        "empty": "it has no graph",
        "long": "an ONNX file has at most 2,147,483,647",
        "text": "damaged",
    }.items():
        with pytest.raises(ZooError, match=reason) as caught:
            files.load(tmp_path / f"{name}.onnx")
        assert f"{name}.onnx" in str(caught.value)
