"""infer.cpp: compiled against the documented API of each TensorRT, for the host and for ARM, and run on known scores."""

import hashlib
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from exporters.bundle.header import header
from exporters.runner.board import sidecar
from zoo import images

RUNNER, STUBS = resources.files("exporters.runner"), Path(__file__).parent / "cpp"
# What takes uint8 pixels: TensorRT from 8.5 on.
VERSIONS = {"7.1": ("7.1.3.4", "float32"), "8.2": ("8.2.1.8", "float32"), "8.6": ("8.6.1.6", "uint8")}
VERSIONS |= {"10": ("10.3.0.30", "uint8"), "11": ("11.4.1.6", "uint8")}
STRICT = ["-std=c++14", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
SANITIZED = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
CROSS = "aarch64-linux-gnu-g++"
AARCH64 = 183  # e_machine of the ELF header, ELF for the Arm 64-bit Architecture (AAELF64)
LABELS = ["zero", "häuschen, großes", "two"]

pytestmark = pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")


def facts(dtype="uint8", **others):
    """A bundle.json of a small model: 2 rows, 3 columns, 3 channels, 3 classes."""
    return {
        "title": "Small (2026)",
        "precision": "fp16",
        "input": {"name": "pictures", "dtype": dtype, "layout": "NCHW", "shape": [3, 2, 3]},
        "output": {"name": "scores", "dtype": "float32", "shape": [3]},
        "picture": {"height": 2, "width": 3, "channels": 3, "resize": "pad"},
        "profile": {"min": 1, "opt": 4, "max": 8},
        **others,
    }


def compile_cpp(folder, version, bundle, compiler="g++", options=()):
    """Compile infer.cpp with a bundle's model.h and the TensorRT of the host; return the program's path."""
    for name in ("infer.cpp", "pictures.h", "sidecar.h"):
        shutil.copyfile(RUNNER / name, folder / name)
    (folder / "model.h").write_text(header(bundle), "utf-8")
    include = [f"-I{STUBS / f'tensorrt{version}'}", f"-I{STUBS / 'cuda'}", f"-I{STUBS / 'opencv'}"]
    sources = [folder / "infer.cpp"] + ([] if "-c" in options else [STUBS / "nvinfer.cpp"])
    result = subprocess.run(
        [compiler, *STRICT, *options, *include, *sources, "-o", folder / "infer"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return folder / "infer"


@pytest.fixture
def write_engine(tmp_path, monkeypatch):
    """A function that writes what build_engine.py leaves, labels.txt and eleven pictures, which it returns."""
    (tmp_path / "model.onnx").write_bytes(b"the model")
    monkeypatch.setattr(sidecar, "ONNX", tmp_path / "model.onnx")

    def write(version="10", dtype="uint8", engine=None, tensorrt=None, capability="8.7", precision="fp16", gpu="none"):
        path = tmp_path / "model.engine"
        path.write_text(engine or f"3 3 2 3 {int(dtype == 'uint8')} 2 8")
        device = SimpleNamespace(compute_capability=capability, name=gpu, cuda="12.6")
        about, profile = facts(precision=precision), {"min": 2, "opt": 4, "max": 8}
        sidecar.write(str(path), about, VERSIONS[version][0] if tensorrt is None else tensorrt, device, None, profile)
        (tmp_path / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS), "utf-8")
        raw = np.random.default_rng(5).integers(0, 256, (11, 2, 3, 3), "uint8")
        np.save(tmp_path / "pictures.npy", raw)
        return raw

    return write


def run(program, *words, **variables):
    return subprocess.run([program, *map(str, words)], capture_output=True, text=True, env=variables)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A program of TensorRT 10 that stops at the first access out of bounds and tells of every leak."""
    return compile_cpp(tmp_path_factory.mktemp("built"), "10", facts(), options=SANITIZED)


@pytest.mark.parametrize("version", VERSIONS)
def test_scores_and_labels_equal_those_of_numpy(version, write_engine, tmp_path):
    dtype = VERSIONS[version][1]
    program = compile_cpp(tmp_path, version, facts(dtype), options=["-O1"])
    raw = write_engine(version, dtype)
    result = run(program, tmp_path / "model.engine", tmp_path / "pictures.npy")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    planes = raw.transpose(0, 3, 1, 2).reshape(11, -1).astype("float64")
    scores = np.stack([planes[:, k::3].mean(1) for k in range(3)], 1)
    for number, (line, of) in enumerate(zip(lines, scores, strict=False)):
        picture, label, score = line.split("  ")
        assert (picture, label) == (f"{tmp_path / 'pictures.npy'}[{number}]", LABELS[of.argmax()])
        assert float(score) == pytest.approx(of.max(), rel=1e-5)
    assert len(lines) == 12
    assert re.fullmatch(r"11 images in batches of 4: [\d.]+ images/s, including the copies to the GPU and back", lines[-1])


@pytest.mark.skipif(not shutil.which(CROSS), reason=f"needs {CROSS}: apt-get install g++-aarch64-linux-gnu")
@pytest.mark.parametrize("version", VERSIONS)
def test_code_compiles_for_arm(version, tmp_path):
    program = compile_cpp(tmp_path, version, facts(VERSIONS[version][1]), CROSS, ["-O2"])
    elf = program.read_bytes()[:20]
    assert elf[:4] == b"\x7fELF"
    assert int.from_bytes(elf[18:20], "little") == AARCH64


def test_uint8_pixels_before_tensorrt_85_do_not_compile(tmp_path):
    with pytest.raises(AssertionError, match=r"TensorRT before 8\.5 does not support uint8 pixels"):
        compile_cpp(tmp_path, "8.2", facts("uint8"))


@pytest.mark.parametrize("version", ["8.2", "10"])
def test_code_with_opencv_compiles(version, tmp_path):
    compile_cpp(tmp_path, version, facts(VERSIONS[version][1]), options=["-DZOO_OPENCV", "-c"])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"tensorrt": "10.3.1.2"}, "was built by TensorRT 10.3.1.2, and this is 10.3.0"),
        ({"tensorrt": "10.3.01"}, "was built by TensorRT 10.3.01, and this is 10.3.0"),
        ({"tensorrt": ""}, "was built by TensorRT , and this is 10.3.0"),
        ({"capability": "5.3"}, "is for compute capability 5.3, and this GPU has 8.7"),
        ({"gpu": 'an "Orin",'}, r"was built for an \"Orin\",, and this is none"),
        ({"precision": "int8"}, "is int8, and model.h expects fp16"),
    ],
)
def test_engine_of_another_board_is_rejected(built, changed, words, write_engine, tmp_path):
    write_engine(**changed)
    result = run(built, tmp_path / "model.engine", tmp_path / "pictures.npy")
    assert result.returncode == 1
    assert result.stdout == ""
    assert words in result.stderr
    assert "build it on this board: python3 build_engine.py" in result.stderr


def rewrite(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def npy(shape, dtype="|u1", pixels=11 * 18, order="False", length=None):
    text = f"{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + (length or len(text)).to_bytes(2, "little") + text + bytes(pixels)


DAMAGED = {
    "no sidecar": (lambda folder: (folder / "model.engine.json").unlink(), "model.engine.json cannot be opened"),
    "a sidecar of nothing": (rewrite("model.engine.json", b""), "is empty or cannot be read"),
    "a sidecar of noise": (rewrite("model.engine.json", b'"\n": \n\x00"": ,\n": "\n"a": \n'), "lacks engine_sha256"),
    "no engine": (lambda folder: (folder / "model.engine").unlink(), "model.engine cannot be opened"),
    "a byte of the engine": (rewrite("model.engine", b"4 3 2 3 1 2 8"), "is not the engine that its .json describes"),
    "no labels": (lambda folder: (folder / "labels.txt").unlink(), "labels.txt cannot be opened"),
    "a label too few": (rewrite("labels.txt", b"a\nb\n"), "has 2 lines; expected one class per line, 3"),
    "no pictures": (lambda folder: (folder / "pictures.npy").unlink(), "pictures.npy cannot be opened"),
    "no npy": (rewrite("pictures.npy", b"PK\x03\x04" + bytes(99)), "is not a .npy file"),
    "the head alone": (rewrite("pictures.npy", b"\x93NUMPY\x01\x00\x76\x00"), "is not a .npy file"),
    "a long header": (rewrite("pictures.npy", npy("(11, 2, 3, 3)", length=65535)), "is truncated"),
    "a longer header": (rewrite("pictures.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(99)), "is truncated"),
    "a byte too few": (rewrite("pictures.npy", npy("(11, 2, 3, 3)", pixels=197)), "is damaged"),
    "a picture too few": (rewrite("pictures.npy", npy("(11, 2, 3, 3)", pixels=180)), "is damaged"),
    "far too many": (rewrite("pictures.npy", npy("(99999999999999999999, 2, 3, 3)")), "is damaged"),
    "none": (rewrite("pictures.npy", npy("(0, 2, 3, 3)", pixels=0)), "is damaged"),
    "a negative number": (rewrite("pictures.npy", npy("(-11, 2, 3, 3)")), "is damaged"),
    "an open shape": (rewrite("pictures.npy", npy("(11, 2, 3, 3")), "expected (n, 2, 3, 3)"),
    "other pictures": (rewrite("pictures.npy", npy("(11, 3, 2, 3)")), "contains (11, 3, 2, 3); expected (n, 2, 3, 3)"),
    "floats": (rewrite("pictures.npy", npy("(11, 2, 3, 3)", dtype="<f4")), "must contain uint8 images in C order"),
    "columns first": (
        rewrite("pictures.npy", npy("(11, 2, 3, 3)", order="True")),
        "must contain uint8 images in C order",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_error_names_the_damaged_file(built, case, write_engine, tmp_path):
    damage, words = DAMAGED[case]
    write_engine()
    damage(tmp_path)
    result = run(built, tmp_path / "model.engine", tmp_path / "pictures.npy")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert words in result.stderr


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("10 3 2 3 1 2 8", "has other inputs or outputs than model.h"),
        ("3 3 2 3 0 2 8", "has other inputs or outputs than model.h"),
        ("3 1 2 3 1 2 8", "has other inputs or outputs than model.h"),
        ("plan", "cannot be loaded by TensorRT"),
    ],
)
def test_engine_of_another_model_is_rejected(built, engine, words, write_engine, tmp_path):
    write_engine(engine=engine)
    result = run(built, tmp_path / "model.engine", tmp_path / "pictures.npy")
    assert result.returncode == 1
    assert words in result.stderr


def test_missing_requirements_are_reported(built, write_engine, tmp_path):
    write_engine()
    engine = tmp_path / "model.engine"
    for words, variables, expected in [
        ([engine], {}, "usage: infer ENGINE IMAGES..."),
        ([engine, tmp_path / "pictures.npy"], {"NO_GPU": "1"}, "no GPU: no CUDA-capable device is detected"),
        ([engine, tmp_path / "0.png"], {}, "infer was built without OpenCV; use infer.py"),
    ]:
        result = run(built, *words, **variables)
        assert result.returncode == 1
        assert expected in result.stderr


def test_sha256_equals_hashlib(tmp_path):
    """Around the ends of a block, where the padding takes another one."""
    (tmp_path / "main.cpp").write_text(
        f'#include "{RUNNER / "sidecar.h"}"\n#include <iostream>\n'
        "int main() { for (int n = 0; n < 260; ++n) std::cout << sha256(std::string(n, char(n))) << '\\n'; }\n"
    )
    subprocess.run(["g++", *STRICT, *SANITIZED, tmp_path / "main.cpp", "-o", tmp_path / "main"], check=True)
    expected = [hashlib.sha256(bytes([n % 256]) * n).hexdigest() for n in range(260)]
    assert run(tmp_path / "main").stdout.split() == expected


@pytest.mark.parametrize(
    "picture",
    [
        {"height": 28, "width": 28, "channels": 1, "resize": "pad"},
        {"height": 20, "width": 31, "channels": 3, "resize": "pad"},
        {"height": 17, "width": 40, "channels": 3, "resize": "crop"},
        {"height": 23, "width": 9, "channels": 1, "resize": "stretch"},
        {"height": 27, "width": 27, "channels": 3, "resize": "crop", "crop_from": 32},
    ],
    ids=lambda picture: "-".join(map(str, picture.values())),
)
def test_resized_image_equals_that_of_training_exactly(picture, tmp_path):
    channels = picture["channels"]
    (tmp_path / "model.h").write_text(
        header(
            facts(
                picture=picture,
                input={"name": "x", "dtype": "uint8", "shape": [channels, picture["height"], picture["width"]]},
            )
        )
    )
    shutil.copyfile(RUNNER / "pictures.h", tmp_path / "pictures.h")
    shutil.copyfile(RUNNER / "sidecar.h", tmp_path / "sidecar.h")
    program = tmp_path / "conform"
    subprocess.run(["g++", *STRICT, *SANITIZED, "-O1", f"-I{tmp_path}", STUBS / "conform.cpp", "-o", program], check=True)
    random = np.random.default_rng(6)
    sizes = [
        (28, 28),
        (1, 1),
        (1, 97),
        (120, 1),
        (2, 500),
        (32, 32),
        (31, 20),
        (20, 31),
        *random.integers(1, 150, (40, 2)).tolist(),
    ]
    for height, width in sizes:
        raw = random.integers(0, 256, (height, width, channels), "uint8")
        result = subprocess.run([program, str(height), str(width)], input=raw.tobytes(), capture_output=True, check=True)
        expected = images.conform(Image.fromarray(raw.squeeze(-1) if channels == 1 else raw), picture)
        output = np.frombuffer(result.stdout, "uint8").reshape(expected.shape)
        np.testing.assert_array_equal(output, expected, err_msg=f"{height}x{width}")


def test_names_with_special_characters_are_escaped(tmp_path):
    name = 'a"b\\c\n??/1é😀%d'
    bundle = facts(title="x */ \\\n#error ??/\n", input={"name": name, "dtype": "uint8", "shape": [3, 2, 3]})
    (tmp_path / "model.h").write_text(header(bundle), "utf-8")
    (tmp_path / "main.cpp").write_text(
        '#include "model.h"\n#include <cstdio>\nint main() { std::fputs(model::kInput, stdout); }\n'
    )
    subprocess.run(["g++", *STRICT, tmp_path / "main.cpp", "-o", tmp_path / "main"], check=True)
    assert subprocess.run([tmp_path / "main"], capture_output=True).stdout.decode() == name


@pytest.mark.skipif(not shutil.which("cmake"), reason="needs cmake")
def test_cmake_builds_or_reports_missing_tensorrt(write_engine, tmp_path):
    for name in ("infer.cpp", "pictures.h", "sidecar.h", "CMakeLists.txt"):
        shutil.copyfile(RUNNER / name, tmp_path / name)
    (tmp_path / "model.h").write_text(header(facts()), "utf-8")
    shutil.copytree(STUBS / "tensorrt10", tmp_path / "trt" / "include")
    shutil.copytree(STUBS / "cuda", tmp_path / "cuda" / "include")
    include = [f"-I{tmp_path / 'trt' / 'include'}", f"-I{tmp_path / 'cuda' / 'include'}"]
    for folder, name in (("trt", "nvinfer"), ("cuda", "cudart")):
        (tmp_path / folder / "lib").mkdir()
        library = tmp_path / folder / "lib" / f"lib{name}.so"
        source = STUBS / "nvinfer.cpp" if name == "nvinfer" else "/dev/null"
        subprocess.run(["g++", "-shared", "-fPIC", *include, "-x", "c++", source, "-o", library], check=True)
    build = tmp_path / "build"
    build.mkdir()
    options = [f"-DTENSORRT={tmp_path / 'trt'}", f"-DCUDA={tmp_path / 'cuda'}", "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror"]
    missing = subprocess.run(["cmake", "..", options[1]], cwd=build, capture_output=True, text=True)
    assert missing.returncode != 0
    assert "sudo apt-get install nvidia-jetpack" in " ".join(missing.stderr.split())
    for words in (["cmake", "..", *options], ["cmake", "--build", "."]):
        result = subprocess.run(words, cwd=build, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
    write_engine()
    assert "11 images" in run(build / "infer", tmp_path / "model.engine", tmp_path / "pictures.npy").stdout
