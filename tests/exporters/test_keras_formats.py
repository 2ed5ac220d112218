import json
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import exporters
import zoo
from exporters import keras_formats
from zoo.classifier import Classifier
from zoo.errors import CheckFailed, ZooError
from zoo.files import PART

EXPORTS = {"model.tflite": keras_formats.to_tflite, "model": keras_formats.to_savedmodel}
# With what they differ in: the classes of a user, subsampling and a table, maps normalized and kernels not shared, a
# picture that is deskewed, a vote of neighbors, colors.
MODELS = ("linear", "lenet5.mnist", "alexnet-cifar", "linear.mnist-deskewed", "neocognitron", "mlp")


def load(name):
    keras.utils.set_random_seed(3)
    return zoo.load(name, classes=["cat", "dog", "hen"] if name == "linear" else None)


def pictures(classifier, count):
    return np.random.default_rng(count).integers(0, 256, (count, *classifier.input_image_shape), "uint8")


def run(path, batch):
    """Scores of a file, run another way than the proof runs it."""
    if path.is_dir():
        loaded = tf.saved_model.load(path)
        return loaded.serve(batch).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        interpreter = tf.lite.Interpreter(str(path))
    (input,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(input["index"], batch.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(input["index"], batch)
    interpreter.invoke()
    return interpreter.get_tensor(output["index"])


def about(path):
    return json.loads((path / "assets.extra/zoo.json" if path.is_dir() else path.with_name("model.tflite.json")).read_text())


class Odd(keras.layers.Layer):
    """A layer of an operator that TensorFlow has and LiteRT lacks."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, x):
        return self.function(x)


def with_odd(function):
    """A classifier whose net ends in an odd layer."""
    classifier = load("linear")
    image = keras.Input((28, 28, 1))
    net = keras.Model(image, Odd(function, name="strange")(classifier.net(image)))
    return Classifier(net, classifier.preprocessing, classifier.image_spec, classifier.class_names, "linear")


@pytest.fixture(params=sorted(EXPORTS))
def kind(request):
    """A name to write to, and the function that writes it."""
    return request.param, EXPORTS[request.param]


@pytest.mark.parametrize("name", MODELS)
def test_scores_equal_those_of_keras_at_any_batch_size(kind, name, tmp_path):
    file, export = kind
    classifier = load(name)
    report = export(classifier, tmp_path / file)
    assert report.passed and report.file == str(tmp_path / file)
    for count in (1, 2, 17):
        batch = pictures(classifier, count)
        expected = np.asarray(classifier(batch))
        scale = max(1, np.abs(expected).max())
        np.testing.assert_allclose(run(tmp_path / file, batch), expected, rtol=1e-4, atol=1e-5 * scale)
    data = about(tmp_path / file)
    assert data["class_names"] == classifier.class_names and data["picture"] == classifier.image_spec
    assert (data["layout"], data["pixels"], data["precision"]) == ("NHWC", "uint8", "fp32")
    assert data["weights_sha256"] == classifier.fingerprint()


def test_model_name_and_keras_file_are_loaded(kind, tmp_path):
    file, export = kind
    classifier = load("linear")
    classifier.save(tmp_path / "mine.keras")
    export(tmp_path / "mine.keras", tmp_path / file)
    assert about(tmp_path / file)["model"] == "mine.keras"
    export("xor.patterns", tmp_path / file)  # over the older one
    assert about(tmp_path / file)["model"] == "xor.patterns"
    assert run(tmp_path / file, pictures(zoo.load("xor"), 3)).shape == (3, 2)
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".")]


def test_export_does_not_change_the_classifier(kind, tmp_path):
    file, export = kind
    classifier = load("linear")
    before = classifier.get_config(), classifier.fingerprint()
    export(classifier, tmp_path / file)
    assert (classifier.get_config(), classifier.fingerprint()) == before
    classifier.save(tmp_path / "after.keras")
    assert zoo.load(tmp_path / "after.keras").fingerprint() == before[1]


def test_failed_verification_leaves_nothing_and_keeps_an_older_file(kind, tmp_path, monkeypatch):
    file, export = kind
    right = load("linear")
    wrong = with_odd(lambda x: x + float(tf.executing_eagerly()))  # in a file it is another function
    with pytest.raises(CheckFailed, match="does not compute what the model computes"):
        export(wrong, tmp_path / "new" / file)
    assert list((tmp_path / "new").iterdir()) == []
    export(right, tmp_path / file)
    older = {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()}
    with pytest.raises(CheckFailed):
        export(wrong, tmp_path / file)
    assert {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()} == older


def test_given_images_are_used_for_verification(kind, digits, tmp_path):
    file, export = kind
    few, more = (export("linear", tmp_path / file, digits / digit).images for digit in "34")
    assert few - more == 2  # there are 183 and 181
    with pytest.raises(ZooError, match="no folder"):
        export("linear", tmp_path / f"other-{file}", tmp_path / "missing")
    assert not (tmp_path / f"other-{file}").exists()


@pytest.mark.parametrize(("function", "operator"), [(tf.math.erfinv, "Erfinv"), (tf.raw_ops.Betainc, "Betainc")])
def test_error_names_the_operator_that_litert_lacks_and_its_layer(tmp_path, function, operator):
    layer = function if operator == "Erfinv" else lambda x: function(a=x * x + 1, b=x * x + 2, x=tf.sigmoid(x))
    with pytest.raises(
        ZooError, match=rf"layer strange needs {operator}.*--to onnx fails too: layer strange uses {operator}"
    ) as error:
        keras_formats.to_tflite(with_odd(layer), tmp_path / "odd.tflite")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_error_advises_onnx_only_if_it_has_the_operator(tmp_path):
    given = keras.Input((5,), dtype="int32")
    model = keras.Model(given, keras.ops.left_shift(given, 1))
    with pytest.raises(ZooError, match=r"LeftShift, for which LiteRT has no built-in operator; use --to onnx"):
        keras_formats.to_tflite(model, tmp_path / "model.tflite")
    assert exporters.to_onnx(model, tmp_path / "model.onnx").passed


def test_untraceable_model_is_an_error(tmp_path):
    def untraceable(x):
        return x * len(tf.unstack(x))  # in a trace the batch is not known

    classifier = load("linear")
    classifier.call = lambda pictures, training=None: untraceable(classifier.net(classifier.preprocessing(pictures)))
    with pytest.raises(ZooError, match=r"cannot be converted to a SavedModel: .*--to onnx fails too: "):
        keras_formats.to_savedmodel(classifier, tmp_path / "model")
    with pytest.raises(ZooError, match=r"cannot be converted to LiteRT: .*--to onnx fails too: "):
        keras_formats.to_tflite(classifier, tmp_path / "model.tflite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["model.lite", "model", "model.onnx"])
def test_other_suffix_is_an_error(tmp_path, name):
    with pytest.raises(ZooError, match=rf"must end in \.tflite; given was .*{name}\. Give .*{name}\.tflite"):
        keras_formats.to_tflite("linear", tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_foreign_sidecar_is_an_error_and_not_changed(tmp_path):
    beside = tmp_path / "model.tflite.json"
    beside.write_text('{"mine": 1}')
    with pytest.raises(ZooError, match=r"model\.tflite\.json exists and was not written by the zoo"):
        keras_formats.to_tflite("linear", tmp_path / "model.tflite")
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {beside.name: '{"mine": 1}'}


def test_interrupt_keeps_the_old_savedmodel(tmp_path, monkeypatch):
    keras_formats.to_savedmodel("xor.patterns", tmp_path / "model")
    rename = Path.rename

    def interrupted(path, target):
        if path.name.startswith(PART) and about_is_new(path):
            signal.raise_signal(signal.SIGINT)
        return rename(path, target)

    def about_is_new(folder):
        return json.loads((folder / "assets.extra/zoo.json").read_text())["model"] == "parity.patterns"

    monkeypatch.setattr(Path, "rename", interrupted)
    # Who starts the tests in the background may have told them to ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            keras_formats.to_savedmodel("parity.patterns", tmp_path / "model")
    finally:
        signal.signal(signal.SIGINT, before)
    assert [each.name for each in tmp_path.iterdir()] == ["model"]
    assert about(tmp_path / "model")["model"] == "xor.patterns"


def test_foreign_folder_is_an_error_and_not_changed(tmp_path):
    documents, mixed, file = tmp_path / "documents", tmp_path / "mixed", tmp_path / "file"
    documents.mkdir()
    (documents / "letter.txt").write_text("dear")
    keras_formats.to_savedmodel("linear", mixed)
    (mixed / "notes.txt").write_text("mine")
    file.write_text("text")
    (tmp_path / "half" / "variables").mkdir(parents=True)
    before = {each: each.is_file() and each.read_bytes() for each in tmp_path.rglob("*")}
    for path, words in (
        (documents, "contains letter.txt"),
        (mixed, "contains notes.txt"),
        (tmp_path / "half", "has no saved_model.pb"),
        (file, "is a folder"),
    ):
        with pytest.raises(ZooError, match=words):
            keras_formats.to_savedmodel("linear", path)
    assert {each: each.is_file() and each.read_bytes() for each in tmp_path.rglob("*")} == before
    (tmp_path / "empty").mkdir()
    assert keras_formats.to_savedmodel("linear", tmp_path / "empty").passed


@pytest.mark.slow("loads the file in a process with TensorFlow alone")
def test_savedmodel_has_a_signature_and_loads_without_the_zoo(tmp_path):
    classifier = load("lenet5.mnist")
    keras_formats.to_savedmodel(classifier, tmp_path / "model")
    batch = pictures(classifier, 5)
    np.save(tmp_path / "batch.npy", batch)
    child = (
        "import sys, numpy as np, tensorflow as tf; folder, batch = sys.argv[1:3];"
        "loaded = tf.saved_model.load(folder); signature = loaded.signatures['serving_default'];"
        "(given,) = signature.structured_input_signature[1].values();"
        "assert (given.name, given.dtype, given.shape.as_list()) == ('pictures', tf.uint8, [None, 28, 28, 1]), given;"
        "(scores,) = signature(pictures=tf.constant(np.load(batch))).values();"
        "assert 'zoo' not in sys.modules;"
        "np.save(batch, scores.numpy())"
    )
    result = subprocess.run(
        [sys.executable, "-c", child, tmp_path / "model", tmp_path / "batch.npy"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    np.testing.assert_allclose(np.load(tmp_path / "batch.npy"), np.asarray(classifier(batch)), rtol=1e-4, atol=1e-3)


@pytest.mark.slow("exports in a process of its own")
def test_export_prints_nothing(tmp_path):
    child = (
        "import sys; from zoo import cli; cli.start_keras(); from exporters import keras_formats; out = sys.argv[1];"
        "keras_formats.to_tflite('linear', out + '/a.tflite'); keras_formats.to_savedmodel('linear', out + '/a')"
    )
    result = subprocess.run([sys.executable, "-c", child, tmp_path], capture_output=True, text=True)
    assert (result.stdout, result.stderr, result.returncode) == ("", "", 0)


@pytest.mark.slow("exports in a process with a limit")
def test_full_disk_leaves_no_partial_file(tmp_path):
    child = """
import resource, sys
import exporters
import zoo
from exporters import keras_formats
classifier = zoo.load("linear")
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
for export, name in ((keras_formats.to_tflite, "a.tflite"), (keras_formats.to_savedmodel, "a")):
    try:
        export(classifier, f"{sys.argv[1]}/{name}")
    except Exception as error:
        print(type(error).__name__, str(error).splitlines()[0])
"""
    result = subprocess.run([sys.executable, "-c", child, tmp_path], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    first, second = result.stdout.splitlines()
    assert "too large" in first and "too large" in second
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("layer", [keras.layers.LSTM(5), keras.layers.Bidirectional(keras.layers.GRU(5))])
def test_litert_file_of_a_recurrent_model_takes_a_batch_of_1(layer, tmp_path):
    steps = keras.Input((6, 4))
    model = keras.Model(steps, keras.layers.Dense(3)(layer(steps)))
    report = keras_formats.to_tflite(model, tmp_path / "model.tflite")
    assert report.batches == (1,) and "a batch of 1" in report.lines()[-1]
    assert about(tmp_path / "model.tflite")["batch"] == 1
    batch = np.random.default_rng(0).normal(size=(1, 6, 4)).astype("float32")
    np.testing.assert_allclose(run(tmp_path / "model.tflite", batch), np.asarray(model(batch)), atol=1e-5)


def test_litert_file_contains_argmax(tmp_path):
    image = keras.Input((6, 5, 3))
    model = keras.Model(image, keras.ops.argmax(image, axis=-1))
    keras_formats.to_tflite(model, tmp_path / "model.tflite")
    batch = np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype("float32")
    np.testing.assert_array_equal(run(tmp_path / "model.tflite", batch), batch.argmax(-1))


def test_litert_refuses_a_stateful_layer_by_name(tmp_path):
    steps = keras.Input((6, 4), batch_size=2)
    model = keras.Model(steps, keras.layers.LSTM(5, stateful=True, name="memory")(steps))
    with pytest.raises(ZooError, match=r"layer memory of .* stateful=False"):
        keras_formats.to_tflite(model, tmp_path / "model.tflite")
