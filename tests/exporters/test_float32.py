"""Models of half precision are exported in float32 with their weights."""

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from keras import layers

import exporters
import zoo
from exporters import float32, source
from zoo.errors import ZooError


def made(policy):
    """Return a model with layers within layers, whose last layer is float32, as Keras recommends."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        keras.utils.set_random_seed(1)
        image = keras.Input((9, 9, 3))
        inner = keras.Sequential([keras.Input((7, 7, 4)), layers.Conv2D(4, 3), layers.BatchNormalization()])
        x = inner(layers.ReLU()(layers.Conv2D(4, 3)(image)) + 1)
        x = layers.GlobalAveragePooling2D()(layers.TimeDistributed(layers.Dense(4))(x))
        return keras.Model(image, layers.Dense(3, dtype="float32")(x))
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("policy", float32.POLICIES)
def test_the_copy_computes_in_float32_with_the_same_weights(policy):
    model = made(policy)
    found = source.find(model)
    assert found.policy == policy == float32.policy_of(model) and float32.policy_of(found.model) is None
    for weight, copy in zip(model.weights, found.model.weights, strict=True):
        assert copy.dtype == "float32"
        np.testing.assert_array_equal(np.asarray(weight.value).astype("float32"), np.asarray(copy.value))
    images = np.random.default_rng(0).uniform(size=(3, 9, 9, 3)).astype("float32")
    tolerance = 0.05 if "bfloat16" in policy else 0.005
    np.testing.assert_allclose(found.model(images), model(images), atol=tolerance)


def test_the_file_is_float32_and_says_so(tmp_path):
    model = made("mixed_float16")
    report = exporters.to_onnx(model, tmp_path / "model.onnx")
    assert "assumed: float32 in place of mixed_float16, with the weights of the model" in report.lines()
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert {tensor.data_type for tensor in graph.initializer} <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}
    assert "mixed_float16" in (tmp_path / "model.json").read_text()
    images = np.random.default_rng(0).uniform(size=(3, 3, 9, 9)).astype("float32")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(
        session.run(None, {"input": images})[0], np.asarray(model(images.transpose(0, 2, 3, 1))), atol=0.01
    )
    assert exporters.verify(tmp_path / "model.onnx", model).passed


def test_litert_gets_float32_too(tmp_path):
    report = exporters.to_tflite(made("mixed_bfloat16"), tmp_path / "model.tflite")
    assert report.passed and "mixed_bfloat16" in report.assumed[0]


class Subclassed(keras.Model):
    """A model that has no configuration to be rebuilt from."""

    def __init__(self):
        super().__init__(dtype="mixed_float16")
        self.dense = layers.Dense(3, dtype="mixed_float16")

    def call(self, x):
        return self.dense(x)


def test_a_model_that_cannot_be_rebuilt_is_refused_with_the_step_that_works(tmp_path):
    model = Subclassed()
    model(np.zeros((1, 4), "float32"))
    with pytest.raises(ZooError, match=r"computes in mixed_float16 and cannot be rebuilt.*set_dtype_policy\('float32'\)"):
        exporters.to_onnx(model, tmp_path / "model.onnx")


def test_a_classifier_keeps_its_metadata_and_has_no_half_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        classifier = zoo.load("lenet5.mnist")
    finally:
        keras.config.set_dtype_policy(before)
    classifier.class_ids = [f"n{index}" for index in range(10)]
    found = source.find(classifier)
    assert found.policy == "mixed_float16" and float32.policy_of(found.model) is None
    own, copy = classifier.get_config(), found.model.get_config()
    for key in ("name", "picture", "class_names", "card", "weights", "options", "class_ids"):
        assert copy[key] == own[key], key
    images = np.random.default_rng(0).integers(0, 256, (3, *classifier.input_image_shape), "uint8")
    np.testing.assert_allclose(found.model(images), zoo.load("lenet5.mnist")(images), rtol=1e-5, atol=1e-5)
