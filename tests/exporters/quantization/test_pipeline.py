import json
import re

import keras
import numpy as np
import onnx
import onnx_ir as ir
import pytest
import rich.console

import exporters
import zoo
from exporters import quantization, source
from exporters.onnx import convert, files, info, metadata, saturation
from exporters.quantization import labeled, pipeline, run
from zoo.classifier import Classifier
from zoo.errors import ZooError

NAME = "lenet5-modern.mnist"


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """Return a float32 file written by `zoo export`."""
    path = tmp_path_factory.mktemp("full") / "full.onnx"
    files.save(convert.convert(source.find(NAME)), path)
    return path


@pytest.fixture
def about(full):
    return metadata.read(full)


def scores(path, pictures):
    return run.scores(run.session(path), pictures)


def test_folders_for_calibration_and_measurement(full, digits, about, tmp_path):
    report = quantization.quantize(full, tmp_path / "int8.onnx", calibration=digits, data=digits)
    onnx.checker.check_model(report.file, full_check=True)
    assert (report.precision, report.excluded, report.calibration.pictures) == ("int8", (), labeled.MAX_IMAGES)
    assert [each.precision for each in report.comparison.files] == ["fp32", "fp16", "int8"]
    sizes = [each.size for each in report.comparison.files]
    assert sizes[0] * 0.55 > sizes[1] > sizes[2]
    assert sizes[2] == (tmp_path / "int8.onnx").stat().st_size
    assert report.comparison.pictures == 1797
    accuracies = [each.accuracy for each in report.comparison.files]
    assert max(accuracies) - min(accuracies) < 1
    data = metadata.read(report.file)
    assert data["precision"] == "int8"
    assert data["quantization"] == {
        "method": "percentile",
        "pictures": labeled.MAX_IMAGES,
        "calibration": report.calibration.key,
        "excluded": [],
        "full_range": False,
    }
    assert report.proof.notes == ()
    assert {key: data[key] for key in about if key != "precision"} == {
        key: about[key] for key in about if key != "precision"
    }
    assert json.loads(json.dumps(report.plain()))["calibration"]["method"] == "percentile"


def test_int8_file_is_verified_on_the_calibration_images(full, digits, tmp_path):
    path = tmp_path / "int8.onnx"
    proof = quantization.quantize(full, path, calibration=digits).proof
    on_digits, on_others = exporters.verify(path, NAME, digits), exporters.verify(path, NAME)
    assert proof.noise == pytest.approx(on_digits.noise, rel=0.01)
    assert proof.noise != pytest.approx(on_others.noise, rel=0.1)


def test_full_range_is_in_the_metadata_and_in_the_words_of_verify(full, digits, tmp_path):
    path = tmp_path / "int8.onnx"
    report = quantization.quantize(full, path, calibration=digits, full_range=True)
    assert report.full_range and report.proof.notes == (saturation.NOTE,) and "VNNI" in saturation.NOTE
    assert f"note: {saturation.NOTE}" in report.proof.lines()
    for about in (metadata.read(path), json.loads(path.with_suffix(".json").read_text())):
        assert about["quantization"]["full_range"] is True and about["quantization"]["note"] == saturation.NOTE
    assert exporters.verify(path, NAME).notes == (saturation.NOTE,)
    assert info.gather(path)["full_range"] is True


def test_verify_fails_if_the_metadata_deny_large_weights(full, digits, tmp_path):
    path = tmp_path / "int8.onnx"
    quantization.quantize(full, path, calibration=digits, full_range=True)
    model = files.load(path)
    about = metadata.find(model)
    about["quantization"]["full_range"] = False
    metadata.describe(model, about)
    path.with_suffix(".json").unlink()
    files.save(model, tmp_path / "denied.onnx")
    report = exporters.verify(tmp_path / "denied.onnx", NAME)
    assert report.problems == ("its metadata say that its INT8 weights are from -64 to 64, and some are larger",)


def test_second_run_uses_the_cache(full, digits, tmp_path):
    first = quantization.quantize(full, tmp_path / "first.onnx", calibration=digits, method="minmax")
    second = quantization.quantize(full, tmp_path / "second.onnx", calibration=digits, method="minmax")
    assert (first.calibration.cached, second.calibration.cached) == (False, True)
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()


def test_images_can_be_arrays_and_the_model_a_name(full, tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (40, 28, 28, 1), "uint8")
    labels = scores(full, pictures).argmax(axis=1)
    report = quantization.quantize(NAME, tmp_path / "int8.onnx", calibration=pictures, data=(pictures, labels))
    assert report.comparison.files[0].accuracy == 100
    again = quantization.quantize(full, tmp_path / "again.onnx", calibration=pictures)
    assert metadata.read(again.file)["quantization"] == metadata.read(report.file)["quantization"]


def test_float16_needs_no_images(full, tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (40, 28, 28, 1), "uint8")
    for dtype in ("float32", "float16"):
        report = quantization.quantize(full, tmp_path / "half.onnx", "fp16", scores=dtype)
        assert (report.calibration, report.comparison) == (None, None)
        assert metadata.read(report.file)["precision"] == "fp16"
        assert "quantization" not in metadata.read(report.file)
        assert files.load(report.file).graph.outputs[0].dtype.numpy() == dtype
        np.testing.assert_allclose(scores(report.file, pictures), scores(full, pictures), rtol=1e-2, atol=2e-2)


def test_layers_are_excluded_until_the_drop_is_accepted(full, digits, about, tmp_path, monkeypatch):
    """With ranges a hundred times too small, the input of the first layer loses most."""
    calibrated = pipeline.cache.calibrated

    def too_small(*arguments):
        result = calibrated(*arguments)
        result.ranges["c3"] /= 100
        return result

    monkeypatch.setattr(pipeline.cache, "calibrated", too_small)
    with_drop = quantization.quantize(full, tmp_path / "int8.onnx", calibration=digits, data=digits, max_drop=0.5)
    accuracies = {each.precision: each.accuracy for each in with_drop.comparison.files}
    assert accuracies["int8"] >= accuracies["fp32"] - 0.5
    assert "c3" in with_drop.excluded
    assert metadata.read(with_drop.file)["quantization"]["excluded"] == list(with_drop.excluded)
    table = quantization.rank_layers(full, digits, data=digits)
    assert table.layers[0].accuracy < table.accuracy - 5


def test_model_that_float16_cannot_hold_is_compared_without_it(tmp_path):
    """One layer has weights too small for float16 and the next one too large; their product is unchanged."""
    keras.utils.set_random_seed(4)
    parts = [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(32, "relu", name="small")]
    net = keras.Sequential([*parts, keras.layers.Dense(3, name="large")])
    for layer, factor in zip(net.layers[1:], (1e-7, 1e7), strict=True):
        layer.kernel.assign(layer.kernel * factor)
    like = zoo.load("linear")
    classifier = Classifier(net, like.preprocessing, like.image_spec, ["a", "b", "c"], "linear")
    pictures = np.random.default_rng(0).integers(0, 256, (64, 28, 28, 1), "uint8")
    labels = np.asarray(classifier(pictures)).argmax(axis=1)
    path = tmp_path / "int8.onnx"
    report = quantization.quantize(classifier, path, calibration=pictures, data=(pictures, labels))
    assert [each.precision for each in report.comparison.files] == ["fp32", "int8"]
    assert "float16 cannot hold" in report.comparison.left_out["fp16"]
    console = rich.console.Console(width=200)
    with console.capture() as shown:
        console.print(report.comparison)
    assert "without fp16: float16 cannot hold" in shown.get()
    with pytest.raises(ZooError, match="float16 cannot hold"):
        quantization.quantize(classifier, tmp_path / "fp16.onnx", "fp16")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["int8.json", "int8.onnx"]


def test_layers_are_ranked_in_the_graph_for_a_runtime():
    pictures = np.zeros((2, 28, 28, 1), "uint8")
    with pytest.raises(
        ZooError, match="runtime must be tensorrt or onnxruntime; given was 'onnxrutime'; did you mean 'onnxruntime'"
    ):
        quantization.rank_layers(NAME, pictures, runtime="onnxrutime")


def test_contradicting_options_are_errors_and_write_no_file(full, digits, tmp_path):
    path = tmp_path / "int8.onnx"
    wrong = {
        "must end in .onnx": dict(path=tmp_path / "int8.plan"),
        "precision must be int8 or fp16; given was 'int7'; did you mean 'int8'": dict(precision="int7"),
        "method must be percentile, entropy or minmax; given was 'kl'": dict(method="kl"),
        "--calibration FOLDER": dict(calibration=None),
        "--data FOLDER": dict(max_drop=1.0),
        "0 to 100 percentage points; given was -1": dict(max_drop=-1.0, data=digits),
        "float16 needs no calibration": dict(precision="fp16"),
        "no layer 'c2' to exclude; did you mean": dict(exclude=["c2"]),
        "no folder": dict(calibration=tmp_path / "nowhere"),
    }
    for message, changed in wrong.items():
        with pytest.raises(ZooError, match=re.escape(message)):
            quantization.quantize(full, **{"path": path, "calibration": digits, **changed})
    assert list(tmp_path.iterdir()) == []


def test_only_float32_files_of_the_zoo_are_accepted(full, digits, tmp_path):
    half = quantization.quantize(full, tmp_path / "half.onnx", "fp16").file
    with pytest.raises(ZooError, match="is fp16 already"):
        quantization.quantize(half, tmp_path / "int8.onnx", calibration=digits)
    foreign = files.load(full)
    del foreign.metadata_props["zoo"]
    ir.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(ZooError, match="was not exported by the zoo"):
        quantization.quantize(tmp_path / "foreign.onnx", tmp_path / "int8.onnx", calibration=digits)


def test_labels_are_indices_of_class_names_or_ids(digits, about, tmp_path):
    images, labels = labeled.load_labeled_images(digits, about)
    assert images.shape == (1797, 28, 28, 1)
    assert np.bincount(labels).tolist() == [len(list((digits / str(digit)).iterdir())) for digit in range(10)]
    names = [f"n{digit}" for digit in range(9, -1, -1)]
    ids = {**about, "class_names": names, "class_ids": [str(digit) for digit in range(9, -1, -1)]}
    _, others = labeled.load_labeled_images(str(digits), ids)
    np.testing.assert_array_equal(others, 9 - labels)
    (tmp_path / "zero").mkdir()
    with pytest.raises(ZooError, match="a class 'zero' that the model lacks; did you mean 'zeros'"):
        labeled.load_labeled_images(tmp_path, {**about, "class_names": ["zeros", "ones"]})
    with pytest.raises(ZooError, match="no class folders; expected"):
        labeled.load_labeled_images(tmp_path / "zero", about)


def test_calibration_images_are_evenly_spaced(digits, about):
    paths = zoo.images.find(digits)
    images = labeled.load_calibration_images(digits, about["picture"])
    assert len(images) == labeled.MAX_IMAGES
    for place, index in ((0, 0), (-1, -1)):
        np.testing.assert_array_equal(images[place], zoo.images.read(paths[index], about["picture"]))


@pytest.mark.mnist
def test_named_data_set_is_calibrated_with_its_training_split(about):
    import training.data

    parts = training.data.load("mnist", about["picture"]).splits
    pictures, labels = labeled.load_labeled_images("mnist", about)
    np.testing.assert_array_equal(pictures, parts["test"].images)
    np.testing.assert_array_equal(labels, parts["test"].labels)
    images = labeled.load_calibration_images("mnist", about["picture"])
    assert len(images) == labeled.MAX_IMAGES
    np.testing.assert_array_equal(images[[0, -1]], parts["train"].images[[0, -1]])
    with pytest.raises(ZooError, match="'minst'; did you mean 'mnist'"):
        labeled.load_labeled_images("minst", about)


@pytest.mark.mnist
@pytest.mark.parametrize("name", ["lenet5.mnist", "lenet5-modern.mnist"])
def test_int8_loses_at_most_a_tenth_of_a_point_on_mnist(name, tmp_path):
    report = quantization.quantize(name, tmp_path / "int8.onnx", calibration="mnist", data="mnist")
    full, half, int8 = (each.accuracy for each in report.comparison.files)
    assert report.comparison.pictures == 10_000
    assert full > 99
    assert full - half <= 0.1
    assert full - int8 <= 0.1


def test_command_writes_a_file_and_prints_the_next_command(zoo_in_process, full, digits, tmp_path):
    words = ("quantize", full, "--calibration", digits, "--data", digits)
    result = zoo_in_process(*words, "--out", tmp_path / "int8.onnx", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"next: zoo verify {tmp_path / 'int8.onnx'}" in result.stdout
    assert "accuracy, %" in result.stdout
    result = zoo_in_process(*words, "--sensitivity", "--json", cwd=tmp_path)
    layers = json.loads(result.stdout)["layers"]
    assert {each["layer"] for each in layers} == {"c1", "c3", "c5", "f6", "scores"} or len(layers) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["int8.json", "int8.onnx"]
    result = zoo_in_process("quantize", full, "--precision", "fp16", "--json", cwd=tmp_path)
    assert json.loads(result.stdout)["file"] == "full-fp16.onnx"
    result = zoo_in_process("quantize", tmp_path / "none.onnx", cwd=tmp_path)
    assert result.returncode == 2
    assert "no file" in result.stderr
