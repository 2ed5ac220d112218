"""Settings of a target: errors name working alternatives, and defaults follow the target."""

import re

import pytest

from exporters import targets
from exporters.options import EngineOptions, parse_batches
from exporters.planner.settings import resolve
from zoo.errors import ZooError


def settings(target, precision=None, **options):
    return resolve(EngineOptions(target=target, precision=precision, **options))


REFUSED = [
    ("tx1", {"precision": "int8"}, "Jetson TX1 has no INT8: .*give --precision fp16"),
    ("tx2", {"precision": "int8"}, "give --precision fp16"),
    ("nano", {"precision": "int8"}, "give --precision fp16"),
    ("tk1", {}, "no TensorRT for Jetson TK1.*zoo export MODEL --to onnx --runtime onnxruntime"),
    ("orin-nanno", {}, "no target 'orin-nanno'; did you mean 'orin-nano'"),
    ("nano", {"precision": "int4"}, "precision must be fp32, fp16 or int8; given was 'int4'; did you mean 'int8'"),
    ("orin-nano", {"dla": True}, "Jetson Orin Nano 8GB has no DLA; leave --dla out"),
    ("h100", {"dla": True}, "has no DLA"),
    ("xavier-nx", {"dla": True, "precision": "fp32"}, "give --precision fp16"),
    ("orin-nx", {"dla": True}, "10.16.2.10 of JetPack 7.2.1 cannot use the DLA.*Give --jetpack 6.2.3 .* with --dla"),
    ("agx-orin", {"dla": True}, "TensorRT 11.4.1 can use it again.*Give --jetpack 6.2.3"),
    ("agx-orin-32gb-super", {"dla": True}, "11.4.1 can use it again.*Leave --dla out"),
    (
        "xavier-nx",
        {"precision": "int8", "jetpack": "4.5.1"},
        "reads no QuantizeLinear.*give --jetpack 5.1.4 .*--precision fp16",
    ),
    ("l4", {"precision": "int8", "tensorrt": "7.1"}, "reads no QuantizeLinear.*give --tensorrt 11.5"),
    ("nano", {"jetpack": "4.3"}, "TensorRT 6.0.1 of JetPack 4.3 .*not documented here; give --jetpack 4.6.2"),
    ("tx2", {"jetpack": "3.3"}, "give --jetpack 4.6.2"),
    ("nano", {"jetpack": "5.1"}, "no JetPack '5.1' is known for Jetson Nano"),
    ("nano", {"tensorrt": "8.2"}, "--tensorrt is for graphics cards.*give --jetpack VERSION"),
    ("l4", {"jetpack": "5.1"}, "takes no JetPack; give --tensorrt VERSION"),
    ("l4", {"tensorrt": "10.2"}, "nothing is known of TensorRT '10.2'; did you mean '10.7'"),
    ("nano", {"opset": 14}, "reads operator sets up to 13; given was --opset 14. Give --opset 13"),
    ("orin-nano", {"opset": 19}, "not known to tf2onnx, the newest is 18; give --opset 18"),
    ("orin-nano", {"opset": 25}, "reads operator sets up to 24; given was --opset 25. Give --opset 18"),
    ("orin-nano", {"precision": "int8", "opset": 12}, "opset 12 is too old for int8, which begins with 13"),
    ("nano", {"batches": (8, 1, 64)}, "as in --batch 1,8,64; given was --batch 8,1,64"),
    ("nano", {"batches": (0, 1, 2)}, "given was --batch 0,1,2"),
    ("nano", {"batches": (1, 2)}, "given was --batch 1,2"),
    ("orin-nx", {"dla": True, "jetpack": "6.2.3", "batches": (1, 8, 8)}, "have one size; give --batch 8"),
]


@pytest.mark.parametrize(("name", "options", "message"), REFUSED)
def test_unsupported_settings_name_the_supported_ones(name, options, message):
    with pytest.raises(ZooError, match=message):
        settings(name, **options)


def test_suggested_settings_are_supported():
    """Apply each suggested option."""
    followed = 0
    for name, options, _ in REFUSED:
        with pytest.raises(ZooError) as refusal:
            settings(name, **options)
        offers = re.findall(
            r"[Gg]ive --(precision|jetpack|tensorrt|opset|batch) ([\w.,]*\d)(?= |$|,|\))", str(refusal.value)
        )
        for option, value in offers:
            changed = (
                {"batches": parse_batches(value)}
                if option == "batch"
                else {option: int(value) if option == "opset" else value}
            )
            settings(name, **{**options, **changed})
            followed += 1
    assert followed >= 15


def test_each_board_is_planned_in_float16_with_its_newest_jetpack():
    for name in targets.names():
        if name == "tk1":
            continue
        resolved = settings(name)
        board = targets.target(name)
        assert resolved.opset == 13 and resolved.ir == 8 and resolved.profile == (1, 8, 64)
        assert resolved.tensorrt_version == (board.jetpack().tensorrt if board.is_jetson else "11.5")
        assert 64 <= resolved.workspace_mb <= board.memory_gb * 1024 / 8


@pytest.mark.parametrize(
    ("name", "options", "opset", "pixels", "typed"),
    [
        ("xavier-nx", {"jetpack": "4.5.1"}, 11, "float32", False),
        ("nano", {}, 13, "float32", False),
        ("xavier-nx", {}, 13, "uint8", False),
        ("orin-nano", {}, 13, "uint8", True),
        ("orin-nano", {"opset": 17}, 17, "uint8", True),
        ("a100", {"tensorrt": "8.4"}, 13, "float32", False),
        ("a100", {}, 13, "uint8", True),
        ("orin-nx", {"jetpack": "6.2.3", "dla": True}, 13, "uint8", False),
    ],
)
def test_opset_and_pixels_follow_the_parser(name, options, opset, pixels, typed):
    resolved = settings(name, **options)
    assert (resolved.opset, resolved.pixels, resolved.strongly_typed) == (opset, pixels, typed)


def test_on_the_dla_int8_takes_a_table_and_one_size_of_batches():
    resolved = settings("agx-orin", "int8", jetpack="6.2.3", dla=True)
    assert resolved.calibration_table and resolved.profile == (1, 1, 1)
    assert settings("agx-orin", "fp16", jetpack="6.2.3", dla=True, batches=(8,)).profile == (8, 8, 8)
    assert not settings("agx-orin", "int8", jetpack="6.2.3").calibration_table


def test_unverified_facts_are_warnings():
    assert settings("orin-nano").warnings == ()
    assert settings("t5000").warnings == ()  # of its facts only the name of the chip is not documented
    (pack,) = settings("nano", jetpack="4.6.6").warnings
    assert pack.startswith("JetPack 4.6.6: that it has the TensorRT, CUDA and cuDNN of 4.6.1")
    (clock,) = settings("tx2").warnings
    assert clock.startswith("gpu_mhz of Jetson TX2: 1300 MHz")
    assert settings("t4").warnings == ("that TensorRT 11.5 runs on compute capability 7.5",)
    assert any(
        "DLA in TensorRT 8.6: between 8.5 and 10.0" in each for each in settings("orin-nx", jetpack="6.0", dla=True).warnings
    )


@pytest.mark.parametrize(("text", "numbers"), [(None, None), ("8", (8,)), ("1,8,64", (1, 8, 64))])
def test_batches_are_parsed_from_text(text, numbers):
    assert parse_batches(text) == numbers


@pytest.mark.parametrize("text", ["", "a", "1;8", "1,,2"])
def test_invalid_batches_are_errors(text):
    with pytest.raises(ZooError, match="a batch is one number from 1"):
        parse_batches(text)
