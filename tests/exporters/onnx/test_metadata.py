import hashlib
import json
import os

import keras
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import tensorflow as tf
import tf2onnx
from onnx import TensorProto, helper, numpy_helper

import zoo
from exporters import source
from exporters.onnx import convert, files, half, metadata
from exporters.quantization import insert
from zoo.errors import ZooError


@pytest.fixture(scope="module")
def lenet():
    return source.find("lenet5.mnist")


def scaling():
    """A small `onnx_ir.Model` of raw pictures, opset 13."""
    nodes = [helper.make_node("Cast", ["pictures"], ["numbers"], to=TensorProto.FLOAT)]
    nodes.append(helper.make_node("Mul", ["numbers", "w"], ["scores"]))
    ends = [
        helper.make_tensor_value_info(name, kind, ["batch", 2000])
        for name, kind in (("pictures", TensorProto.UINT8), ("scores", TensorProto.FLOAT))
    ]
    tensors = [numpy_helper.from_array(np.arange(2000, dtype="float32"), "w")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8))


@pytest.fixture
def described(lenet, tmp_path):
    """Path of a file that says that it is LeNet."""
    model = scaling()
    metadata.describe(model, metadata.about(lenet, "NHWC"))
    files.save(model, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_metadata_contain_all_facts_of_the_model(lenet):
    about = metadata.about(lenet, "NCHW", "int8")
    card = zoo.card("lenet5")
    assert (about["model"], about["title"], about["year"]) == ("lenet5.mnist", card.title, card.year)
    assert (about["precision"], about["layout"], about["raw_input"]) == ("int8", "NCHW", True)
    assert about["class_names"] == [str(digit) for digit in range(10)]
    assert about["picture"] == lenet.classifier.image_spec
    assert about["weights_sha256"] == lenet.classifier.fingerprint()
    (measured,) = about["weights"]["measured"]
    assert about["weights"]["recipe"] == measured["recipe"] == "lenet5-mnist"
    assert measured["values"] == list(card.weights["mnist"].measured[0].values)
    assert about["licence"] == {"code": "Apache-2.0", "weights": "Apache-2.0"}
    assert about["card"]["paper"]["title"] == card.paper.title and "weights" not in about["card"]
    versions = {module.__name__: module.__version__ for module in (keras, tf, tf2onnx, onnx)}
    assert versions.items() <= about["versions"].items()
    assert set(about["versions"]) - set(versions) == {"history-zoo", "onnx-ir"}


def test_metadata_contain_no_time_or_path(lenet):
    text = json.dumps(metadata.about(lenet, "NCHW"))
    assert os.getcwd() not in text and os.path.expanduser("~") not in text
    assert text == json.dumps(metadata.about(source.find("lenet5.mnist"), "NCHW"))


def test_weights_that_may_have_changed_claim_no_metrics(lenet):
    lenet = lenet.classifier
    about = metadata.about(source.find(lenet), "NCHW")
    assert (about["model"], about["started_from"]) == ("lenet5", "lenet5.mnist")
    assert "weights" not in about and about["licence"] == {"code": "Apache-2.0", "weights": None}


def test_class_ids_are_included_if_present():
    random = zoo.load("linear", classes=["kitten", "Äffchen"])
    assert "class_ids" not in metadata.about(source.find(random))
    random.class_ids = ["n01", "n02"]
    assert metadata.about(source.find(random))["class_ids"] == ["n01", "n02"]


def test_foreign_model_has_name_and_weight_digest(tmp_path):
    net = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2, name="d")], name="theirs")
    model = scaling()
    metadata.describe(model, metadata.about(source.find(net)))
    files.save(model, tmp_path / "theirs.onnx")
    about = metadata.read(tmp_path / "theirs.onnx")
    digest = hashlib.sha256(b"".join(weight.tobytes() for weight in net.get_weights())).hexdigest()
    assert (about["model"], about["weights_sha256"]) == ("theirs", digest)
    assert not {"class_names", "title", "card", "licence", "layout"} & set(about)


def test_metadata_are_readable_by_the_zoo_and_onnxruntime(lenet, described):
    about = metadata.read(described)
    own = {"pixels": "uint8", "opset": 13, "ir_version": 8}
    assert about == {**metadata.about(lenet, "NHWC"), **own}
    session = onnxruntime.InferenceSession(str(described), providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["zoo"]) == about
    assert session.get_modelmeta().description == "LeNet-5 (1998): raw 0-255 pictures -> a score a class"


def test_second_description_replaces_the_first(described):
    model = files.load(described)
    metadata.describe(model, {**metadata.read(described), "precision": "fp16"})
    files.save(model, described)
    assert metadata.read(described)["precision"] == "fp16"
    assert len(onnx.load(described).metadata_props) == 1


def test_class_names_of_any_script_round_trip(tmp_path):
    names = ["Äffchen", "子猫", "😺"]
    model = scaling()
    metadata.describe(model, metadata.about(source.find(zoo.load("linear", classes=names))))
    files.save(model, tmp_path / "model.onnx")
    assert metadata.read(tmp_path / "model.onnx")["class_names"] == names
    assert names[1] in metadata.write_sidecar(tmp_path / "model.onnx").read_text("utf-8")


def test_foreign_and_missing_files_are_errors(tmp_path, described):
    files.save(scaling(), tmp_path / "foreign.onnx")
    with pytest.raises(ZooError, match=r"foreign\.onnx was not exported by the zoo"):
        metadata.read(tmp_path / "foreign.onnx")
    with pytest.raises(ZooError, match="no file"):
        metadata.read(tmp_path / "missing.onnx")
    described.rename(tmp_path / "model.keras")
    with pytest.raises(ZooError, match="only those can be verified"):
        metadata.read(tmp_path / "model.keras")


@pytest.mark.parametrize("limit", [1000, 2**31])
def test_sidecar_contains_the_metadata_and_the_digests(lenet, tmp_path, monkeypatch, limit):
    monkeypatch.setattr(files, "MAX_PROTOBUF_BYTES", limit)
    model = scaling()
    metadata.describe(model, metadata.about(lenet, "NHWC"))
    files.save(model, tmp_path / "model.onnx")
    beside = metadata.write_sidecar(tmp_path / "model.onnx")
    assert beside == tmp_path / "model.json"
    data = json.loads(beside.read_text("utf-8"))
    listed = [data.pop("file"), *data.pop("data", [])]
    others = [path for path in tmp_path.iterdir() if path != beside]
    assert len(listed) == len(others) == (2 if limit == 1000 else 1)
    for path in others:
        content = path.read_bytes()
        facts = {"name": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        assert facts in listed
    assert data == metadata.read(tmp_path / "model.onnx")
    before = beside.read_bytes()
    assert metadata.write_sidecar(tmp_path / "model.onnx").read_bytes() == before


THEIRS = [b"{}", b"[1]", b'"file"', b"not JSON", b'{"file": 3}', b'{"file": {"name": 1}}', b"\xff\xfe", b"[" * 10**5]


@pytest.mark.parametrize("content", THEIRS)
def test_foreign_sidecar_is_not_overwritten(described, content):
    beside = described.with_suffix(".json")
    beside.write_bytes(content)
    for act in (metadata.sidecar, metadata.write_sidecar):
        with pytest.raises(ZooError, match=r"model\.json exists and was not written by the zoo"):
            act(described)
    assert beside.read_bytes() == content


def test_precision_is_read_from_the_graph(lenet):
    full = convert.convert(lenet)
    ranges = dict.fromkeys(insert.tensors(full), (-1.0, 1.0))
    graphs = {"fp32": full, "fp16": half.to_half(full), "int8": insert.quantize(full, ranges)}
    for name, graph in graphs.items():
        graph.metadata_props.clear()
        assert metadata.precision_of(graph) == name
