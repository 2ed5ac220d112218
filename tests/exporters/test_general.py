"""Models with several inputs or outputs, or of free size: exported, verified, and refused by commands for classifiers."""

import json

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from keras import layers

import exporters
from exporters import source
from exporters.commands import plan
from exporters.onnx import convert, files, info
from zoo.errors import ZooError


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(1)


def siamese():
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    shared = layers.Conv2D(4, 3, name="shared")
    flat = layers.Flatten()
    same = layers.Dense(1, activation="sigmoid", name="same")(keras.ops.abs(flat(shared(left)) - flat(shared(right))))
    return keras.Model([left, right], {"same": same, "maps": shared(left)})


def encoder_decoder():
    text, translation = (keras.Input((None,), dtype="int32", name=name) for name in ("text", "translation"))
    _, h, c = layers.LSTM(4, return_state=True, name="encoder")(layers.Embedding(20, 4)(text))
    x = layers.Embedding(20, 4)(translation)
    x, h, c = layers.LSTM(4, return_sequences=True, return_state=True, name="decoder")(x, initial_state=[h, c])
    return keras.Model([text, translation], [layers.Dense(20, activation="softmax", name="words")(x), h, c])


def decoder_step():
    """One step of a decoder: its states are inputs and outputs."""
    token = keras.Input((1,), dtype="int32", name="token")
    states = [keras.Input((4,), name=name) for name in ("h", "c")]
    x, h, c = layers.LSTM(4, return_sequences=True, return_state=True, name="cell")(
        layers.Embedding(20, 4)(token), initial_state=states
    )
    return keras.Model([token, *states], {"words": layers.Dense(20)(x), "h_next": h, "c_next": c})


def segmentation():
    image = keras.Input((None, None, 3), name="image")
    x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(image)
    scores = layers.Conv2D(3, 1, name="scores")(layers.UpSampling2D()(layers.BatchNormalization()(x)))
    return keras.Model(image, [scores, keras.ops.cast(scores > 0, "int32")])


def pooled():
    image = keras.Input((None, None, 3), name="image")
    x = layers.MaxPooling2D()(layers.Conv2D(4, 3, activation="relu")(image))
    return keras.Model(image, layers.Dense(5, name="scores")(layers.GlobalAveragePooling2D()(x)))


def unread_and_passed():
    """One input is not read, and one is an output."""
    x, unread = keras.Input((3,), name="x"), keras.Input((2,), name="unread")
    y = layers.Dense(2, name="y")(x)
    return keras.Model([x, unread], [y, y, x])


MODELS = {each.__name__: each for each in (siamese, encoder_decoder, decoder_step, segmentation, pooled, unread_and_passed)}
EXPECTED = {
    "siamese": (
        {"left": ["batch", 8, 8, 3], "right": ["batch", 8, 8, 3]},
        {"maps": ["batch", 6, 6, 4], "same": ["batch", 1]},
    ),
    "encoder_decoder": (
        {"text": ["batch", "text_time"], "translation": ["batch", "translation_time"]},
        {"words": ["batch", "translation_time", 20], "decoder": ["batch", 4], "decoder_2": ["batch", 4]},
    ),
    "decoder_step": (
        {"token": ["batch", 1], "h": ["batch", 4], "c": ["batch", 4]},
        {"c_next": ["batch", 4], "h_next": ["batch", 4], "words": ["batch", 1, 20]},
    ),
    "pooled": ({"image": ["batch", 3, "height", "width"]}, {"scores": ["batch", 5]}),
    "unread_and_passed": (
        {"x": ["batch", 3], "unread": ["batch", 2]},
        {"y": ["batch", 2], "y_2": ["batch", 2], "x_2": ["batch", 3]},
    ),
}


def shapes(values):
    return {value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim] for value in values}


@pytest.mark.parametrize("name", MODELS)
def test_exported_file_computes_what_keras_computes(name, tmp_path):
    """The sizes here are others than those of the proof."""
    model = MODELS[name]()
    report = exporters.to_onnx(model, tmp_path / "model.onnx")
    assert report.passed
    graph = onnx.load(tmp_path / "model.onnx").graph
    inputs, outputs = shapes(graph.input), shapes(graph.output)
    if name in EXPECTED:
        assert (inputs, outputs) == EXPECTED[name]
    assert list(report.outputs) == list(outputs)
    generator, given = np.random.default_rng(3), {}
    for tensor in model.inputs:
        shape = [4, *(size or 40 + 2 * axis for axis, size in enumerate(tensor.shape[1:]))]
        values = generator.normal(size=shape) if tensor.dtype == "float32" else generator.integers(0, 20, shape)
        given[tensor.name] = values.astype(tensor.dtype)
    expected = keras.tree.flatten(model(list(given.values()) if len(given) > 1 else given["image"], training=False))
    if report_layout(tmp_path) == "NCHW":
        given["image"] = given["image"].transpose(0, 3, 1, 2)
    found = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, given)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, np.asarray(other), rtol=1e-4, atol=1e-5)


def report_layout(folder):
    return json.loads((folder / "model.json").read_text()).get("layout")


def test_file_is_verified_and_described(tmp_path, capsys):
    model = pooled()
    model.save(tmp_path / "pooled.keras")
    path = tmp_path / "pooled.onnx"
    exporters.to_onnx(tmp_path / "pooled.keras", path)
    assert exporters.verify(path).passed
    info.print_info(path, False)
    text = capsys.readouterr().out
    assert "input   image: float32 (batch, 3, height, width)" in text
    assert "sizes that were verified: height 64, width 96; height 96, width 64; height 69, width 101" in text
    about = json.loads((tmp_path / "pooled.json").read_text())
    assert about["signature"]["outputs"] == [{"name": "scores", "dtype": "float32", "shape": ["batch", 5]}]
    assert "pixels" not in about


def changed(proto, edit):
    """Return a file of another content, and with other metadata."""
    about = json.loads(proto.metadata_props[0].value)
    edit(proto.graph, about["signature"])
    proto.metadata_props[0].value = json.dumps(about)
    return proto


def rename_input(graph, signature):
    graph.input[0].name = graph.node[0].input[0] = signature["inputs"][0]["name"] = "other"


def claim_less(graph, signature):
    signature["sizes"] = [{"height": 1, "width": 1}]


def claim_huge(graph, signature):
    signature["sizes"] = [{"height": 10**6, "width": 10**6}]


def claim_another_shape(graph, signature):
    signature["outputs"][0]["shape"] = ["batch", 6]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (rename_input, "has the inputs .*'other'.*, the model .*'image'"),
        (claim_less, "does not run|was proved for height up to 1, not 96"),
        (claim_huge, "sizes that are not whole numbers from 1 to 4096"),
        (claim_another_shape, "lists the outputs .*6.*, the model .*5"),
    ],
)
def test_file_that_lies_about_its_inputs_is_refused(edit, message, tmp_path):
    model = pooled()
    path = tmp_path / "pooled.onnx"
    files.save(convert.convert(source.find(model, general=True)), path)
    onnx.save(changed(onnx.load(path), edit), path)
    with pytest.raises(ZooError, match=message):
        exporters.verify(path, model)


def test_wrong_weight_is_found_in_its_output_and_layer(tmp_path):
    model = siamese()
    path = tmp_path / "siamese.onnx"
    exporters.to_onnx(model, path)
    proto = onnx.load(path)
    bias = next(tensor for tensor in proto.graph.initializer if tensor.name == "same/bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.5), bias.name))
    onnx.save(proto, path)
    (tmp_path / "siamese.json").unlink()
    report = exporters.verify(path, model)
    assert report.problems
    assert all(problem.startswith("output same: ") for problem in report.problems)
    assert report.first_divergent_layer.startswith("same ")


def test_commands_for_classifiers_refuse_them_by_name(tmp_path):
    model = siamese()
    for refused in (
        lambda: exporters.quantize(model, tmp_path / "a.onnx", "fp16"),
        lambda: exporters.to_tensorrt(model, tmp_path / "a", target="orin-nano"),
        lambda: exporters.to_onnx(model, tmp_path / "a.onnx", value_range=(0, 1)),
        lambda: source.find(model),
    ):
        with pytest.raises(ZooError, match=r"has 2 inputs \(left, right\) and 2 outputs \(maps, same\).*--to onnx"):
            refused()
    with pytest.raises(ZooError, match="--data needs a model with one input and one output"):
        exporters.to_onnx(model, tmp_path / "a.onnx", data=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_commands_for_classifiers_refuse_their_files(tmp_path):
    model = pooled()
    path = tmp_path / "pooled.onnx"
    files.save(convert.convert(source.find(model, general=True)), path)
    with pytest.raises(ZooError, match="takes image and returns scores; only files with one input of fixed size"):
        exporters.quantize(path, tmp_path / "a.onnx", "fp16", against=model)
    with pytest.raises(ZooError, match="takes image and returns scores; only files with one input of fixed size"):
        plan._opened(path, "orin-nano")


def test_target_checks_every_input(tmp_path):
    x, mask = keras.Input((3,), name="x"), keras.Input((3,), dtype="uint8", name="mask")
    model = keras.Model([x, mask], x * keras.ops.cast(mask, "float32"))
    with pytest.raises(ZooError, match="takes no uint8 input; build the model with an input of float32"):
        exporters.to_onnx(model, tmp_path / "model.onnx", target="nano")
    report = exporters.to_onnx(unread_and_passed(), tmp_path / "model.onnx", target="nano")
    assert "not read by NVIDIA's parser" in report.lines()[-1]


@pytest.mark.parametrize("name", ["siamese", "decoder_step", "pooled"])
def test_savedmodel_takes_and_returns_names(name, tmp_path):
    model = MODELS[name]()
    report = exporters.to_savedmodel(model, tmp_path / "saved")
    assert report.passed
    served = tf.saved_model.load(tmp_path / "saved").signatures["serving_default"]
    given = {
        each.name: tf.constant(
            np.random.default_rng(0).integers(0, 2, [4, *(size or 40 for size in each.shape[1:])]), each.dtype
        )
        for each in model.inputs
    }
    found = served(**given)
    assert set(found) == set(report.outputs)
    expected = model(list(given.values()) if len(given) > 1 else given["image"], training=False)
    expected = expected if isinstance(expected, dict) else {"scores": expected}
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-4, atol=1e-5)
    about = json.loads((tmp_path / "saved" / "assets.extra" / "zoo.json").read_text())
    assert [each["name"] for each in about["signature"]["inputs"]] == [each.name for each in model.inputs]


def test_litert_file_takes_and_returns_names(tmp_path):
    path = tmp_path / "model.tflite"
    x = keras.Input((None, 3), name="first x")
    model = keras.Model([x, keras.Input((2,), name="y")], {"heads": [x * 2, layers.Dense(2)(x)]})
    assert exporters.to_tflite(model, path).passed
    about = json.loads((tmp_path / "model.tflite.json").read_text())
    assert about["signature"]["outputs"][0] == {"name": "heads_0", "dtype": "float32", "shape": ["batch", "time", 3]}
    assert [each["name"] for each in about["signature"]["inputs"]] == ["first_x", "y"]


def test_static_batch(tmp_path):
    exporters.to_onnx(unread_and_passed(), tmp_path / "step.onnx", static_batch=2)
    graph = onnx.load(tmp_path / "step.onnx").graph
    assert {tuple(shape[:1]) for shape in (*shapes(graph.input).values(), *shapes(graph.output).values())} == {(2,)}


def test_model_that_is_not_finite_everywhere_gets_other_inputs(tmp_path):
    x, y = keras.Input((3,), name="x"), keras.Input((3,), name="y")
    model = keras.Model([x, y], [keras.ops.log(x), keras.ops.sqrt(y)])
    assert exporters.to_onnx(model, tmp_path / "log.onnx").passed


def test_each_input_of_whole_numbers_has_the_widest_range_on_which_the_model_runs(tmp_path):
    small, large, number, byte = (
        keras.Input((6,), dtype=dtype, name=name)
        for name, dtype in (("small", "int32"), ("large", "int32"), ("number", "int32"), ("byte", "uint8"))
    )
    tokens = layers.Embedding(5, 3)(small) + layers.Embedding(700, 3)(large)
    model = keras.Model([small, large, number, byte], [tokens, number // 2, byte])
    found = source.find(model, general=True)
    inputs = found.inputs(found.sizes[0])
    ranges = {name: (int(inputs[name].min()), int(inputs[name].max())) for name in inputs.dtype.names}
    assert ranges["small"] == (0, 4) and ranges["large"][0] == 0 and 500 < ranges["large"][1] < 700
    assert ranges["number"][0] < -800 and ranges["number"][1] > 800 and ranges["byte"][1] > 200
    assert exporters.to_onnx(model, tmp_path / "model.onnx").passed


def test_an_off_by_one_of_large_whole_numbers_is_found(tmp_path):
    """The tolerance of scores would accept it."""
    x = keras.Input((4,), dtype="int32", name="x")
    model = keras.Model(x, x * 30000 + 100000)
    path = tmp_path / "model.onnx"
    assert exporters.to_onnx(model, path).passed
    proto = onnx.load(path)
    number = next(tensor for tensor in proto.graph.initializer if onnx.numpy_helper.to_array(tensor).ravel()[0] == 100000)
    number.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(number) + np.int32(1), number.name))
    onnx.save(proto, path)
    (tmp_path / "model.json").unlink()
    assert not exporters.verify(path, model).passed
