"""The bundle on an emulated ARM board: its programs in Debian's Python for arm64, on processors from the Jetson Nano's on.

The processor is QEMU's, so nothing here tells how fast a board is, and there is no GPU: the model runs in onnxruntime.
`make test-arm` runs this, and no other command collects it.
"""

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from debian_arm import QEMU, ROOTS

from exporters.bundle import folder
from exporters.runner.board import sidecar

OLD, NEW = ROOTS
# Jetson Nano, TX1 and TX2 have a Cortex-A57; Xavier is Armv8.2, as Cortex-A76 and Neoverse-N1 are; Orin's A78AE is an A76's
# successor; Thor's is Armv9, of which QEMU's "max" has the vectors. What a library computes depends on it.
BOARDS = [
    *[(OLD, "cortex-a57"), (NEW, "cortex-a57"), (NEW, "cortex-a72"), (OLD, "cortex-a76"), (NEW, "cortex-a76")],
    *[(NEW, "neoverse-n1"), (NEW, "max")],
]
LARGE = [(OLD, "cortex-a57"), (NEW, "max")]
CROSS = "aarch64-linux-gnu-g++"
CPP = Path(__file__).parents[1] / "exporters" / "cpp"


def run(root, processor, *words):
    """Run the root's Python, or where `root` is None a program, on an emulated processor."""
    command = [QEMU, "-cpu", processor, *(root.command if root else []), *words]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, env={"PYTHONDONTWRITEBYTECODE": "1"})


def named(board):
    return f"{board[1]}-python{board[0].python}"


@pytest.fixture(scope="module")
def bundle(zoo_command, digits, tmp_path_factory):
    """A function (model, precision) -> the folder that `zoo export` writes for a board; each is made once."""
    made = {}
    some = tmp_path_factory.mktemp("calibration")
    for path in sorted(digits.rglob("*.png"))[::28]:
        shutil.copy(path, some)

    def make(model, precision):
        if (model, precision) not in made:
            out = tmp_path_factory.mktemp("bundles") / f"{model}-{precision}"
            options = ["--target", "nano"] if precision == "fp32" else ["--target", "orin-nano", "--calibration", some]
            done = zoo_command("export", model, "--to", "tensorrt", "--precision", precision, *options, "--out", out)
            assert done.returncode == 0, done.stderr
            made[model, precision] = out
        return made[model, precision]

    return make


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("board", BOARDS, ids=named)
def test_lenet_computes_on_arm_what_the_model_computes(board, precision, bundle):
    done = run(*board, bundle("lenet5.mnist", precision) / "verify.py", "--cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "what the model computes" in done.stdout


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("board", LARGE, ids=named)
def test_alexnet_computes_on_arm_what_the_model_computes(board, precision, bundle):
    """A few pictures: one takes ten seconds there."""
    done = run(*board, bundle("alexnet", precision) / "verify.py", "--cpu", "--most", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "what the model computes" in done.stdout


@pytest.mark.parametrize("board", [BOARDS[0], BOARDS[-1]], ids=named)
def test_other_scores_are_noticed_there(board, bundle, tmp_path):
    changed = tmp_path / "changed"
    shutil.copytree(bundle("lenet5.mnist", "fp32"), changed)
    scores = np.load(changed / "samples" / "scores.npy")
    scores[3] += 1e-3 * np.abs(scores[3]).max()  # ten times what the gate lets pass
    np.save(changed / "samples" / "scores.npy", scores)
    done = run(*board, changed / "verify.py", "--cpu")
    assert done.returncode == 1
    assert "samples/scores.npy has changed" in done.stderr
    folder.seal(changed)
    done = run(*board, changed / "verify.py", "--cpu")
    assert done.returncode == 1
    assert "does not compute what the model computes" in done.stderr


@pytest.mark.parametrize("board", [BOARDS[0], BOARDS[-1]], ids=named)
def test_a_picture_file_gets_the_label_of_the_model(board, bundle):
    made = bundle("lenet5.mnist", "fp32")
    labels, scores = (made / "labels.txt").read_text("utf-8").splitlines(), np.load(made / "samples" / "scores.npy")
    names = [made / "samples" / f"{number}.png" for number in range(3)]
    done = run(*board, made / "infer.py", "--cpu", "--top", "1", *names)
    assert done.returncode == 0, done.stderr
    told = [line.split(": ")[1].split(" ")[0] for line in done.stdout.splitlines()[:3]]
    assert told == [labels[of.argmax()] for of in scores[:3]]


@pytest.mark.skipif(not shutil.which(CROSS), reason=f"needs {CROSS}: apt-get install g++-aarch64-linux-gnu")
def test_infer_cpp_runs_there_too(bundle, tmp_path, monkeypatch):
    """With the TensorRT of the tests, whose scores are means of pixels; see nvinfer.cpp."""
    made = bundle("lenet5.mnist", "fp32")
    sources = [made / "infer.cpp", CPP / "nvinfer.cpp"]
    words = [CROSS, "-std=c++14", "-O2", "-static", f"-I{CPP / 'tensorrt8.2'}", f"-I{CPP / 'cuda'}", *sources]
    subprocess.run([*words, "-o", tmp_path / "infer"], check=True)
    (tmp_path / "model.engine").write_text("10 1 28 28 0 1 8")
    shutil.copy(made / "labels.txt", tmp_path)
    monkeypatch.setattr(sidecar, "ONNX", made / "model.onnx")
    device = SimpleNamespace(compute_capability="8.7", name="none", cuda="10.2")
    about = {"precision": "fp32"}
    sidecar.write(str(tmp_path / "model.engine"), about, "8.2.1.8", device, None, {"min": 1, "opt": 8, "max": 8})
    done = run(None, "cortex-a57", tmp_path / "infer", tmp_path / "model.engine", made / "samples" / "pictures.npy")
    assert done.returncode == 0, done.stderr
    pixels = np.load(made / "samples" / "pictures.npy").astype("float64").reshape(-1, 784)
    expected = np.stack([pixels[:, first::10].mean(1) for first in range(10)], 1)
    scores = [float(line.split("  ")[2]) for line in done.stdout.splitlines()[:-1]]
    np.testing.assert_allclose(scores, expected.max(1), rtol=1e-5)
