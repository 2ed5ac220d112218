"""Models that take inputs of any size are exported for one."""

import json

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from keras import layers

import exporters
from exporters import sizes, source
from exporters.options import ImageOptions, parse_size
from zoo.errors import ZooError


def any_size():
    image = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, activation="relu")(image)
    squeezed = layers.Dense(4, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x * squeezed)), name="any")


def any_length():
    return keras.Sequential([keras.Input((None, 4)), layers.Conv1D(3, 2), layers.GlobalMaxPooling1D()])


def test_images_of_any_size_are_exported_for_one_and_the_metadata_say_which(tmp_path):
    keras.utils.set_random_seed(1)
    model = any_size()
    assert exporters.to_onnx(model, tmp_path / "model.onnx", size=(9, 14)).passed
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert [each.dim_value for each in graph.input[0].type.tensor_type.shape.dim][1:] == [3, 9, 14]
    assert json.loads((tmp_path / "model.json").read_text())["size"] == [9, 14]
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).uniform(size=(2, 9, 14, 3)).astype("float32")
    (result,) = session.run(None, {"input": images.transpose(0, 3, 1, 2)})
    np.testing.assert_allclose(result, np.asarray(model(images)), atol=1e-5)
    assert exporters.verify(tmp_path / "model.onnx", model).passed
    assert model.input_shape == (None, None, None, 3)


def test_sequences_of_any_length_take_one_number():
    found = source.find(any_length(), images=ImageOptions(size=parse_size("7")))
    assert (found.shape, found.size) == ((7, 4), (7,)) and found.predict(np.zeros((2, 7, 4), "float32")).shape == (2, 3)


def test_a_copy_shares_the_weights():
    model = any_size()
    copy = sizes.fixed(model, (8, 8))
    assert copy.input_shape == (None, 8, 8, 3) and [id(each) for each in copy.weights] == [
        id(each) for each in model.weights
    ]


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((8,), r"--size 8 gives 1 sizes, but any takes inputs of \(None, None, None, 3\), with 2 free axes"),
        ((2, 2), r"any cannot take inputs of 2x2"),
    ],
)
def test_a_wrong_size_is_refused(size, message, tmp_path):
    with pytest.raises(ZooError, match=message):
        exporters.to_onnx(any_size(), tmp_path / "model.onnx", size=size)


def test_what_needs_a_size_asks_for_it():
    with pytest.raises(
        ZooError, match=r"any height and width.*Give its size, as in --size 224x224, or export it with --to onnx"
    ):
        source.find(any_size())


def test_a_size_is_rows_x_columns():
    assert parse_size("224X160") == (224, 160)
    with pytest.raises(ZooError, match="a size is rows and columns, as in --size 224x224; given was --size 224,160"):
        parse_size("224,160")
