"""Keras models that are not of the zoo: functional, sequential, subclassed, from a file or from a module."""

import sys

import keras
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from keras import layers

import exporters
from exporters import source
from exporters.onnx import convert, graph
from zoo.errors import ZooError


def shuffled(model):
    """Return a model with weights that matter: as it starts, its normalizations do nothing."""
    generator = np.random.default_rng(0)
    for weight in model.weights:
        if weight.dtype == "float32":
            spread = np.abs(generator.normal(1, 0.1, weight.shape))
            weight.assign(spread if "variance" in weight.path else generator.normal(0, 0.2, weight.shape))
    return model


def residual():
    image = keras.Input((16, 16, 3))
    x = layers.Rescaling(1 / 127.5, -1)(image)
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="first")(x)
    x = layers.BatchNormalization(name="normal")(x)
    x = layers.ReLU()(x)
    y = layers.Conv2D(8, 3, padding="same", name="second")(x)
    y = layers.BatchNormalization()(y)
    x = layers.Activation("relu")(layers.Add()([x, y]))
    y = layers.DepthwiseConv2D(3, padding="same")(layers.Activation("gelu")(layers.BatchNormalization()(x)))
    y = layers.SeparableConv2D(8, 3, padding="same")(y)
    x = layers.MaxPooling2D()(layers.Dropout(0.3)(layers.Concatenate()([x, y])))
    return keras.Model(image, layers.Dense(5, activation="softmax")(layers.GlobalAveragePooling2D()(x)), name="residual")


class Subclassed(keras.Model):
    """A model that says what it does in `call` alone."""

    def __init__(self):
        super().__init__()
        self.convolution = layers.Conv2D(4, 3, strides=2, padding="same", name="convolution")
        self.normal = layers.BatchNormalization(name="normal")
        self.flatten = layers.Flatten()
        self.dense = layers.Dense(3, name="dense")

    def call(self, x, training=False):
        x = keras.activations.silu(self.normal(self.convolution(x), training=training))
        return self.dense(self.flatten(x))


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 9, 9, 3), "float32"))
    return model


def nested():
    parts = [keras.Input((8, 8, 2)), layers.Conv2D(4, 3, activation="tanh", name="inner"), layers.AveragePooling2D(2)]
    encoder = keras.Sequential([*parts, layers.Flatten()], name="encoder")
    image = keras.Input((8, 8, 2))
    return keras.Model(image, layers.Dense(2)(encoder(image)))


def sequence():
    parts = [layers.Conv1D(4, 3, activation="relu"), layers.MaxPooling1D(), layers.LSTM(4), layers.Dense(2)]
    return keras.Sequential([keras.Input((20, 3)), *parts])


def decoder():
    image = keras.Input((8, 8, 3))
    x = layers.Conv2DTranspose(4, 3, strides=2, padding="same")(image)
    x = layers.Conv2D(2, 3, padding="same")(layers.UpSampling2D(interpolation="bilinear")(x))
    return keras.Model(image, layers.PReLU()(x))


def attention():
    tokens = keras.Input((6, 8))
    x = layers.LayerNormalization()(layers.MultiHeadAttention(2, 4)(tokens, tokens) + tokens)
    return keras.Model(tokens, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


def looked_up():
    words = keras.Input((7,), dtype="int32")
    return keras.Model(words, layers.Dense(2)(layers.Flatten()(layers.Embedding(20, 4)(words))))


def normalized_by_data():
    image = keras.Input((4, 4, 3))
    x = layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 9.0])(image)  # Keras keeps these as plain tensors
    return keras.Model(image, layers.Conv2D(2, 2)(x))


MODELS = (residual, subclassed, nested, sequence, decoder, attention, looked_up, normalized_by_data)


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_exported_model_computes_the_same_output(make, tmp_path):
    keras.utils.set_random_seed(1)
    model = shuffled(make())
    report = exporters.to_onnx(model, tmp_path / "model.onnx")
    assert report.passed and {"onnxruntime", "onnxruntime basic"} <= set(report.runtimes)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    (input,) = session.get_inputs()
    assert (input.name, input.shape[0]) == ("input", "batch")
    sizes = (model.inputs[0].shape if hasattr(model, "inputs") else (None, 9, 9, 3))[1:]
    batch = np.random.default_rng(5).uniform(0, 9, (4, *sizes)).astype("int32" if make is looked_up else "float32")
    expected = keras.ops.convert_to_numpy(model(batch, training=False))
    transposed = np.moveaxis(batch, -1, 1) if len(sizes) == 3 else batch
    result = session.run(["output"], {"input": transposed})[0]
    np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert exporters.verify(tmp_path / "model.onnx", model).passed


def test_normalization_is_folded_and_nothing_is_transposed(tmp_path):
    exporters.to_onnx(shuffled(residual()), tmp_path / "residual.onnx")
    graph = onnx.load(tmp_path / "residual.onnx").graph
    operators = [node.op_type for node in graph.node]
    assert not {"Transpose", "BatchNormalization", "Identity"} & set(operators)
    assert operators.count("Conv") == 5  # two, one by map, one by map and one by place
    assert {"first/kernel", "second/kernel", "second/bias"} <= {tensor.name for tensor in graph.initializer}
    exporters.to_onnx(shuffled(subclassed()), tmp_path / "subclassed.onnx")
    operators = [node.op_type for node in onnx.load(tmp_path / "subclassed.onnx").graph.node]
    assert operators == ["Conv", "Sigmoid", "Mul", "Reshape", "Gemm"]


def test_nested_layer_names_include_the_inner_model(tmp_path):
    exporters.to_onnx(nested(), tmp_path / "nested.onnx")
    assert "encoder/inner/kernel" in {tensor.name for tensor in onnx.load(tmp_path / "nested.onnx").graph.initializer}


def test_model_is_exported_from_a_file_and_from_a_module(tmp_path, monkeypatch, zoo_command):
    model = shuffled(residual())
    model.save(tmp_path / "mine.keras")
    assert exporters.to_onnx(tmp_path / "mine.keras", tmp_path / "mine.onnx").passed
    assert exporters.verify(tmp_path / "mine.onnx").passed  # the file beside it
    source = "def make():\n    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])"
    (tmp_path / "mynets.py").write_text(f"import keras\n\n{source}\n\nnet = make()\n")
    result = zoo_command("export", "mynets:net", "--to", "onnx", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "next: zoo verify mynets.net.onnx --against mynets:net" in result.stdout
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "mynets", None)
    monkeypatch.delitem(sys.modules, "mynets")
    assert exporters.to_onnx("mynets:make", "made.onnx").passed
    (tmp_path / "mynets.py").write_text("import zoo\n\ndef zoo_net():\n    return zoo.load('linear')\n")
    monkeypatch.delitem(sys.modules, "mynets")
    assert exporters.to_onnx("mynets:zoo_net", "zoo_net.onnx").passed
    with pytest.raises(ZooError, match="there is no mynets:nothing"):
        exporters.to_onnx("mynets:nothing", "made.onnx")
    with pytest.raises(ZooError, match="there is no nosuchnets:net"):
        exporters.to_onnx("nosuchnets:net", "made.onnx")


class Odd(layers.Layer):
    """Uses an operator that ONNX has not."""

    def call(self, x):
        import tensorflow as tf

        return tf.math.igamma(x * x + 1, x * x)


def test_error_names_the_unsupported_operator_and_its_layer(tmp_path):
    image = keras.Input((4,))
    with pytest.raises(
        ZooError, match=r"layer odd uses Igamma, for which ONNX has no operator at opset 13; write the layer"
    ):
        exporters.to_onnx(keras.Model(image, Odd(name="odd")(image)), tmp_path / "odd.onnx")
    assert list(tmp_path.iterdir()) == []


def test_model_of_unknown_input_is_an_error(tmp_path):
    with pytest.raises(ZooError, match=r"has never been called.*call it once on a batch"):
        exporters.to_onnx(Subclassed(), tmp_path / "model.onnx")
    with pytest.raises(ZooError, match="only Keras models can be exported; given was a list"):
        exporters.to_onnx([1], tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["output", "input"])
def test_layer_can_be_named_like_the_input_or_output(name, tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name=name), layers.Softmax()])
    assert exporters.to_onnx(model, tmp_path / "model.onnx").passed
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert [graph.input[0].name, graph.output[0].name] == ["input", "output"]
    assert f"{name}/kernel" in {tensor.name for tensor in graph.initializer}


def test_double_precision_model_is_exported_in_double_precision(tmp_path):
    image = keras.Input((6, 6, 2), dtype="float64")
    x = layers.Flatten(dtype="float64")(layers.ReLU(dtype="float64")(image))
    x = layers.BatchNormalization(dtype="float64")(layers.Dense(3, dtype="float64")(x))
    assert exporters.to_onnx(keras.Model(image, -x), tmp_path / "double.onnx").passed
    graph = onnx.load(tmp_path / "double.onnx").graph
    assert [node.op_type for node in graph.node] == ["Relu", "Reshape", "Gemm"]
    floats = {tensor.data_type for tensor in graph.initializer} - {onnx.TensorProto.INT64}
    assert floats == {onnx.TensorProto.DOUBLE}


def test_mixed_precision_model_gives_a_valid_graph():
    """Runtimes round half precision in different ways, so the model is rebuilt in float32."""
    image = keras.Input((4, 4, 3))
    x = layers.Conv2D(2, 3, dtype="mixed_float16")(image)
    x = layers.BatchNormalization(dtype="mixed_float16")(x)
    x = layers.Dense(2, activation="gelu", dtype="mixed_float16")(layers.Flatten(dtype="mixed_float16")(x))
    model = shuffled(keras.Model(image, x))
    proto = ir.to_proto(convert.convert(source.find(model)))
    batch = np.random.default_rng(5).uniform(0, 1, (3, 4, 4, 3)).astype("float32")
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"input": np.moveaxis(batch, -1, 1)})
    assert result.dtype == "float32"
    np.testing.assert_allclose(result, keras.ops.convert_to_numpy(model(batch)), rtol=1e-2, atol=1e-2)


def test_failed_simplification_names_the_model(monkeypatch):
    """A rule that fails is skipped; what comes after the rules is needed."""

    def fail(model):
        raise RuntimeError("unknown graph")

    monkeypatch.setattr(graph.names, "rename", fail)
    with pytest.raises(
        ZooError,
        match=r"cannot be exported: .*RuntimeError: unknown graph. This is a bug.*please report it",
    ):
        convert.convert(source.find(nested()))
