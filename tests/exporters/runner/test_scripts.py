"""The scripts of a bundle, from the first to the last, with stand-ins for what only a board has."""

import hashlib
import json
import platform
import re

import numpy as np
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
XAVIER = {"version": "8.6.1", "target": "xavier-nx", "precision": "int8", "dla": True}


def capability(options):
    return {"STAND_IN_CAPABILITY": {"nano": "5.3", "xavier-nx": "7.2"}.get(options.get("target"), "8.7")}


def engine(board):
    """What the stand-in was asked to build."""
    return json.loads((board.folder / "model.engine").read_bytes().partition(b"\n")[0])


@pytest.mark.parametrize("options", BOARDS.values(), ids=BOARDS)
def test_from_the_engine_to_labels_with_each_version(board, options):
    board, gpu = board(precision="fp16", **options), capability(options)
    built = board.passes("build_engine.py", "--max-batch", "16", **gpu)
    assert "warning" not in built and built.splitlines()[-1] == "next: python3 bundle/verify.py"
    verified = board.passes("verify.py", **gpu)
    assert re.search(
        r"model.engine computes what the model computes: 41 pictures in batches of 1, 3, 16, 100.00% of real", verified
    )
    timed = board.passes("bench.py", "--seconds", "0.1", **gpu)
    assert re.search(r"images/s in batches of 8, \d+ of them", timed)
    assert "the GPU alone: p50 0.125 ms, p90 0.125 ms, p99 0.125 ms" in timed
    pictures = [board.folder / "samples" / f"{number}.png" for number in range(3)]
    told = board.passes("infer.py", "--top", "2", *pictures, **gpu).splitlines()
    scores = np.load(board.folder / "samples" / "scores.npy")[:3]
    assert [line.split(": ")[1].split()[0] for line in told[:3]] == [str(label) for label in scores.argmax(axis=1)]
    assert all(line.count(",") == 1 for line in told[:3])
    best = float(told[0].split(": ")[1].split()[1].rstrip(","))
    assert best == pytest.approx(scores[0].max(), rel=0.01)


@pytest.mark.parametrize("options", BOARDS.values(), ids=BOARDS)
def test_types_bind_where_they_can_and_flags_say_the_same_elsewhere(board, options):
    board, gpu = board(precision="fp16", **options), capability(options)
    board.passes("build_engine.py", "--workspace", "100", **gpu)
    typed = options["version"] != "8.6.1"
    asked = engine(board)
    assert asked["typed"] == typed and ("FP16" in asked["flags"]) == (not typed)
    assert asked["workspace"] == 100 << 20
    assert [shape[0] for shape in asked["profile"]] == [1, 8, 64]


def test_float32_is_not_computed_in_tf32(board):
    board = board(precision="fp32")
    board.passes("build_engine.py")
    assert "TF32" not in engine(board)["flags"]


def test_the_sidecar_says_what_was_built_and_where(board):
    board = board("10.13", precision="fp16")
    board.passes("build_engine.py", "--min-batch", "2", "--opt-batch", "4", "--max-batch", "4")
    lines = (board.folder / "model.engine.json").read_text().splitlines()
    facts = json.loads("".join(lines))
    assert len(lines) == len(facts) + 2  # a line each
    for name in ("engine", "onnx"):
        content = (board.folder / f"model.{name}").read_bytes()
        assert facts[f"{name}_sha256"] == hashlib.sha256(content).hexdigest()
    assert facts["tensorrt"] == engine(board)["version"] and facts["machine"] == platform.machine()
    expected = {"compute_capability": "8.7", "gpu": "stand-in GPU", "cuda": "12.6", "precision": "fp16", "dla_core": None}
    assert {key: facts[key] for key in expected} == expected
    assert facts["profile"] == {"min": 2, "opt": 4, "max": 4}
    assert "batches of 1, 3, 4" in board.passes("verify.py")  # one picture is run as two


def test_an_engine_of_another_name_goes_with_its_name(board, tmp_path):
    board = board(precision="fp32")
    out = tmp_path / "other.engine"
    assert f"verify.py --engine {out}" in board.passes("build_engine.py", "--out", out)
    assert "other.engine computes" in board.passes("verify.py", "--engine", out)
    assert not (board.folder / "model.engine").exists()


def test_dla_takes_one_batch_size_and_ranges_from_the_table(board):
    """The model is float32; the flags and the table make INT8 of it, and its gate is INT8's with the engine alone."""
    board, gpu = board(**XAVIER), {**capability(XAVIER), "STAND_IN_DLA": "2"}
    board.passes("build_engine.py", "--dla-core", "1", **gpu)
    asked = engine(board)
    assert asked["dla"] == 1 and {"INT8", "FP16", "GPU_FALLBACK"} <= set(asked["flags"])
    assert len({tuple(shape) for shape in asked["profile"]}) == 1
    table = (board.folder / "calibration.cache").read_text().splitlines()[1:]
    name, scale = table[0].rsplit(": ", 1)
    largest = 127 * np.frombuffer(bytes.fromhex(scale), ">f4")[0]
    assert asked["ranges"][name] == pytest.approx([-largest, largest]) and len(asked["ranges"]) == len(table)
    assert "computes nearly what the model computes" in board.passes("verify.py", **gpu)
    assert "model.onnx computes what the model computes" in board.passes("verify.py", "--cpu")


@pytest.mark.parametrize("version", ["10.3", "10.13"])
def test_ranges_and_types_that_bind_exclude_each_other(board, version):
    board, gpu = board(**{**XAVIER, "version": version}), {**capability(XAVIER), "STAND_IN_DLA": "2"}
    board.passes("build_engine.py", **gpu)
    assert not engine(board)["typed"] and engine(board)["ranges"]


def test_a_dla_that_is_not_there_is_refused_and_the_gpu_may_be_asked_for(board):
    board, gpu = board(**XAVIER), capability(XAVIER)
    error = board.fails("build_engine.py", "--dla-core", "1", STAND_IN_DLA="1", **gpu)
    assert "no DLA core 1: TensorRT sees 1" in error and "--dla-core -1" in error
    board.passes("build_engine.py", "--dla-core", "-1", **gpu)
    assert engine(board)["dla"] is None and engine(board)["ranges"]


def test_what_to_type_next_works_from_where_the_person_is(board):
    """Each script's last line is a command that runs as it stands."""
    board, typed = board("10.3", precision="fp32"), ["python3", "bundle/build_engine.py", "--out", "other.engine"]
    for script in ("build_engine.py", "verify.py", "bench.py", "infer.py"):
        python, path, *words = typed
        assert (python, path) == ("python3", f"bundle/{script}")
        if script == "bench.py":
            words += ["--seconds", "0.1"]
        typed = board.passes(script, *words).splitlines()[-1].replace("next: ", "").split()
    assert typed == ["python3", "bundle/infer.py", "--camera", "0", "--engine", "other.engine"]


def test_a_table_for_a_version_that_takes_none_is_refused(board):
    board = board(**{**XAVIER, "version": "11.4"})
    assert "takes no calibration table" in board.fails("build_engine.py", STAND_IN_DLA="2", **capability(XAVIER))


def test_int8_with_its_ranges_in_the_model(board):
    board = board("8.6.1", precision="int8")
    board.passes("build_engine.py")
    assert "INT8" in engine(board)["flags"] and not engine(board)["ranges"]
    assert "computes nearly what the model computes" in board.passes("verify.py")
    assert "INT8; export the model again with --precision fp16" in board.fails("build_engine.py", STAND_IN_CAPABILITY="5.3")


def test_an_engine_that_computes_something_else_fails(board):
    board = board(precision="fp16")
    board.passes("build_engine.py")
    error = board.fails("verify.py", STAND_IN_ERROR="0.5")
    assert "model.engine does not compute what the model computes: a batch of 64 differs by up to 0.5" in error
    error = board.fails("verify.py", STAND_IN_ERROR="100")
    assert re.search(r"\d+ labels differ", error)
    assert "not finite" in board.fails("verify.py", STAND_IN_ERROR="nan")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "model.onnx").write_bytes(flipped(folder / "model.onnx")), "model.onnx has changed"),
        (lambda folder: (folder / "samples" / "scores.npy").unlink(), "samples/scores.npy is missing"),
        (lambda folder: (folder / "board" / "gate.py").open("a").write("\n"), "board/gate.py has changed"),
        (lambda folder: linked(folder / "labels.txt"), "labels.txt is a link"),
        (lambda folder: (folder / "manifest.json").unlink(), "there is no .*manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json is not JSON"),
        (lambda folder: (folder / "manifest.json").write_text('{"format": 2, "files": {}}'), "no manifest of format 1"),
        (lambda folder: (folder / "manifest.json").write_text('{"format": 1, "files": {}}'), "is not in manifest.json"),
        (lambda folder: listed(folder, "../other"), "other lies outside the folder"),
    ],
    ids=["a byte", "a sample", "a script", "a link", "no manifest", "no JSON", "another format", "nothing", "outside"],
)
def test_a_bundle_that_is_not_what_left_the_workstation_is_refused_by_all(board, change, words):
    board = board(precision="fp32")
    change(board.folder)
    for script in ("build_engine.py", "verify.py", "bench.py"):
        error = board.fails(script, *(["--cpu"] if script != "build_engine.py" else []))
        assert re.search(words, error) and "again" in error
    assert not (board.folder / "model.engine").exists()


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    return content


def linked(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def listed(folder, name):
    (folder.parent / "other").write_text("")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {"bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_an_engine_of_elsewhere_is_not_loaded(board):
    board = board("10.3", precision="fp32")
    assert "there is no" in board.fails("verify.py")
    board.passes("build_engine.py")
    path = board.folder / "model.engine.json"
    facts = json.loads(path.read_text())
    error = board.fails("verify.py", STAND_IN_CAPABILITY="7.2")
    assert "was built for stand-in GPU, 8.7, and this is stand-in GPU, 7.2" in error and "build_engine.py" in error
    assert re.search(r"TensorRT 10\.3\S*, and this is 10\.13", board.fails("verify.py", STAND_IN_VERSION="10.13"))
    for key, words in {
        "onnx_sha256": "another model.onnx",
        "machine": "was built on",
        "engine_sha256": "has changed",
    }.items():
        path.write_text(json.dumps({**facts, key: "another"}))
        assert words in board.fails("infer.py", board.folder / "samples" / "0.png")
    for text in ("{", "[]", "{}", "null"):
        path.write_text(text)
        assert "missing or damaged" in board.fails("bench.py")
    path.unlink()
    assert "missing or damaged" in board.fails("bench.py")


def test_a_build_that_fails_leaves_the_engine_that_there_was(board):
    board = board("10.3", precision="fp32")
    board.passes("build_engine.py")
    before = {path: path.read_bytes() for path in board.folder.glob("*") if path.is_file()}
    assert "Could not find any implementation for node conv1" in board.fails("build_engine.py", STAND_IN_BUILDER="none")
    error = board.fails("build_engine.py", STAND_IN_BUILDER="SIGKILL")
    assert "memory was short" in error and "--workspace" in error and "--max-batch than 64" in error
    assert "SIGSEGV" in board.fails("build_engine.py", STAND_IN_BUILDER="SIGSEGV")
    assert "out of memory (CUDA error 2)" in board.fails("build_engine.py", STAND_IN_MEMORY_IS_FULL="1")
    assert {path: path.read_bytes() for path in board.folder.glob("*") if path.is_file()} == before
    assert "out of memory (CUDA error 2)" in board.fails("verify.py", STAND_IN_MEMORY_IS_FULL="1")


def test_a_board_without_a_gpu_a_driver_tensorrt_or_onnxruntime(board):
    board = board("10.3", precision="fp32")
    picture = board.folder / "samples" / "0.png"
    assert "no CUDA-capable device is detected" in board.fails("build_engine.py", STAND_IN_GPUS="0")
    assert "driver is broken" in board.fails("build_engine.py", STAND_IN_DRIVER_CRASHES="1")
    assert "nvidia-jetpack" in board.fails("build_engine.py", **board.blocked("tensorrt"))
    assert "not one for DLA" in board.fails("build_engine.py", "--dla-core", "1")
    board.passes("build_engine.py")
    assert "no GPU" in board.fails("verify.py", STAND_IN_GPUS="0")
    assert "nvidia-jetpack" in board.fails("infer.py", picture, **board.blocked("tensorrt"))
    assert "pip3 install onnxruntime" in board.fails("verify.py", "--cpu", **board.blocked("onnxruntime"))
    alone = {**board.blocked("tensorrt"), "STAND_IN_GPUS": "0"}
    assert "model.onnx computes what" in board.passes("verify.py", "--cpu", **alone)
    assert "images/s" in board.passes("bench.py", "--cpu", "--seconds", "0.1", **alone)
    assert board.passes("infer.py", "--cpu", picture, **alone).startswith(str(picture))


def test_another_board_is_told_and_built_for(board):
    board = board("10.3", precision="fp32")
    built = board.passes("build_engine.py", STAND_IN_CAPABILITY="7.2")
    assert "warning: the bundle was made for Jetson Orin Nano" in built
    board.passes("verify.py", STAND_IN_CAPABILITY="7.2")


def test_a_model_that_the_parser_does_not_read_is_told_with_the_node(board):
    import onnx

    from exporters.bundle import folder

    board = board(precision="fp32")
    model = onnx.load(board.folder / "model.onnx")
    model.graph.node[0].op_type, model.graph.node[0].name = "Unheard", "strange"
    onnx.save(model, board.folder / "model.onnx")
    folder.seal(board.folder)
    for version, words in (("8.6.1", "node 0: no importer"), ("10.3", "strange (Unheard): no importer")):
        error = board.fails("build_engine.py", STAND_IN_VERSION=version)
        assert words in error and "Export the model again" in error


def test_what_cannot_be_asked_is_refused_with_status_2_or_in_words(board):
    board = board("10.3", precision="fp32")
    for script, *words in (
        ("build_engine.py", "--workspace", "0"),
        ("build_engine.py", "--max-batch", "many"),
        ("infer.py",),
        ("infer.py", "--camera", "0", "a.png"),
        ("infer.py", "--top", "0", "a.png"),
        ("bench.py", "--batch", "-1"),
        ("verify.py", "--gpu"),
    ):
        done = board.run(script, *words)
        assert done.returncode == 2 and "usage" in done.stderr
    assert "the smallest first" in board.fails("build_engine.py", "--min-batch", "9", "--opt-batch", "8")
    assert "cannot be written" in board.fails("build_engine.py", "--out", board.folder / "none" / "model.engine")
    board.passes("build_engine.py", "--max-batch", "4")
    assert "--max-batch 5" in board.fails("bench.py", "--batch", "5")


def test_pictures_that_cannot_be_read_are_named_and_the_others_told(board):
    board = board("10.3", precision="fp32")
    (board.folder / "damaged.png").write_bytes((board.folder / "samples" / "0.png").read_bytes()[:60])
    (board.folder / "text.png").write_text("no picture")
    names = ["damaged.png", "text.png", "samples", "none.png"]
    done = board.run("infer.py", "--cpu", "samples/1.png", *names, "samples/0.png", cwd=board.folder)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == ["samples/1.png", "samples/0.png"]
    told = done.stderr.splitlines()
    assert len(told) == len(names) and all(f"error: {name} " in line for name, line in zip(names, told, strict=True))


def test_names_of_classes_are_printed_in_a_plain_locale(board):
    from exporters.bundle import folder

    board = board("10.3", precision="fp32")
    path = board.folder / "labels.txt"
    path.write_text("".join(f"größe {name}\n" for name in path.read_text().splitlines()), "utf-8")
    folder.seal(board.folder)
    told = board.passes("infer.py", "--cpu", board.folder / "samples" / "0.png", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert r"gr\xf6\xdfe" in told


def test_a_video_is_classified_frame_by_frame(board, tmp_path):
    cv2 = pytest.importorskip("cv2")
    board = board("10.3", precision="fp32")
    writer = cv2.VideoWriter(str(tmp_path / "seen.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 5, (64, 48))
    for _ in range(3):
        writer.write(np.zeros((48, 64, 3), "uint8"))
    writer.release()
    told = board.passes("infer.py", "--cpu", "--camera", tmp_path / "seen.avi").splitlines()
    assert [line.split(":")[0] for line in told] == ["frame 0", "frame 1", "frame 2"]
    assert "cannot open the camera 99" in board.fails("infer.py", "--cpu", "--camera", "99")
