"""The scripts of a bundle, from the first to the last, with stand-ins for what only a board has."""

import hashlib
import json
import platform
import re
import shlex

import numpy as np
import onnx
import pytest

# What TensorRT got after 8.2, and after 7.1.
AFTER_82 = (
    "IBuilderConfig.set_memory_pool_limit",
    "DataType.UINT8",
    "ICudaEngine.get_tensor_dtype",
    *(f"IExecutionContext.{name}" for name in ("set_input_shape", "set_tensor_address", "execute_async_v3")),
)
AFTER_71 = (*AFTER_82, "Builder.build_serialized_network", "OnnxParser.parse_from_file")
OLD = {"version": "8.6.1", "target": "nano"}
BOARDS = {
    "7.1": {**OLD, "without": AFTER_71},
    "8.2": {**OLD, "without": AFTER_82},
    **{version: {"version": version} for version in ("8.6.1", "10.3", "10.13", "11.4")},
}
DLA = {"version": "8.6.1", "target": "xavier-nx", "dla": True}
XAVIER = {"version": "8.6.1", "target": "xavier-nx", "precision": "int8", "dla": True}


@pytest.mark.parametrize("options", BOARDS.values(), ids=BOARDS)
def test_scripts_run_with_each_version(board, options):
    board = board(precision="fp16", **options)
    built = board.passes("build_engine.py", "--max-batch", "16")
    made_for, used = (each.split(".")[:2] for each in (board.facts()["target"]["tensorrt"], board.built()["version"]))
    assert built.count("warning: ") == built.count("warning: the bundle was made for TensorRT") == (made_for != used)
    assert built.splitlines()[-1] == "next: python3 bundle/verify.py"
    verified = board.passes("verify.py")
    assert re.search(
        r"model.engine computes what the model computes: 41 pictures in batches of 1, 3, 16, 100.00% of real", verified
    )
    timed = board.passes("bench.py", "--seconds", "0.1")
    assert re.search(r"images/s in batches of 8, \d+ batches", timed)
    assert "GPU only: p50 0.125 ms, p90 0.125 ms, p99 0.125 ms" in timed
    pictures = [board.folder / "samples" / f"{number}.png" for number in range(3)]
    lines = board.passes("infer.py", "--top", "2", *pictures).splitlines()
    scores = np.load(board.folder / "samples" / "scores.npy")[:3]
    assert [line.split(": ")[1].split()[0] for line in lines[:3]] == [str(label) for label in scores.argmax(axis=1)]
    assert all(line.count(",") == 1 for line in lines[:3])
    best = float(lines[0].split(": ")[1].split()[1].rstrip(","))
    assert best == pytest.approx(scores[0].max(), rel=0.01)


@pytest.mark.parametrize("options", BOARDS.values(), ids=BOARDS)
def test_precision_is_set_by_types_or_by_flags(board, options):
    board = board(precision="fp16", **options)
    board.passes("build_engine.py", "--workspace", "100")
    typed = options["version"] != "8.6.1"
    build = board.built()
    assert build["typed"] == typed and ("FP16" in build["flags"]) == (not typed)
    assert build["workspace"] == 100 << 20
    assert [shape[0] for shape in build["profile"]] == [1, 8, 64]


@pytest.mark.parametrize("options", [*BOARDS.values(), DLA], ids=[*BOARDS, "DLA"])
def test_float32_layers_stay_float32_without_strong_typing(board, options):
    """LeNet-5's distances are sums of squares; which nodes are float32 in the model, the types at their ends tell."""
    board = board(model="lenet5.mnist", precision="fp16", **options)
    output = board.passes("build_engine.py")
    model = onnx.shape_inference.infer_shapes(onnx.load(board.folder / "model.onnx")).graph
    typed = {each.name: each.type.tensor_type.elem_type for each in [*model.value_info, *model.input, *model.output]}
    typed |= {each.name: each.data_type for each in model.initializer}
    wide = [
        node.name
        for node in model.node
        if {typed[name] for name in [*node.input, *node.output] if name} == {onnx.TensorProto.FLOAT}
    ]
    assert "ReduceSumSquare" in {node.op_type for node in model.node if node.name in wide} and len(wide) < len(model.node)
    build = board.built()
    assert build["float32"] == ([] if build["typed"] else wide)
    assert (f"{len(wide)} layers are held in float32" in output) == (not build["typed"])
    assert ("OBEY_PRECISION_CONSTRAINTS" in build["flags"]) == (not build["typed"])
    assert build["dla"] == (0 if options.get("dla") else None)


def test_unknown_types_print_a_warning(board):
    board = board(precision="fp16", **BOARDS["8.2"])
    assert "TensorRT tells no types" in board.passes("build_engine.py", STAND_IN_TYPES="none")
    build = board.built()
    assert build["float32"] == [] and "OBEY_PRECISION_CONSTRAINTS" not in build["flags"] and "FP16" in build["flags"]


def test_float32_engine_does_not_use_tf32(board):
    board = board(precision="fp32")
    board.passes("build_engine.py")
    assert "TF32" not in board.built()["flags"]


def test_sidecar_describes_the_engine_and_the_board(board):
    board = board("10.13", precision="fp16")
    board.passes("build_engine.py", "--min-batch", "2", "--opt-batch", "4", "--max-batch", "4")
    lines = (board.folder / "model.engine.json").read_text().splitlines()
    facts = json.loads("".join(lines))
    assert len(lines) == len(facts) + 2  # a line each
    for name in ("engine", "onnx"):
        content = (board.folder / f"model.{name}").read_bytes()
        assert facts[f"{name}_sha256"] == hashlib.sha256(content).hexdigest()
    assert facts["tensorrt"] == board.built()["version"] and facts["machine"] == platform.machine()
    expected = {"compute_capability": "8.7", "gpu": "stand-in GPU", "cuda": "12.6", "precision": "fp16", "dla_core": None}
    assert {key: facts[key] for key in expected} == expected
    assert facts["profile"] == {"min": 2, "opt": 4, "max": 4}
    assert "images/s in batches of 4," in board.passes("bench.py", "--seconds", "0.1")
    assert "batches of 1, 3, 4" in board.passes("verify.py")  # one picture is run as two


def test_engine_can_have_another_name(board, tmp_path):
    board = board(precision="fp32")
    out = tmp_path / "other.engine"
    assert f"verify.py --engine {out}" in board.passes("build_engine.py", "--out", out)
    assert "other.engine computes" in board.passes("verify.py", "--engine", out)
    assert not (board.folder / "model.engine").exists()


def test_dla_engine_has_one_batch_size_and_the_ranges_of_the_table(board):
    """The model is float32; the flags and the table make INT8 of it, and its gate is INT8's with the engine alone."""
    board = board(**XAVIER)
    board.passes("build_engine.py", "--dla-core", "1")
    build = board.built()
    assert build["dla"] == 1 and {"INT8", "FP16", "GPU_FALLBACK"} <= set(build["flags"])
    assert len({tuple(shape) for shape in build["profile"]}) == 1
    table = (board.folder / "calibration.cache").read_text().splitlines()[1:]
    name, scale = table[0].rsplit(": ", 1)
    largest = 127 * np.frombuffer(bytes.fromhex(scale), ">f4")[0]
    assert build["ranges"][name] == pytest.approx([-largest, largest]) and len(build["ranges"]) == len(table)
    assert "computes nearly what the model computes" in board.passes("verify.py")
    assert "model.onnx computes what the model computes" in board.passes("verify.py", "--cpu")


@pytest.mark.parametrize("version", ["10.3", "10.13"])
def test_engine_with_ranges_is_not_strongly_typed(board, version):
    board = board(**{**XAVIER, "version": version})
    board.passes("build_engine.py")
    assert not board.built()["typed"] and board.built()["ranges"]


def test_missing_dla_is_an_error_and_the_gpu_can_be_selected(board):
    board = board(**XAVIER)
    error = board.fails("build_engine.py", "--dla-core", "1", STAND_IN_DLA="1")
    assert "no DLA core 1: TensorRT sees 1" in error and "--dla-core -1" in error
    board.passes("build_engine.py", "--dla-core", "-1")
    assert board.built()["dla"] is None and board.built()["ranges"]


def test_next_command_runs_in_the_current_directory(board):
    """Each script's last line is a command that runs as it stands."""
    board, typed = board("10.3", precision="fp32"), ["python3", "bundle/build_engine.py", "--out", "an other.engine"]
    for script in ("build_engine.py", "verify.py", "bench.py", "infer.py"):
        python, path, *words = typed
        assert (python, path) == ("python3", f"bundle/{script}")
        if script == "bench.py":
            words += ["--seconds", "0.1"]
        typed = board.passes(script, *words).splitlines()[-1].replace("next: ", "")
        typed = shlex.split(typed)
    assert typed == ["python3", "bundle/infer.py", "--camera", "0", "--engine", "an other.engine"]


def test_calibration_table_is_an_error_in_newer_versions(board):
    board = board(**{**XAVIER, "version": "11.4"})
    assert "takes no calibration table" in board.fails("build_engine.py")


def test_int8_model_contains_its_ranges(board):
    board = board("8.6.1", precision="int8")
    board.passes("build_engine.py")
    assert "INT8" in board.built()["flags"] and not board.built()["ranges"]
    assert "computes nearly what the model computes" in board.passes("verify.py")
    bundle, card = (json.loads((board.folder / name).read_text()) for name in ("bundle.json", "card.json"))
    assert card["quantization"]["full_range"] and bundle["note"] == card["quantization"]["note"]
    assert f"note: {bundle['note']}; verify.py does" in board.passes("verify.py", "--cpu")
    assert "`verify.py --cpu` does." in (board.folder / "README.md").read_text()
    assert "INT8; export the model again with --precision fp16" in board.fails("build_engine.py", STAND_IN_CAPABILITY="5.3")


def test_class_names_are_printed_in_an_ascii_locale(board):
    from exporters.bundle import folder

    board = board("10.3", precision="fp32")
    path = board.folder / "labels.txt"
    path.write_text("".join(f"größe {name}\n" for name in path.read_text().splitlines()), "utf-8")
    folder.seal(board.folder)
    output = board.passes("infer.py", "--cpu", board.folder / "samples" / "0.png", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert r"gr\xf6\xdfe" in output


def test_video_is_classified_frame_by_frame(board, tmp_path):
    cv2 = pytest.importorskip("cv2")
    board = board("10.3", precision="fp32")
    writer = cv2.VideoWriter(str(tmp_path / "seen.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 5, (64, 48))
    for _ in range(3):
        writer.write(np.zeros((48, 64, 3), "uint8"))
    writer.release()
    lines = board.passes("infer.py", "--cpu", "--camera", tmp_path / "seen.avi").splitlines()
    assert [line.split(":")[0] for line in lines] == ["frame 0", "frame 1", "frame 2"]
    seen = (tmp_path / "seen.avi").read_bytes()
    (tmp_path / "empty.avi").write_bytes(seen[: seen.index(b"movi") + 4])
    assert "gives no image" in board.fails("infer.py", "--cpu", "--camera", tmp_path / "empty.avi")
    assert "cannot open the camera 99" in board.fails("infer.py", "--cpu", "--camera", "99")
