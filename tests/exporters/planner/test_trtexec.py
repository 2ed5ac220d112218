"""The trtexec commands, against a table of the flags of each version and of the required options."""

import shlex

import pytest

from exporters import targets
from exporters.options import EngineOptions
from exporters.planner import trtexec
from exporters.planner.settings import resolve

# First and last version that knows a flag: NVIDIA's help texts of 7.1 to 11, and its pages on migration to 10 and to 11.
LIFE = {
    **{"--workspace": ((7, 0), (8, 6)), "--explicitBatch": ((7, 0), (8, 6)), "--buildOnly": ((7, 0), (8, 6))},
    **{"--memPoolSize": ((8, 5), (99,)), "--skipInference": ((8, 6), (99,)), "--stronglyTyped": ((10, 0), (99,))},
    **{"--fp16": ((7, 0), (10, 99)), "--int8": ((7, 0), (10, 99)), "--calib": ((7, 0), (10, 99))},
    **dict.fromkeys(("--onnx", "--saveEngine", "--minShapes", "--optShapes", "--maxShapes"), ((7, 0), (99,))),
    "--noTF32": ((7, 0), (99,)),
    **dict.fromkeys(("--useDLACore", "--allowGPUFallback"), ((7, 0), (99,))),
}


def words(name, precision, **options):
    """Return the flags of a command and their values."""
    resolved = resolve(EngineOptions(target=name, precision=precision, **options))
    program, *rest = shlex.split(trtexec.line(resolved, "pictures", (3, 227, 227)))
    assert program.endswith("trtexec")
    return dict(word.partition("=")[::2] for word in rest)


@pytest.mark.parametrize(
    ("version", "precision"),
    [
        (version, precision)
        for version in targets.tensorrt_versions()
        for precision in ("fp32", "fp16", "int8")
        if (version, precision) != ("7.1", "int8")
    ],
)
def test_flags_exist_in_each_version(version, precision):
    flags = words("t4", precision, tensorrt=version)
    release = targets.number(version)[:2]
    for flag in flags:
        first, last = LIFE[flag]
        assert first <= release <= last, flag
    assert len({"--workspace", "--memPoolSize"} & set(flags)) == 1
    assert len({"--buildOnly", "--skipInference"} & set(flags)) == 1
    typed = {"--stronglyTyped", "--fp16", "--int8"} & set(flags)
    weak = {"fp32": set(), "fp16": {"--fp16"}, "int8": {"--int8"}}[precision]
    assert ("--noTF32" in flags) == (precision == "fp32")
    assert typed == ({"--stronglyTyped"} if release >= (10, 0) else weak)


def test_command_for_a_nano():
    assert words("nano", "fp16") == {
        "--onnx": "model.onnx",
        "--saveEngine": "trtexec.engine",
        "--explicitBatch": "",
        "--workspace": "256",
        "--buildOnly": "",
        "--fp16": "",
        "--minShapes": "pictures:1x3x227x227",
        "--optShapes": "pictures:8x3x227x227",
        "--maxShapes": "pictures:64x3x227x227",
    }


def test_workspace_memory_pool_is_named_since_8_5():
    assert words("xavier-nx", "fp16")["--memPoolSize"] == "workspace:512"
    assert words("orin-nano", "fp16", batches=(2, 2, 2))["--optShapes"] == "pictures:2x3x227x227"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("xavier-nx", {}),
        ("xavier-nx", {"jetpack": "4.6.1"}),
        ("orin-nx", {"jetpack": "6.2.3"}),
        ("orin-nx", {"jetpack": "6.0"}),
    ],
)
def test_dla_falls_back_to_the_gpu_and_reads_a_calibration_table(name, options):
    flags = words(name, "int8", dla=True, **options)
    assert flags["--useDLACore"] == "0" and "--allowGPUFallback" in flags
    assert flags["--calib"] == "calibration.cache" and {"--int8", "--fp16"} <= set(flags)
    assert "--stronglyTyped" not in flags
    assert flags["--minShapes"] == flags["--maxShapes"] == "pictures:1x3x227x227"
    half = words(name, "fp16", dla=True, **options)
    assert "--fp16" in half and not {"--int8", "--calib", "--stronglyTyped"} & set(half)


def test_name_with_a_space_is_quoted():
    resolved = resolve(EngineOptions(target="nano"))
    assert "--minShapes=my pictures:1x8" in shlex.split(trtexec.line(resolved, "my pictures", (8,)))
