"""The bundle that leaves: complete, reproducible, proved by its own programs in processes that know nothing of the zoo."""

import json
import shutil
import struct
import subprocess
import sys

import keras
import numpy as np
import onnxruntime
import pytest
from PIL import Image

import exporters
import zoo
from zoo import images
from zoo.errors import CheckFailed, ZooError

NAME = "lenet5-modern.mnist"


def run(bundle, *words):
    """Run a program of a bundle as on a board: of Python's own path alone, in isolated mode but for the script's folder."""
    return subprocess.run([sys.executable, "-E", "-s", str(bundle / words[0]), *words[1:]], capture_output=True, text=True)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A folder of pictures of another size than the net's."""
    folder = tmp_path_factory.mktemp("digits")
    for number, digit in enumerate(zoo_digits(40)):
        Image.fromarray(digit).resize((40, 40)).save(folder / f"{number}.png")
    return folder


def zoo_digits(count):
    from exporters import samples

    return samples.shipped({"height": 28, "width": 28, "channels": 1, "resize": "pad"})[:count, ..., 0]


@pytest.fixture(scope="module")
def nano(tmp_path_factory):
    """A bundle for a board whose TensorRT takes no uint8."""
    out = tmp_path_factory.mktemp("nano") / "b"
    return exporters.to_tensorrt(NAME, out, "nano"), out


def test_bundle_runs_without_the_project(nano, tmp_path):
    report, out = nano
    shutil.unpack_archive(report.archive, tmp_path, filter="data")
    result = run(tmp_path / "b", "verify.py", "--cpu")
    assert result.returncode == 0, result.stderr
    assert "computes what the model computes: 41 pictures in batches of 1, 3, 64" in result.stdout
    for script in ("verify.py", "infer.py", "bench.py", "build_engine.py"):
        text = (out / script).read_text()
        assert "import zoo" not in text and "exporters" not in text


def test_sample_scores_equal_those_of_keras(nano):
    _, out = nano
    images, scores = np.load(out / "samples" / "pictures.npy"), np.load(out / "samples" / "scores.npy")
    assert images.dtype == "uint8" and images.shape == (41, 28, 28, 1) and scores.dtype == "float32"
    np.testing.assert_allclose(scores, zoo.load(NAME).predict_on_batch(images), rtol=1e-5, atol=1e-5)
    shown = np.asarray(Image.open(out / "samples" / "0.png"))
    np.testing.assert_array_equal(shown, images[0, ..., 0])


def test_bundle_matches_its_target(nano):
    _, out = nano
    bundle = json.loads((out / "bundle.json").read_text())
    assert bundle["target"] | {"jetpack": None} == {
        **{"name": "nano", "board": "Jetson Nano", "jetpack": None, "tensorrt": "8.2.1"},
        **{"compute_capability": "5.3", "python": "3.6", "memory_gb": 4},
    }
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].type == "tensor(float)"  # TensorRT takes uint8 from 8.5 on
    assert (out / "labels.txt").read_text().splitlines() == zoo.load(NAME).class_names
    card = json.loads((out / "card.json").read_text())
    assert card["class_names"] == zoo.load(NAME).class_names and card["file"]["bytes"] == (out / "model.onnx").stat().st_size
    page = (out / "README.md").read_text()
    assert "JetPack 4.6" in page and "trtexec --onnx=model.onnx" in page
    assert "$" not in page.replace("`$", "")  # every field of the page is filled


def test_infer_predictions_equal_those_of_the_zoo(nano, digits):
    _, out = nano
    paths = sorted(digits.iterdir())[:5]
    result = run(out, "infer.py", "--cpu", "--top", "1", *map(str, paths))
    assert result.returncode == 0, result.stderr
    classifier = zoo.load(NAME)
    for path, line in zip(paths, [line for line in result.stdout.splitlines() if path_in(line, paths)], strict=True):
        scores = classifier.predict_on_batch(images.read(path, classifier.image_spec)[None])[0]
        assert str(path) in line and classifier.class_names[scores.argmax()] in line.replace(str(path), "")


def path_in(line, paths):
    return any(str(path) in line for path in paths)


@pytest.mark.slow("exports and builds a bundle for each target")
@pytest.mark.parametrize(
    ("target", "precision", "options"),
    [
        ("orin-nano", "fp32", {}),
        ("orin-nano", "int8", {}),
        ("xavier-nx", "int8", {}),
        ("tx2", "fp16", {"jetpack": "4.5.1"}),
        ("agx-xavier", "int8", {"dla": True}),
        ("t5000", "fp16", {"batches": (1, 1, 1)}),
        ("rtx-4090", "int8", {"opset": 17}),
    ],
)
def test_every_precision_passes_verification(target, precision, options, digits, tmp_path):
    calibration = digits if precision == "int8" else None
    report = exporters.to_tensorrt(NAME, tmp_path / "b", target, precision, calibration, **options)
    assert report.proof.passed and report.engine is None
    result = run(tmp_path / "b", "verify.py", "--cpu")
    assert result.returncode == 0, result.stderr
    if calibration:  # the samples are of the folder that was given, which has those alone
        originals = {images.read(path, zoo.load(NAME).image_spec).tobytes() for path in digits.iterdir()}
        assert all(each.tobytes() in originals for each in np.load(tmp_path / "b" / "samples" / "pictures.npy")[:32])
    verified = exporters.verify(tmp_path / "b")
    assert verified.passed and verified.precision == ("fp32" if options.get("dla") else precision)


def test_bundle_for_dla_contains_a_calibration_table(digits, tmp_path):
    exporters.to_tensorrt(NAME, tmp_path / "b", "agx-xavier", "int8", digits, dla=True, method="minmax")
    header, *lines = (tmp_path / "b" / "calibration.cache").read_text().splitlines()
    assert header.startswith("TRT-85")
    scales = {name: struct.unpack(">f", bytes.fromhex(scale))[0] for name, scale in (line.split(": ") for line in lines)}
    classifier = zoo.load(NAME)
    net = keras.Model(classifier.net.inputs, classifier.net.get_layer("c1").output)
    calibration = np.stack([images.read(path, classifier.image_spec) for path in sorted(digits.iterdir())])
    largest = np.abs(net.predict(classifier.preprocessing(calibration), verbose=0)).max()
    assert scales["c1"] * 127 == pytest.approx(largest, rel=1e-4)


def test_bundle_is_deterministic(nano, tmp_path):
    report, _ = nano
    (tmp_path / "again").mkdir()
    again = exporters.to_tensorrt(NAME, tmp_path / "again" / "b", "nano")
    with open(report.archive, "rb") as first, open(again.archive, "rb") as second:
        assert first.read() == second.read()


def test_missing_gpu_is_reported(nano):
    report, _ = nano
    assert (report.engine is None and "not installed" in report.no_engine) or "GPU" in report.no_engine


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: (b / "model.onnx").write_bytes((b / "model.onnx").read_bytes()[:-1] + b"x"), "model.onnx has changed"),
        (lambda b: (b / "samples" / "scores.npy").unlink(), "samples/scores.npy is missing"),
        (lambda b: (b / "labels.txt").write_text("one"), "labels.txt has"),
        (lambda b: (b / "manifest.json").unlink(), "manifest.json"),
        (lambda b: (b / "manifest.json").write_text("[1"), "manifest.json is not JSON"),
        (lambda b: (b / "board" / "gate.py").write_text("TOLERANCES = {}"), "board/gate.py has"),
    ],
)
def test_changed_bundle_is_an_error(change, message, nano, tmp_path):
    _, out = nano
    shutil.copytree(out, tmp_path / "b")
    change(tmp_path / "b")
    with pytest.raises(ZooError, match=message.replace(".", r"\.")):
        exporters.verify(tmp_path / "b")
    if "gate" not in message:  # of a program that was changed itself nothing can be promised
        result = run(tmp_path / "b", "verify.py", "--cpu")
        assert result.returncode == 1 and message in result.stderr, result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(target="orin-nanno"), "orin-nano"),
        (dict(target="orin-nano", precision="int8"), "--calibration FOLDER"),
        (dict(target="nano", precision="int8", calibration="photos"), "fp16"),
        (dict(target="nano", calibration="photos"), "--calibration is for --precision int8"),
        (dict(target="nano", full_range=True), "--full-range is for --precision int8"),
        (
            dict(target="agx-xavier", precision="int8", calibration="photos", dla=True, full_range=True),
            "--full-range is for weights in INT8",
        ),
        (dict(target="nano", calibration=np.zeros((8, 28, 28, 1), "uint8")), "--calibration is for --precision int8"),
        (dict(target="tk1"), "onnxruntime"),
        (dict(target="orin-nano", dla=True), "no DLA"),
    ],
)
def test_invalid_options_leave_no_files(options, message, tmp_path):
    with pytest.raises(ZooError, match=message):
        exporters.to_tensorrt(NAME, tmp_path / "b", **options)
    assert not list(tmp_path.iterdir())


def test_calibration_with_one_image_is_an_error(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.fromarray(zoo_digits(1)[0]).save(tmp_path / "photos" / "one.png")
    with pytest.raises(ZooError, match="has 1 image; calibration needs at least 8"):
        exporters.to_tensorrt(NAME, tmp_path / "b", "orin-nano", "int8", tmp_path / "photos")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_foreign_model_is_an_error(tmp_path):
    net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ZooError, match="--to onnx"):
        exporters.to_tensorrt(net, tmp_path / "b", "orin-nano")
    assert not list(tmp_path.iterdir())


def test_class_name_with_a_line_break_is_an_error(tmp_path):
    classifier = zoo.load(NAME)
    classifier.class_names[3] = "three\nor so"
    with pytest.raises(ZooError, match=r"labels\.txt"):
        exporters.to_tensorrt(classifier, tmp_path / "b", "orin-nano")
    assert not list(tmp_path.iterdir())


def test_wrong_model_is_not_written(tmp_path, monkeypatch):
    """The bundle's own proof looks at the file, whatever was believed of it before."""
    from exporters.onnx import export
    from exporters.tensorrt import export as board

    right = export.write

    def wrong(graph, exported, path, data=None, precision="fp32"):
        report = right(graph, exported, path, data, precision)
        for value in graph.graph.initializers.values():
            if value.name.endswith("bias"):
                value.const_value = type(value.const_value)(value.const_value.numpy() + 1)
        from exporters.onnx import files

        with files.saving(graph, path):
            pass
        return report

    monkeypatch.setattr(board.export, "write", wrong)
    with pytest.raises(CheckFailed, match="does not compute what the model computes"):
        exporters.to_tensorrt(NAME, tmp_path / "b", "orin-nano", "fp32")
    assert not list(tmp_path.iterdir())
