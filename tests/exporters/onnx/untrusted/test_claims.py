"""What a file claims about itself in its metadata and inputs is checked, not trusted."""

import json

import keras
import onnx
import pytest
from onnx import TensorProto, helper

import exporters
from exporters.onnx import files, info, metadata
from exporters.onnx.untrusted import sandbox
from untrusted_models import add_weight, value_info, weight
from zoo import cli
from zoo.errors import ZooError


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
def test_invalid_metadata_is_rejected(folder, text):
    proto = add_weight(weight())
    helper.set_model_props(proto, {"zoo": text})
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ZooError, match="was not exported by the zoo"):
        metadata.read(path)
    assert info.gather(path)["about"] is None


EVIL = "from pathlib import Path\nPath('imported').touch()\ndef net(): Path('called').touch()\n"


@pytest.mark.parametrize(
    "name", ["evil:net", "evil", "evil.net", "evil:net.keras", "./evil:net", "/etc/passwd", "x" * 5000 + ".keras"]
)
def test_model_named_by_a_file_is_not_imported(mine, tmp_path, monkeypatch, name, with_metadata):
    (tmp_path / "evil.py").write_text(EVIL)
    monkeypatch.chdir(tmp_path)
    path = with_metadata(model=name)
    for act in (exporters.verify, lambda path: exporters.quantize(path, tmp_path / "out.onnx", "fp16")):
        with pytest.raises(ZooError, match="name it with --against"):
            act(path)
    assert [each.name for each in tmp_path.iterdir()] == ["evil.py"]
    assert exporters.verify(path, mine / "mine.keras").passed


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_claimed_precision_must_match_the_graph(precision, with_metadata):
    with pytest.raises(ZooError, match=f"says that it is {precision}, but computes in fp32"):
        exporters.verify(with_metadata(precision=precision))


def test_control_characters_are_escaped_in_messages(capsys, with_metadata):
    for claims in ({"model": "\x1b[2J"}, {"model": "\x1b[2J.keras"}, {"weights_sha256": "0", "model": "mine.keras"}):
        with pytest.raises(ZooError) as caught:
            exporters.verify(with_metadata(**claims))
        assert str(caught.value).isprintable()
    with pytest.raises(SystemExit), cli.reporting_errors():
        raise ZooError("one\x1b[2J\ntwo")
    assert capsys.readouterr().err == "zoo: one\\x1b[2J\ntwo\n"


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ([2**20, 1, 28, 28], "takes 1,048,576 inputs at a time"),
        ([0, 1, 28, 28], "takes 0 inputs at a time"),
        ([], "must have one numeric input and one numeric output"),
        (["n", 1, 28], r"takes inputs of .*, the model of \(1, 28, 28\)"),
        (["n", 1, 20, 28], r"takes inputs of .*, the model of \(1, 28, 28\)"),
    ],
)
def test_input_shape_must_match_the_model(mine, monkeypatch, sizes, reason):
    """The sandbox is disabled, because it would reject some of the files first."""
    monkeypatch.setattr(sandbox, "load", files.load)
    proto = onnx.load(mine / "mine.onnx")
    proto.graph.input[0].CopyFrom(value_info("pictures", sizes, TensorProto.UINT8))
    (mine / "changed.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ZooError, match=reason):
        exporters.verify(mine / "changed.onnx")


def test_a_list_of_inputs_in_the_metadata_does_not_allow_several(mine, with_metadata):
    proto = onnx.load(with_metadata(signature={"inputs": [], "outputs": []}))
    proto.graph.input.append(value_info("second", ["n"]))
    (mine / "changed.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ZooError, match=r"lists several inputs or outputs, mine\.keras has one of each"):
        exporters.verify(mine / "changed.onnx")


def test_a_described_model_needs_class_names(mine, tmp_path):
    image = keras.Input((8, 8, 1))
    keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(image))).save(tmp_path / "own.keras")
    exporters.to_onnx(tmp_path / "own.keras", tmp_path / "own.onnx", value_range=(0, 1))
    model = files.load(tmp_path / "own.onnx")
    about = metadata.find(model)
    del about["class_names"]
    model.metadata_props["zoo"] = json.dumps(about)
    (tmp_path / "own.json").unlink()
    files.save(model, tmp_path / "own.onnx")
    with pytest.raises(ZooError, match=r"0 class names, but own\.keras returns 2 scores"):
        exporters.verify(tmp_path / "own.onnx")


def test_second_input_is_rejected(mine):
    proto = onnx.load(mine / "mine.onnx")
    proto.graph.input.append(value_info("second", ["n"]))
    (mine / "changed.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ZooError, match="must have one numeric input and one numeric output"):
        exporters.verify(mine / "changed.onnx")
