"""What the trace of a model knows, and what it says about a model that cannot be exported."""

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from keras import layers

import exporters
from zoo.errors import ZooError


def test_a_shape_that_tensorflow_does_not_know_is_that_of_keras(tmp_path):
    given = keras.Input((1, 2, 1, 2))
    model = keras.Model(given, layers.Lambda(lambda x: tf.squeeze(x), output_shape=(2, 2))(given))
    exporters.to_onnx(model, tmp_path / "model.onnx", static_batch=3)
    (output,) = onnx.load(tmp_path / "model.onnx").graph.output
    assert [size.dim_value for size in output.type.tensor_type.shape.dim] == [3, 2, 2]


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("settings", [{"axis": -1}, {"axis": 1, "keepdims": True}])
def test_labels_of_pixels_are_one_operator(name, settings, tmp_path):
    image = keras.Input((6, 5, 3))
    model = keras.Model(image, getattr(keras.ops, name)(image, **settings))
    exporters.to_onnx(model, tmp_path / "model.onnx")
    operators = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert {"argmax": "ArgMax", "argmin": "ArgMin"}[name] in operators and not {"Where", "BitCast"} & operators
    images = np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype("float32")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"input": images.transpose(0, 3, 1, 2)})
    axis = {-1: 3, 1: 1}[settings["axis"]]
    np.testing.assert_array_equal(result, getattr(np, name)(images, axis, keepdims=settings.get("keepdims", False)))


def test_labels_of_booleans_are_those_of_keras(tmp_path):
    given = keras.Input((5,))
    model = keras.Model(given, keras.ops.argmax(given > 0, axis=-1))
    exporters.to_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    values = np.random.default_rng(0).normal(size=(9, 5)).astype("float32")
    np.testing.assert_array_equal(session.run(None, {"input": values})[0], (values > 0).argmax(axis=1))


def stateful():
    steps = keras.Input((6, 4), batch_size=2)
    return keras.Model(steps, layers.LSTM(4, stateful=True, name="memory")(steps))


def looked_up():
    codes = keras.Input((3,), dtype="int64")
    return keras.Model(codes, layers.IntegerLookup(vocabulary=[3, 7, 9], name="codes")(codes))


def python():
    given = keras.Input((3,))
    called = layers.Lambda(lambda x: tf.ensure_shape(tf.py_function(np.sin, [x], tf.float32), x.shape), name="called")
    return keras.Model(given, called(given))


def for_two():
    """A model whose trace fails for a batch of any size."""
    given = keras.Input((3,))

    class Two(layers.Layer):
        def call(self, x):
            return x + float(len(x))

        def compute_output_shape(self, shape):
            return shape

    return keras.Model(given, Two(name="two")(given))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (stateful, r"layer memory of \S+ keeps its state from one batch to the next.*stateful=False"),
        (looked_up, r"layer codes of \S+ looks values up in a table \(IntegerLookup\).*apply it to the data"),
        (
            python,
            r"layer called of \S+ cannot be exported: it calls a Python function; write it with operators of keras.ops",
        ),
        (for_two, r"layer two of \S+ cannot be traced at opset 13: .*len is not well defined"),
    ],
)
def test_what_cannot_be_exported_is_named_with_its_layer(make, message, tmp_path):
    with pytest.raises(ZooError, match=message):
        exporters.to_onnx(make(), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_opset_of_an_advice_is_one_that_works(tmp_path):
    tokens = keras.Input((10, 8))
    model = keras.Model(tokens, layers.MultiHeadAttention(2, 4)(tokens, tokens))
    with pytest.raises(ZooError, match=r"uses Einsum, for which ONNX has no operator at opset 11; give --opset 12,"):
        exporters.to_onnx(model, tmp_path / "model.onnx", opset=11)
    assert exporters.to_onnx(model, tmp_path / "model.onnx", opset=12).passed
