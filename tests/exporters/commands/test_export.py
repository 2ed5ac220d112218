"""What the commands refuse, before or after Keras starts, and what they call files; run within this process."""

import re
import sys
from pathlib import Path

import keras
import onnx
import pytest
import tf2onnx.constants
import typer
from keras import layers
from typer.testing import CliRunner

from exporters import formats, options, source, targets
from exporters.commands.export import export
from exporters.commands.quantize import quantize
from exporters.commands.verify import verify
from exporters.onnx import convert, files
from zoo.errors import ZooError


def refused(command, *words):
    """Return the words with which a command refuses."""
    app = typer.Typer()
    app.command()(command)
    error = CliRunner().invoke(app, [str(word) for word in words]).exception
    assert isinstance(error, ZooError), repr(error)
    return str(error)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("onnx", "--out", "noSuffix"), "Give --out noSuffix.onnx"),
        (("tflite", "--out", "net.onnx"), "must end in .tflite; given was --out net.onnx. Give --out net.onnx.tflite"),
        (("tflite", "--layout", "nhwc"), "--layout is for --to onnx"),
        (("savedmodel", "--static-batch", "3"), "--static-batch is for --to onnx"),
        (("tensorrt", "--target", "nano", "--layout", "nhwc"), "--layout is for --to onnx; the target sets the input"),
        (("onnx", "--precision", "fp16"), "--precision is for --to tensorrt; onnx is float32, and `zoo quantize`"),
        (("tensorrt",), "name it with --target"),
        (("tensorrt", "--target", "nano", "--precision", "int8"), "give --precision fp16"),
        (("tensorrt", "--target", "tk1"), "zoo export MODEL --to onnx --runtime onnxruntime"),
        (("tensorrt", "--target", "orin-nano", "--batch", "8,1"), "--batch 1,8,64"),
        (("onnx", "--target", "orin-nanno"), "no target 'orin-nanno'; did you mean 'orin-nano'"),
        (("onnx", "--target", "nano", "--opset", "14"), "given was --opset 14. Give --opset 13"),
        (("onnx", "--opset", "99"), "opset 99 is not known to tf2onnx, the newest is 18; give --opset 18"),
        (("onnx", "--ir", "99"), "file format 99 cannot be written"),
        (("onnx", "--ir", "3"), "give --ir 8"),
    ],
)
def test_export_rejects_invalid_options(words, message, tmp_path):
    assert message in refused(export, "linear", "--to", *words)
    assert list(tmp_path.iterdir()) == []


def test_newest_opset_is_that_of_the_converter(tmp_path):
    newest = max(tf2onnx.constants.OPSET_TO_IR_VERSION)
    targets.check(None, newest, onnx.IR_VERSION)
    with pytest.raises(ZooError, match=f"the newest is {newest}"):
        targets.check(None, newest + 1, 8)


def test_verify_reports_a_folder(tmp_path):
    assert "is a folder" in refused(verify, tmp_path)


NETS = """
import keras
net = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
number = 3
def make():
    return net
def broken():
    return {}["sizes"]
def lacking():
    raise AttributeError("of its own")
"""


def test_missing_attribute_suggests_the_nearest_name_and_module_errors_are_reported(tmp_path, monkeypatch):
    (tmp_path / "somenets.py").write_text(NETS)
    (tmp_path / "wrongnets.py").write_text("import nosuchpackage")
    monkeypatch.delitem(sys.modules, "somenets", raising=False)
    for text, message in {
        "somenets:mak": "there is no somenets:mak: somenets has no 'mak'; did you mean 'make'",
        "somenets:net.layrs": "Sequential has no 'layrs'; did you mean 'layers'",
        "somenets:number": "somenets:number must be a Keras model or a function that returns one; it is a int",
        "somenets:broken": "somenets:broken fails: KeyError: 'sizes'",
        "somenets:lacking": "somenets:lacking fails: AttributeError: of its own",
        "nosuchnets:net": "there is no nosuchnets:net",
        "wrongnets:net": "wrongnets cannot be imported: ModuleNotFoundError: No module named 'nosuchpackage'",
    }.items():
        assert message in refused(export, text, "--to", "onnx")
    assert source.find("somenets:net").shape == source.find("somenets:make").shape == (3,)


class Ends(keras.Model):
    """A subclassed model, of which Keras does not know what it gives."""

    def __init__(self, end):
        super().__init__(name="ends")
        self.dense, self.end = layers.Dense(8), end

    def call(self, x):
        return self.end(self.dense(x))


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (lambda x: {"a": x, "b": x}, "ends has 1 input (input) and 2 outputs (a, b). The planner, quantization, bundles"),
        (lambda x: [x, x, x], "ends has 1 input (input) and 3 outputs (output, output_2, output_3)"),
        (lambda x: keras.ops.reshape(x, (-1, 4)), "returns an output of (4, 4) for a batch of 2"),
        (keras.ops.sum, "returns an output of () for a batch of 2"),
    ],
)
def test_model_without_one_row_per_input_is_an_error(end, message):
    model = Ends(end)
    model(keras.ops.zeros((1, 3)))
    with pytest.raises(ZooError, match=re.escape(message)):
        source.find(model)


def test_model_with_a_static_batch_is_run_with_it():
    inputs = keras.Input((3,), batch_size=4)
    assert source.find(keras.Model(inputs, keras.ops.reshape(layers.Dense(2)(inputs), (4, 2)))).shape == (3,)
    model = Ends(lambda x: keras.ops.matmul(keras.ops.ones((1, 1)), x))
    model(keras.ops.zeros((1, 3)))
    with pytest.raises(ZooError, match="ends fails on a batch of 2 zeros"):
        source.find(model)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--scores", "float32"), "--scores is for --precision fp16"),
        (("--precision", "fp16", "--method", "percentile"), "--method is for --precision int8"),
        (("--precision", "fp16", "--calibration", "photos"), "--calibration is for --precision int8"),
        (("--precision", "fp16", "--full-range"), "--full-range is for --precision int8"),
        (("--precision", "fp16", "--sensitivity"), "--sensitivity is for --precision int8"),
        (("--sensitivity", "--exclude", "c1"), "--exclude is for a file that is written"),
        (("--sensitivity", "--max-drop", "0"), "--max-drop is for a file that is written"),
        (("--sensitivity", "--out", "a.onnx"), "--out is for a file that is written"),
        (
            ("--precision", "fp32", "--calibration", "photos"),
            "precision must be int8 or fp16; given was 'fp32'; did you mean 'fp16'",
        ),
        (("--precision", "fp32", "--sensitivity"), "precision must be int8 or fp16; given was 'fp32'; did you mean 'fp16'"),
        (("--against", "best.keras"), "--against is for an .onnx file; linear is the model itself"),
        (("--calibration", "photos", "--out", "small"), "Give --out small.onnx"),
        ((), "INT8 needs calibration images"),
    ],
)
def test_quantize_rejects_options_without_effect(words, message, tmp_path):
    assert message in refused(quantize, "linear", *words)
    assert list(tmp_path.iterdir()) == []


def test_quantize_rejects_a_runtime_for_an_existing_file(tmp_path):
    (tmp_path / "net.onnx").touch()
    words = ("net.onnx", "--calibration", "photos", "--runtime", "tensorrt")
    assert "--runtime is for a model; `zoo export --runtime` has set it" in refused(quantize, *words)
    assert "no file none.onnx" in refused(quantize, "none.onnx")


def test_quantize_rejects_a_static_batch(digits, tmp_path):
    files.save(convert.convert(source.find("xor.patterns"), batch=4), tmp_path / "four.onnx")
    message = refused(quantize, "four.onnx", "--calibration", digits)
    assert "four.onnx takes only batches of 4" in message and "export it without --static-batch" in message


def test_sensitivity_uses_the_model_given_with_against(digits, tmp_path):
    files.save(convert.convert(source.find("xor.patterns")), tmp_path / "xor.onnx")
    words = ("xor.onnx", "--calibration", digits, "--sensitivity", "--against")
    assert "with other weights" in refused(quantize, *words, "xor")


def test_files_are_named_after_the_model():
    assert formats.default_path("lenet5.mnist", ".onnx") == Path("lenet5.mnist.onnx")
    assert formats.default_path("nets:net", ".onnx", "-int8") == Path("nets.net-int8.onnx")
    assert formats.default_path("runs/a/best.keras", "") == Path("best")
    options.check_suffix(Path("a.onnx"), ".onnx")
    options.check_suffix(Path("a"), "")


def test_next_verify_command_names_models_in_other_folders_and_modules():
    assert formats.against("lenet5.mnist", Path("a.onnx")) == []
    assert formats.against("best.keras", Path("a.onnx")) == []
    assert formats.against("best.keras", Path("out/a.onnx")) == ["--against", "best.keras"]
    assert formats.against("nets:net", Path("a.onnx")) == ["--against", "nets:net"]
