"""The commands `zoo targets` and `zoo plan`, run within this process; what needs no model is refused before Keras loads."""

import json
import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from exporters import source, targets
from exporters.commands.plan import plan
from exporters.commands.targets import targets as list_targets
from exporters.onnx import convert, files, half, metadata
from zoo.errors import ZooError


def run(command, *words):
    """Return what a command prints; raises what it raises."""
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(word) for word in words])
    if isinstance(result.exception, ZooError):
        raise result.exception
    assert result.exit_code == 0, repr(result.exception)
    return result.stdout


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Return a function: options of `convert` and whether in float16 -> path of a file of LeNet-5."""
    folder = tmp_path_factory.mktemp("files")

    def write(name, in_half=False, **options):
        graph = convert.convert(source.find("lenet5.mnist", pixels="float32"), **options)
        if in_half:
            about = metadata.find(graph)
            graph = half.to_half(graph)
            metadata.describe(graph, {**about, "precision": "fp16"})
        files.save(graph, folder / name)
        return folder / name

    return write


def test_every_target_is_listed():
    printed = run(list_targets)
    for name in targets.names():
        (line,) = [line for line in printed.splitlines() if line.split(" ")[0] == name]
        board = targets.target(name)
        assert board.board in line and f" {board.memory_gb} " in line
    assert " 14.9? " in printed  # of the TK1, which no document gives
    assert [each["name"] for each in json.loads(run(list_targets, "--json"))] == targets.names()


def test_single_target_is_printed_with_the_source_of_each_fact():
    for name in ("tk1", "orin-nano", "l4"):
        board, printed = targets.target(name), run(list_targets, name)
        data = json.loads(run(list_targets, name, "--json"))
        assert data["sources"] == board.sources and data["unverified"] == list(board.unverified)
        for source_of in [*board.sources.values(), *(pack.source for pack in board.jetpacks)]:
            assert source_of in printed
        for pack in board.jetpacks:
            assert f"L4T {pack.l4t}, TensorRT {pack.tensorrt or 'none'}" in printed
    assert "TensorRT 8.2 reads operator sets up to 13" in run(list_targets, "l4")
    assert run(list_targets, "tk1").endswith("next: zoo export lenet5.mnist --to onnx --runtime onnxruntime\n")


def test_plan_prints_settings_and_estimates():
    printed = run(plan, "lenet5.mnist", "--target", "orin-nano")
    for part in (
        *("Jetson Orin Nano 8GB", "JetPack 7.2.1", "TensorRT 10.16.2.10", "CUDA 13.2", "Python 3.12", "opset 13", "uint8"),
        *("float16", "1 to 64, tuned for 8", "workspace 512 MiB", "MiB", "--stronglyTyped", "68 GB/s, 10 TFLOPS FP16"),
        *("421,984", "batch 1: ", "batch 8: ", "images/s", "lower bound"),
    ):
        assert part in printed
    assert printed.endswith("next: zoo export lenet5.mnist --to tensorrt --target orin-nano --precision fp16\n")
    assert "unverified" not in printed
    assert "unverified: gpu_mhz of Jetson TX2: 1300 MHz" in run(plan, "lenet5.mnist", "--target", "tx2")


def test_plan_with_dla_lists_the_layers_on_the_gpu():
    words = ("lenet5.mnist", "--target", "xavier-nx", "--dla", "--precision", "int8")
    printed = run(plan, *words)
    assert "supports 6 of 10 layers" in printed and "rbf/reducesumsquare: ReduceSumSquare: not documented" in printed
    assert "lower bound for the GPU alone" in printed
    assert "batches    only 4" in run(plan, *words, "--batch", 4)


def test_plan_accepts_a_file(file):
    plain = json.loads(run(plan, file("full.onnx"), "--target", "nano", "--json"))
    assert (plain["model"], plain["precision"], plain["opset"]) == ("lenet5.mnist", "fp16", 13)
    assert plain == json.loads(run(plan, "lenet5.mnist", "--target", "nano", "--json"))
    plain = json.loads(run(plan, file("half.onnx", in_half=True), "--target", "nano", "--json"))
    assert plain["precision"] == "fp16"


@pytest.mark.parametrize(
    ("options", "words", "message"),
    [
        ({"opset": 14}, (), "reads operator sets up to 13; given was --opset 14"),
        ({}, ("--opset", "13"), "--opset is for a model; an .onnx file has its own"),
        ({"batch": 2}, (), "fixed batch or channels last.*zoo plan lenet5.mnist --target nano"),
        ({"layout": "nhwc"}, (), "fixed batch or channels last"),
        ({"in_half": True}, ("--precision", "fp32"), "this file of lenet5.mnist is fp16 already; give --precision fp16"),
    ],
)
def test_file_unsupported_by_the_board_is_an_error(file, options, words, message):
    with pytest.raises(ZooError, match=message):
        run(plan, file("other.onnx", **options), "--target", "nano", *words)


def test_unknown_model_is_an_error_with_a_suggestion():
    with pytest.raises(ZooError, match="did you mean 'lenet5'"):
        run(plan, "lenet", "--target", "nano")
    with pytest.raises(ZooError, match=r"no file none\.onnx"):
        run(plan, "none.onnx", "--target", "nano")


BEFORE_KERAS = """
import sys
from zoo import cli
sys.argv = ["zoo", *sys.argv[1:]]
try:
    cli.main()
finally:
    assert not {"keras", "tensorflow", "onnx", "onnxruntime"} & set(sys.modules)
"""


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("targets",), 0, "Jetson Orin Nano"),
        (("targets", "nano", "--json"), 0, '"tensorrt": "8.2.1"'),
        (("plan", "alexnet", "--target", "tx1", "--precision", "int8"), 2, "has no INT8: .*; give --precision fp16"),
        (("plan", "alexnet", "--target", "tk1"), 2, "zoo export MODEL --to onnx --runtime onnxruntime"),
        (("plan", "alexnet", "--target", "nano", "--batch", "some"), 2, "given was --batch some"),
    ],
)
def test_commands_without_a_model_do_not_import_keras(words, code, message):
    result = subprocess.run([sys.executable, "-c", BEFORE_KERAS, *words], capture_output=True, text=True, timeout=120)
    assert result.returncode == code, result.stderr
    assert "AssertionError" not in result.stderr
    assert re.search(message, result.stdout + result.stderr)
