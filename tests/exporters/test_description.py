"""Keras models that are not of the zoo are described, and then exported like classifiers of the zoo."""

import json

import keras
import numpy as np
import onnxruntime
import pytest
from keras import layers

import exporters
from exporters import description, source
from exporters.onnx import metadata
from exporters.options import ImageOptions
from zoo.errors import ZooError

NAMES = ["bear", "cat", "dog"]


def net(*first, shape=(12, 12, 3), last=None):
    """Return a small classifier with random weights."""
    keras.utils.set_random_seed(5)
    last = last or layers.Dense(3, activation="softmax")
    parts = [layers.Conv2D(6, 3, activation="relu", name="c1"), layers.MaxPooling2D(), layers.Flatten()]
    return keras.Sequential([keras.Input(shape), *first, *parts, last], name="small")


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.convolution, self.dense = layers.Conv2D(4, 3, name="convolution"), layers.Dense(3, name="dense")

    def call(self, x, training=False):
        return self.dense(layers.Flatten()(self.convolution(x)))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The file of a network that expects pixels from -1 to 1."""
    path = tmp_path_factory.mktemp("keras") / "small.keras"
    net().save(path)
    return path


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (40, 12, 12, 3), "uint8")


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ((layers.Rescaling(1 / 255),), (0, 255)),
        ((layers.Rescaling(1 / 127.5, -1),), (0, 255)),
        ((layers.RandomFlip(), layers.Rescaling(1 / 255)), (0, 255)),
        ((layers.Rescaling([1 / 255, 1 / 255, 1 / 128], [0, 0, -1]),), (0, 255)),
        ((layers.Rescaling(2.0, -1),), (0, 1)),
        ((layers.Rescaling(255.0),), (0, 1)),
        ((layers.Rescaling(1.0, offset=-127),), None),
        ((layers.Rescaling(1.0, offset=[-103.9, -116.8, -123.7]),), None),
        ((layers.Normalization(mean=[120.0, 118, 104], variance=[60.0**2] * 3),), (0, 255)),
        ((layers.Normalization(mean=[0.48, 0.45, 0.4], variance=[0.06] * 3),), (0, 1)),
        ((keras.Sequential([keras.Input((12, 12, 3)), layers.Rescaling(1 / 255)]),), (0, 255)),
        ((), None),
        ((layers.Normalization(mean=[0.0] * 3, variance=[1.0] * 3),), None),
    ],
)
def test_the_first_layer_tells_the_range_of_the_pixels(first, expected):
    assert description.infer_range(net(*first))[0] == expected


def test_networks_of_keras_applications_with_rescaling_take_raw_pixels():
    for make in (keras.applications.EfficientNetB0, keras.applications.MobileNetV3Small):
        model = make(input_shape=(32, 32, 3), weights=None, classes=4)
        described = description.describe(model, (32, 32, 3), "model")
        assert described.value_range == (0, 255) and described.scores == "probabilities (softmax)"
        assert "pixels from 0 to 255, because the model begins with the layer rescaling" in described.assumed[0]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (0, 255)])
def test_raw_pixels_are_scaled_to_the_range(low, high, images, tmp_path):
    exporters.to_onnx(net(), tmp_path / "net.onnx", value_range=(low, high), classes=NAMES)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape) == ("pictures", "tensor(uint8)", ["batch", 3, 12, 12])
    expected = net().predict(images.astype("float32") / 255 * (high - low) + low, verbose=0)
    scores = session.run(["scores"], {"pictures": images.transpose(0, 3, 1, 2)})[0]
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    about = metadata.read(tmp_path / "net.onnx")
    assert (about["value_range"], about["class_names"], about["title"]) == ([low, high], NAMES, "small")
    assert about["assumed"] == ["images of other sizes are stretched"] and "card" not in about and "year" not in about


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_it_is_quantized_with_the_accuracy_of_each_class(precision, file, images, tmp_path):
    labels = net().predict(images / np.float32(127.5) - 1, verbose=0).argmax(1)
    calibration = {"calibration": images} if precision == "int8" else {}
    options = {"value_range": (-1, 1), "classes": NAMES, "data": (images, labels), **calibration}
    report = exporters.quantize(file, tmp_path / "small.onnx", precision, **options)
    assert report.comparison.class_names == tuple(NAMES) and report.comparison.files[0].accuracy == 100
    assert report.proof.assumed == ("images of other sizes are stretched",)
    assert exporters.verify(tmp_path / "small.onnx", file).precision == precision


def test_a_bundle_is_written_and_proved_by_its_own_program(file, images, tmp_path):
    report = exporters.to_tensorrt(file, tmp_path / "b", "nano", value_range=(-1, 1), classes=NAMES)
    assert "assumed: images of other sizes are stretched" in report.lines()
    assert "--value-range -1,1" in report.plan.next_command
    samples, scores = (np.load(tmp_path / "b" / "samples" / f"{name}.npy") for name in ("pictures", "scores"))
    expected = net().predict(samples / np.float32(127.5) - 1, verbose=0)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    assert (tmp_path / "b" / "labels.txt").read_text().splitlines() == NAMES
    assert json.loads((tmp_path / "b" / "bundle.json").read_text())["title"] == "small"
    assert exporters.verify(tmp_path / "b", file).passed


def test_a_subclassed_model_is_described_too(images, tmp_path):
    model = Subclassed()
    model(np.zeros((1, 12, 12, 3), "float32"))
    report = exporters.quantize(model, tmp_path / "s.onnx", calibration=images, value_range=(0, 1))
    assert report.proof.passed and exporters.verify(tmp_path / "s.onnx", model).passed
    assert metadata.read(tmp_path / "s.onnx")["scores"] == "not normalized"


def test_a_toml_file_beside_the_model_describes_it(file, tmp_path):
    path = tmp_path / "other.keras"
    path.write_bytes(file.read_bytes())
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    beside = tmp_path / "other.toml"
    beside.write_text('title = "Pets"\nvalue_range = [-1, 1]\nclasses = "names.txt"\nresize = "crop"\n')
    found = source.find(path)
    assert found.raw_input and found.classifier.class_names == NAMES
    assert found.classifier.image_spec["resize"] == "crop"
    assert (found.described.title, found.described.assumed) == ("Pets", ())
    given = source.find(path, images=ImageOptions(value_range=(0, 1), classes=list("abc")))
    assert given.described.value_range == (0, 1) and given.classifier.class_names == ["a", "b", "c"]
    beside.write_text("[preprocessing]\nscale = [0.1, 0.2, 0.3]\n")
    assert source.find(path).classifier.preprocessing.scale == [0.1, 0.2, 0.3]
    for text, message in {
        "value_rage = [0, 1]": "unknown key 'value_rage'; did you mean 'value_range'",
        "value_range = [0, 1]\npreprocessing = {}": "give one of them",
        "preprocessing = {scale = [1.0, 2.0]}": "scale has 2 values, the images of other.keras have 3 channels",
        "value_range = [0": "not valid TOML",
    }.items():
        beside.write_text(text)
        with pytest.raises(ZooError, match=message):
            source.find(path)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (lambda: net(), {}, "the pixels that small expects are not known; give their range with --value-range LOW,HIGH"),
        (lambda: net(), {"value_range": (1, 0)}, "LOW below HIGH, as in -1,1; given was 1,0"),
        (lambda: net(), {"value_range": (0, float("inf"))}, "LOW below HIGH"),
        (lambda: net(), {"value_range": (0, 1), "classes": ["a", "b"]}, "2 class names, but small returns 3 scores"),
        (lambda: net(), {"value_range": (0, 1), "classes": ["a", "b", "a"]}, "two classes have the name 'a'"),
        (lambda: net(), {"value_range": (0, 1), "classes": "nosuch.txt"}, "no file nosuch.txt; --classes names a text file"),
        (lambda: net(shape=(12, 12, 4)), {"value_range": (0, 1)}, r"takes inputs of \(12, 12, 4\), not images of 1 or 3"),
        (lambda: net(last=layers.Dense(1)), {"value_range": (0, 1)}, "returns one number per image"),
        (lambda: net(last=layers.Reshape((2, 75))), {"value_range": (0, 1)}, r"an output of \(2, 75\) per image"),
        (lambda: "lenet5", {"value_range": (0, 1)}, "lenet5 has its own preprocessing and class names"),
    ],
)
def test_what_cannot_be_described_is_refused_by_name(model, options, message, tmp_path):
    with pytest.raises(ZooError, match=message):
        exporters.quantize(model(), tmp_path / "net.onnx", "fp16", **options)
    assert not list(tmp_path.iterdir())


def test_without_a_description_a_file_takes_what_the_model_takes(tmp_path):
    found = source.find(net(layers.Rescaling(1 / 255)))
    assert (found.input_name, found.dtype, found.classifier) == ("input", "float32", None)
    described = source.find(net(layers.Rescaling(1 / 255)), describe=source.Describe.IF_POSSIBLE)
    assert (described.input_name, described.dtype) == ("pictures", "uint8")
    assert source.find(net(), describe=source.Describe.IF_POSSIBLE).classifier is None
