"""What the scripts refuse: in words, with status 1, and without a trace in the bundle."""

import hashlib
import io
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import exporters
from exporters.bundle import folder
from exporters.runner.board import files


def test_wrong_engine_fails_verification(board):
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
        (lambda folder: manifest(folder).symlink_to("/dev/zero"), "manifest.json is a link or no file"),
        (lambda folder: os.mkfifo(manifest(folder)), "manifest.json is a link or no file"),
        (lambda folder: manifest(folder).mkdir(), "manifest.json is a link or no file"),
        (lambda folder: manifest(folder).write_text("[" * 100_000), "manifest.json is not JSON"),
        (lambda folder: manifest(folder).write_bytes(bytes(1 << 21)), "manifest.json has 2,097,152 bytes"),
        (lambda folder: said(folder, format=2), "bundle.json has format 2"),
        (lambda folder: said(folder, profile={"min": 1, "max": 2}), "bundle.json lacks profile.opt"),
        (lambda folder: said(folder, calibration="/dev/zero"), "names /dev/zero, which is not in manifest.json"),
        (lambda folder: sampled(folder, b"no array"), "pictures.npy is no array"),
        (lambda folder: sampled(folder, header((1 << 50, 28, 28, 1))), "pictures.npy is no array"),
        (lambda folder: sampled(folder, header((1 << 99, 28, 28, 1))), "pictures.npy is no array"),
    ],
)
def test_every_script_rejects_a_changed_bundle(board, change, words):
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


def manifest(folder):
    """Return the path of the manifest, which is no more there."""
    (folder / "manifest.json").unlink()
    return folder / "manifest.json"


def said(bundle, **facts):
    """Seal a bundle whose bundle.json says something else."""
    path = bundle / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))
    folder.seal(bundle)


def sampled(bundle, content):
    (bundle / "samples" / "pictures.npy").write_bytes(content)
    folder.seal(bundle)


def header(shape):
    """Return an array's file of which nothing but the header is there."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue()


def listed(folder, name):
    (folder.parent / "other").write_text("")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {"bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_engine_of_another_board_is_not_loaded(board):
    board = board("10.3", precision="fp32")
    assert "build it: python3 bundle/build_engine.py" in board.fails("verify.py")
    board.passes("build_engine.py")
    path = board.folder / "model.engine.json"
    facts = json.loads(path.read_text())
    error = board.fails("verify.py", STAND_IN_CAPABILITY="7.2")
    assert "was built for stand-in GPU, 8.7, and this is stand-in GPU, 7.2" in error and "build_engine.py" in error
    assert re.search(r"TensorRT 10\.3\S*, and this is 10\.13", board.fails("verify.py", STAND_IN_VERSION="10.13"))
    for key, words in {
        "onnx_sha256": "another model.onnx",
        "machine": "was built on",
        "gpu": "was built for another, and this is stand-in GPU",
        "engine_sha256": "has changed",
    }.items():
        path.write_text(json.dumps({**facts, key: "another"}))
        assert words in board.fails("infer.py", board.folder / "samples" / "0.png")
    for text in ("{", "[]", "{}", "null"):
        path.write_text(text)
        assert "missing or damaged" in board.fails("bench.py")
    path.unlink()
    assert "missing or damaged" in board.fails("bench.py")


def test_failed_build_keeps_the_existing_engine(board):
    board = board("10.3", precision="fp32")
    board.passes("build_engine.py")
    before = {path: path.read_bytes() for path in board.folder.glob("*") if path.is_file()}
    assert "Could not find any implementation for node conv1" in board.fails("build_engine.py", STAND_IN_BUILDER="none")
    error = board.fails("build_engine.py", STAND_IN_BUILDER="SIGKILL")
    assert "not enough memory" in error and "--workspace" in error and "--max-batch than 64" in error
    assert "SIGSEGV" in board.fails("build_engine.py", STAND_IN_BUILDER="SIGSEGV")
    for shortage in ({"STAND_IN_MEMORY_IS_FULL": "1"}, {"STAND_IN_CONTEXT": "none"}):
        for script in ("build_engine.py", "verify.py", "bench.py"):
            assert "build with a smaller --max-batch" in board.fails(script, **shortage)
    assert "out of memory (CUDA error 2)" in board.fails("build_engine.py", STAND_IN_MEMORY_IS_FULL="1")
    assert {path: path.read_bytes() for path in board.folder.glob("*") if path.is_file()} == before
    assert "out of memory (CUDA error 2)" in board.fails("verify.py", STAND_IN_MEMORY_IS_FULL="1")


def test_error_names_the_missing_gpu_driver_or_package(board):
    board = board("10.3", precision="fp32")
    picture = board.folder / "samples" / "0.png"
    error = board.fails("build_engine.py", STAND_IN_GPUS="0")
    assert "no CUDA-capable device is detected" in error and "python3 bundle/verify.py --cpu needs none" in error
    assert "driver does not work" in board.fails("build_engine.py", STAND_IN_DRIVER_CRASHES="1")
    assert "nvidia-jetpack" in board.fails("build_engine.py", **board.blocked("tensorrt"))
    assert "is not for DLA" in board.fails("build_engine.py", "--dla-core", "1")
    board.passes("build_engine.py")
    assert "no GPU" in board.fails("verify.py", STAND_IN_GPUS="0")
    assert "nvidia-jetpack" in board.fails("infer.py", picture, **board.blocked("tensorrt"))
    assert "pip3 install onnxruntime" in board.fails("verify.py", "--cpu", **board.blocked("onnxruntime"))
    alone = {**board.blocked("tensorrt"), "STAND_IN_GPUS": "0"}
    assert "model.onnx computes what" in board.passes("verify.py", "--cpu", **alone)
    assert "images/s" in board.passes("bench.py", "--cpu", "--seconds", "0.1", **alone)
    assert board.passes("infer.py", "--cpu", picture, **alone).startswith(str(picture))


def test_another_board_prints_a_warning(board):
    board = board("10.3", precision="fp32")
    built = board.passes("build_engine.py", STAND_IN_CAPABILITY="7.2")
    assert "warning: the bundle was made for Jetson Orin Nano" in built
    board.passes("verify.py", STAND_IN_CAPABILITY="7.2")


def test_unsupported_model_is_an_error_that_names_the_node(board):
    board = board(precision="fp32")
    model = onnx.load(board.folder / "model.onnx")
    model.graph.node[0].op_type, model.graph.node[0].name = "Unheard", "strange"
    onnx.save(model, board.folder / "model.onnx")
    folder.seal(board.folder)
    for version, words in (("8.6.1", "node 0: no importer"), ("10.3", "strange (Unheard): no importer")):
        error = board.fails("build_engine.py", STAND_IN_VERSION=version)
        assert words in error and "must be exported for the version" in error


def test_invalid_arguments_are_errors(board):
    board = board("10.3", precision="fp32")
    for script, *words in (
        ("build_engine.py", "--workspace", "0"),
        ("build_engine.py", "--max-batch", "many"),
        ("infer.py",),
        ("infer.py", "--camera", "0", "a.png"),
        ("infer.py", "--top", "0", "a.png"),
        ("bench.py", "--batch", "-1"),
        ("bench.py", "--seconds", "nan"),
        ("bench.py", "--seconds", "inf"),
        ("bench.py", "--seconds", "0"),
        ("verify.py", "--gpu"),
    ):
        result = board.run(script, *words)
        assert result.returncode == 2 and "usage" in result.stderr
    assert "the smallest first" in board.fails("build_engine.py", "--min-batch", "9", "--opt-batch", "8")
    assert "cannot be written" in board.fails("build_engine.py", "--out", board.folder / "none" / "model.engine")
    board.passes("build_engine.py", "--max-batch", "4")
    assert "--max-batch 5" in board.fails("bench.py", "--batch", "5")


def test_unreadable_images_are_named_and_the_others_classified(board):
    board = board("10.3", precision="fp32")
    (board.folder / "damaged.png").write_bytes((board.folder / "samples" / "0.png").read_bytes()[:60])
    (board.folder / "text.png").write_text("no picture")
    names = ["damaged.png", "text.png", "samples", "none.png"]
    result = board.run("infer.py", "--cpu", "samples/1.png", *names, "samples/0.png", cwd=board.folder)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert [line.split(": ")[0] for line in result.stdout.splitlines()] == ["samples/1.png", "samples/0.png"]
    errors = result.stderr.splitlines()
    assert len(errors) == len(names) and all(f"error: {name} " in line for name, line in zip(names, errors, strict=True))


@pytest.mark.parametrize("name", ["model.onnx", "verify.py", "manifest.json", "bundle", "board/../labels.txt"])
def test_files_of_the_bundle_are_not_overwritten(board, name):
    board = board("10.3", precision="fp32")
    before = {path: path.read_bytes() for path in board.folder.rglob("*") if path.is_file()}
    assert "is a file of the bundle" in board.fails("build_engine.py", "--out", board.folder / name)
    assert {path: path.read_bytes() for path in board.folder.rglob("*") if path.is_file()} == before


def test_folder_as_engine_is_an_error(board):
    board = board("10.3", precision="fp32")
    assert "is a folder; give the name of a file" in board.fails("build_engine.py", "--out", board.folder)


def test_full_disk_is_an_error_and_leaves_no_file(tmp_path):
    """A limit of the process stands for the disk: the system refuses to write more in the same way."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with (
            pytest.raises(files.BundleError, match=r"model.engine cannot be written \(file too large\)"),
            files.atomic(str(tmp_path / "model.engine")) as temporary,
            open(temporary, "wb") as file,
        ):
            file.write(bytes(1 << 21))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_interrupted_build_leaves_no_process(tmp_path):
    (tmp_path / "stuck.py").write_text(
        "import os, pathlib, signal, time\n"
        "def wait(path):\n"
        "    pathlib.Path(path).write_text(str(os.getpid()))\n"
        "    os.kill(os.getppid(), signal.SIGINT)\n"
        "    time.sleep(600)\n"
    )
    code = (
        "import signal, sys, stuck\n"
        "from exporters.runner.board import apart\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # it may be ignored by who starts the tests
        "apart.call(stuck.wait, sys.argv[1])"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(exporters.__file__).parent.parent)])
    result = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "pid"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        timeout=60,
    )
    assert b"KeyboardInterrupt" in result.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
