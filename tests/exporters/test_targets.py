"""The table of targets is whole, and its numbers agree with each other and with what NVIDIA prints."""

import dataclasses
import re

import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

import exporters
from exporters import targets
from exporters.targets import Target, check, number, target, tensorrt
from exporters.tensorrt import rtx
from zoo.errors import ZooError

EVERY = [target(name) for name in targets.names()]
BOARDS = [board for board in EVERY if board.is_jetson]
ids = [board.name for board in EVERY]

# What NVIDIA prints: TOPS of GPU and DLA together, from Ampere on of sparse matrices, which are twice the dense ones.
PRINTED_TOPS = {
    **{"agx-xavier": 32, "xavier-nx": 21, "agx-orin": 275 / 2, "agx-orin-32gb": 200 / 2, "orin-nx": 100 / 2},
    **{"orin-nx-8gb": 70 / 2, "orin-nano": 40 / 2, "orin-nano-4gb": 20 / 2, "orin-nx-super": 157 / 2},
    **{
        "orin-nx-8gb-super": 117 / 2,
        "orin-nano-super": 67 / 2,
        "orin-nano-4gb-super": 34 / 2,
        "agx-orin-32gb-super": 241 / 2,
    },
    **{"t5000": 1035 / 2, "t4000": 600 / 2, "t4": 130, "a100": 1248 / 2, "l4": 485 / 2, "h100": 3958 / 2},
}
# Bits of the memory's bus, and its transfers in a second, in millions.
MEMORY = {
    **{"tx1": (64, 3200), "nano": (64, 3200), "tx2": (128, 3733), "agx-xavier": (256, 4266), "xavier-nx": (128, 3733)},
    **{"agx-orin": (256, 6400), "orin-nx": (128, 6400), "orin-nano": (128, 4266), "orin-nano-4gb": (64, 4266)},
    **{"orin-nano-super": (128, 6400), "t5000": (256, 8533), "t4": (256, 10000), "a100": (5120, 2430), "l4": (192, 12500)},
    **{"rtx-3060": (192, 15000), "rtx-3090": (384, 19500), "rtx-4090": (384, 21000), "h100": (5120, 5230)},
}


def test_former_target_names_are_kept():
    old = ["tx1", "tx2", "nano", "xavier-nx", "agx-xavier", "orin-nano", "orin-nx", "agx-orin", "t5000", "t4000"]
    assert set(old) <= set(targets.names())
    assert len(EVERY) == len(set(ids)) == 29
    assert targets.names().index("tk1") < targets.names().index("nano") < targets.names().index("t5000")


@pytest.mark.parametrize("board", EVERY, ids=ids)
def test_every_fact_has_a_source(board):
    descriptive = {"name", "board", "notes", "sources"}
    facts = {field.name for field in dataclasses.fields(Target)} - descriptive
    if not board.is_jetson:
        facts -= {"dla_cores", "dla_int8_tops", "cpu", "jetpacks"}
    if not board.power_mode:
        facts -= {"power_mode"}
    assert set(board.sources) == facts
    sources = [*board.sources.values(), *(pack.source for pack in board.jetpacks)]
    assert all(len(source) > 5 for source in sources)
    assert not [each for each in sources if re.search(r"find_string|public source file|stored|session|ledger", each)]
    assert set(board.unverified) == {fact for fact in board.sources if "unverified" in board.sources[fact][:10]}


@pytest.mark.parametrize("board", EVERY, ids=ids)
def test_float32_peak_is_two_operations_per_core_and_cycle(board):
    assert board.fp32_tflops == pytest.approx(board.cuda_cores * 2 * board.gpu_mhz / 1e6, rel=0.03)


@pytest.mark.parametrize("name", PRINTED_TOPS)
def test_gpu_and_dla_tops_sum_to_the_published_tops(name):
    board = target(name)
    assert board.int8_tops + board.dla_int8_tops == pytest.approx(PRINTED_TOPS[name], rel=0.02)


@pytest.mark.parametrize("name", MEMORY)
def test_bandwidth_is_bus_width_times_transfer_rate(name):
    bits, transfers = MEMORY[name]
    assert target(name).memory_bandwidth_gbs == pytest.approx(bits / 8 * transfers / 1000, rel=0.01)


@pytest.mark.parametrize("board", EVERY, ids=ids)
def test_float16_peak_is_half_of_int8_or_twice_float32(board):
    if board.int8_tops:
        assert board.fp16_tflops == pytest.approx(board.int8_tops / 2, rel=0.04)
    elif board.name != "tk1":
        assert board.fp16_tflops == pytest.approx(2 * board.fp32_tflops, rel=0.01)


def test_board_without_dla_has_no_dla_tops():
    assert all(bool(board.dla_cores) == bool(board.dla_int8_tops) for board in EVERY)


def test_each_jetpack_has_a_documented_or_older_tensorrt():
    for board in BOARDS:
        versions = [number(pack.version) for pack in board.jetpacks]
        assert versions == sorted(set(versions))
        for pack in board.jetpacks:
            if pack.tensorrt and number(pack.tensorrt) >= (7, 1):
                assert pack.tensorrt.startswith(tensorrt(pack.tensorrt).version)
    listed = {entry["version"] for entry in targets._table()["jetpack"]}
    assert listed == {pack.version for board in BOARDS for pack in board.jetpacks}


def test_newer_parsers_read_newer_opsets():
    known = [tensorrt(version) for version in targets.tensorrt_versions()]
    assert [number(each.version) for each in known] == sorted(number(each.version) for each in known)
    assert [each.max_opset for each in known] == sorted(each.max_opset for each in known)
    assert all(each.sources["max_opset"] and each.sources["dla"] for each in known)
    assert tensorrt(targets.newest_tensorrt()).verified


@pytest.mark.parametrize(
    ("version", "documented", "opset"),
    [
        ("7.1.3", "7.1", 11),
        ("8.2.1", "8.2", 13),
        ("8.6.2.3", "8.6", 17),
        ("10.16.2.10", "10.16", 24),
        ("11.4.1", "11.4.1", 24),
    ],
)
def test_patch_release_has_the_opset_of_its_version(version, documented, opset):
    assert (tensorrt(version).version, tensorrt(version).max_opset) == (documented, opset)


@pytest.mark.parametrize(
    ("version", "features"),
    [
        ("7.1", ""),
        ("8.0", "q"),
        ("8.4", "q"),
        ("8.5", "qu"),
        ("8.6", "qu"),
        ("10.0", "qus"),
        ("11.4.0", "qus"),
        ("11.4.1", "qusd"),
    ],
)
def test_features_of_each_version(version, features):
    known = tensorrt(version)
    supported = (known.explicit_quantization, known.uint8, known.strongly_typed, known.dla_strongly_typed)
    assert "".join(letter for letter, there in zip("qusd", supported, strict=True) if there) == features


@pytest.mark.parametrize("version", ["8.20", "9", "11.4", "10.2", "1"])
def test_undocumented_version_is_an_error(version):
    with pytest.raises(ZooError, match=r"nothing is known of TensorRT .*There are 7\.1, 8\.0"):
        tensorrt(version)


def test_versions_that_support_each_dla():
    usable = {
        board.name: [version for version in targets.tensorrt_versions() if tensorrt(version).takes_dla(board)]
        for board in EVERY
        if board.dla_cores
    }
    assert usable["xavier-nx"] == usable["agx-xavier-64gb"] == ["7.1", "8.0", "8.2", "8.4", "8.5"]
    assert usable["orin-nx"] == ["8.4", "8.5", "8.6", "10.0", "10.3", "10.7"]
    assert usable["agx-orin"] == usable["agx-orin-32gb"] == [*usable["orin-nx"], "11.4.1"]


def test_default_jetpack_is_the_newest_documented():
    newest = {name: target(name).jetpack() for name in ("tx1", "nano", "agx-xavier", "orin-nx", "t4000")}
    versions = {name: (pack.version, pack.tensorrt) for name, pack in newest.items()}
    assert versions["tx1"] == versions["nano"] == ("4.6.2", "8.2.1")
    assert versions["agx-xavier"] == ("5.1.4", "8.5.2")
    assert versions["orin-nx"] == versions["t4000"] == ("7.2.1", "10.16.2.10")
    assert target("nano").jetpack("4.6.6").unverified
    with pytest.raises(ZooError, match=r"no JetPack '5.1' is known for Jetson Nano.*There are 4.2.2, 4.3"):
        target("nano").jetpack("5.1")
    with pytest.raises(ZooError, match="takes no JetPack; give --tensorrt VERSION"):
        target("l4").jetpack("5.1")


def test_similar_board_inherits_facts_and_sources():
    small, large = target("agx-xavier"), target("agx-xavier-64gb")
    differ = {field.name for field in dataclasses.fields(Target) if getattr(small, field.name) != getattr(large, field.name)}
    assert differ <= {"name", "board", "memory_gb", "jetpacks", "sources", "notes"}
    assert target("orin-nano-4gb-super").compute_capability == "8.7"
    assert target("orin-nano-super").notes == ""  # what is said of one board is not said of another


def test_unknown_target_is_an_error_with_a_suggestion():
    with pytest.raises(ZooError, match=r"no target 'jetson-nano'; did you mean .*There are tk1, tx1"):
        target("jetson-nano")


@pytest.mark.parametrize(
    ("name", "opset", "ir", "message"),
    [
        ("tk1", 13, 8, "no TensorRT for Jetson TK1.*zoo export MODEL --to onnx --runtime onnxruntime"),
        ("nano", 14, 8, "TensorRT 8.2.1 of JetPack 4.6.2.*up to 13; given was --opset 14. Give --opset 13"),
        ("nano", 13, 9, "give --ir 8"),
        ("h100", 13, 9, "TensorRT 11.5, the newest documented, is not known to read file format 9"),
    ],
)
def test_unsupported_opset_or_ir_version_is_an_error(name, opset, ir, message):
    with pytest.raises(ZooError, match=message):
        check(name, opset, ir)


@pytest.mark.parametrize(
    "board", [board for board in EVERY if board.name != "tk1"], ids=[each for each in ids if each != "tk1"]
)
def test_every_target_with_tensorrt_reads_the_default_export(board):
    check(board.name, 13, 8)


def test_default_opset_is_one_that_the_tensorrt_version_reads():
    assert targets.default_opset() == targets.default_opset(targets.tensorrt("11.5")) == 13
    assert targets.default_opset(targets.tensorrt("7.1")) == 11


@pytest.mark.parametrize("version", ["10.3.foo", "8.6.1-1+cuda11", "", "10."])
def test_invalid_version_is_an_error(version):
    with pytest.raises(ZooError, match=r"numbers, as in 10\.3\.0"):
        targets.tensorrt(version)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("linear", {"target": "nano"}, "newest documented for Jetson Nano, takes no uint8 input; give --pixels float32"),
        ("alexnet-cifar", {"target": "orin-nano", "layout": "nhwc"}, "this file transposes it; give --layout nchw"),
    ],
)
def test_a_file_that_a_target_does_not_read_is_refused_with_what_works(model, options, message, tmp_path):
    with pytest.raises(ZooError, match=message):
        exporters.to_onnx(model, tmp_path / "net.onnx", **options)
    assert not list(tmp_path.iterdir())


def test_an_operator_that_a_target_does_not_know_is_refused(monkeypatch):
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in ("input", "output")]
    nodes = [helper.make_node("Einsum", ["input", "input"], ["output"], equation="ij,ij->ij")]
    model = ir.from_proto(helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:])))
    targets.check_graph("nano", model)
    monkeypatch.setattr(targets, "newest_of", lambda board: (targets.tensorrt("8.0"), "TensorRT 8.0"))
    with pytest.raises(ZooError, match=r"TensorRT 8\.0 does not support Einsum; give --opset 11, which avoids it"):
        targets.check_graph("nano", model)


@pytest.mark.parametrize("options", [{"pixels": "float32"}, {"pixels": "float32", "layout": "nhwc", "static_batch": 2}])
def test_a_file_for_a_target_is_shown_to_the_parser_of_nvidia(options, tmp_path):
    report = exporters.to_onnx("linear", tmp_path / "net.onnx", target="nano", **options)
    expected = "accepted by NVIDIA's parser and builder" if rtx.available() else "not read by NVIDIA's parser"
    assert report.parsed.startswith(expected) and report.parsed in report.lines()
    assert exporters.to_onnx("linear", tmp_path / "any.onnx").parsed == ""


def test_a_file_that_the_parser_of_nvidia_refuses_is_not_written(tmp_path, monkeypatch):
    def refuse(path, profile):
        raise ZooError(f"TensorRT-RTX does not accept {path}: no reason")

    monkeypatch.setattr(rtx, "available", lambda: True)
    monkeypatch.setattr(rtx, "check", refuse)
    with pytest.raises(ZooError, match=f"does not accept {tmp_path / 'net.onnx'}: no reason"):
        exporters.to_onnx("linear", tmp_path / "net.onnx", target="orin-nano")
    assert not list(tmp_path.iterdir())
