"""The verification of an export: right files of models that are hard to verify pass, and the cause of a failure is named."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import exporters
from exporters import source
from exporters.onnx import runtimes
from zoo.errors import CheckFailed, ZooError


def functional(shape, build, dtype="float32"):
    keras.utils.set_random_seed(4)
    given = keras.Input(shape, dtype=dtype)
    return keras.Model(given, build(given), name="net")


def normalized(x):
    """Normalize the second axis as channels; it becomes a BatchNormalization of opset 13."""
    scale, shift, mean, variance = (tf.constant(each) for each in ([0.2, 0.3], [0.5, 0.4], [0.1, 0.2], [0.9, 1.1]))
    return tf.compat.v1.nn.fused_batch_norm(x, scale, shift, mean, variance, 0.001, "NHWC", is_training=False)[0]


def segmentation(x):
    """A net whose float32 outputs are 1e-4 off at inputs of 100, because sums of thousands go through a sigmoid."""
    x = layers.Conv2D(8, 3, padding="same", activation="relu", kernel_initializer="he_normal")(x)
    return layers.Conv2D(
        1, 3, padding="same", activation="sigmoid", kernel_initializer=keras.initializers.RandomNormal(0, 3)
    )(x)


RIGHT = {
    "log_softmax": ((16,), lambda x: layers.Dense(4, activation="log_softmax")(x), "100 times"),
    "exponential": ((8,), lambda x: layers.Dense(2, activation="exponential")(x), "images"),
    "logarithm": ((8,), lambda x: layers.Dense(2)(ops.log(x)), "standard normal"),
    "square_root": ((8,), lambda x: layers.Dense(2)(ops.sqrt(x + 1)), "standard normal"),
    "unit_length": ((8,), lambda x: x / ops.norm(x, axis=-1, keepdims=True), "zeros"),
    "normalized": ((2, 3, 2), lambda x: layers.Lambda(normalized, output_shape=(2, 3, 2))(x), None),
    "segmentation": ((16, 16, 3), segmentation, None),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_file_is_written(name, tmp_path):
    shape, build, skipped = RIGHT[name]
    net = functional(shape, build)
    report = exporters.to_onnx(net, tmp_path / "net.onnx", layout="nhwc")
    assert report.passed and report.images >= 50
    if skipped and name != "log_softmax":
        assert any(skipped in inputs for inputs in report.skipped), report.skipped
    # The file is right, by onnxruntime alone, on positive inputs.
    x = np.random.default_rng(0).uniform(0.5, 1, (5, *shape)).astype("float32")
    np.testing.assert_allclose(runtimes.scorer(tmp_path / "net.onnx", "NHWC")(x), net(x), rtol=1e-4, atol=1e-5)
    wrong = {"log_softmax": "LogSoftmax", "normalized": "BatchNormalization"}
    if name in wrong:
        assert f"it computes {wrong[name]}" in report.deviating["onnx reference"]


def test_padding_alone_is_skipped_in_a_mean_of_words(tmp_path):
    words = keras.Input((12,), dtype="int32")
    mean = layers.GlobalAveragePooling1D()(layers.Embedding(50, 8, mask_zero=True)(words))
    report = exporters.to_onnx(keras.Model(words, layers.Dense(3)(mean)), tmp_path / "net.onnx")
    assert report.passed and report.skipped["zeros"] == "the outputs of the model are not finite"
    assert "small integers" in report.skipped  # they are no rows of the table


def test_a_model_that_is_finite_on_no_input_is_the_cause_unless_inputs_are_given(tmp_path):
    net = functional((3,), lambda x: layers.Dense(2)(ops.log(x - 1e6)))
    with pytest.raises(CheckFailed, match="because of the model: its scores are not finite on 64 of 64 images; give inputs"):
        exporters.to_onnx(net, tmp_path / "net.onnx")
    given = np.random.default_rng(0).uniform(2e6, 3e6, (20, 3))
    np.save(tmp_path / "inputs.npy", given)
    for data in (given, tmp_path / "inputs.npy"):
        report = exporters.to_onnx(net, tmp_path / "net.onnx", data=data)
        assert report.passed and report.images == 20


def test_a_folder_of_images_is_used_for_any_image_input(digits, tmp_path):
    net = functional((9, 8, 3), lambda x: layers.Dense(2)(layers.Flatten()(x)))
    report = exporters.to_onnx(net, tmp_path / "net.onnx", data=digits / "3")
    assert report.passed and report.agreement == 1
    inputs, real = source.find(net).inputs(digits / "3")
    assert real == 64 and inputs[1::3].max() > 200 and inputs[::3][:20].max() <= 1
    with pytest.raises(ZooError, match=r"takes inputs of \(5,\)\. Give its inputs as an \.npy file of shape \('n', 5\)"):
        exporters.to_onnx(functional((5,), layers.Dense(2)), tmp_path / "rows.onnx", data=digits / "3")


def test_a_model_that_fails_on_more_than_two_inputs_is_refused_in_words(tmp_path):
    table = tf.constant([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    net = functional((3,), lambda x: layers.Lambda(lambda x: x + table, output_shape=(3,))(x))
    with pytest.raises(ZooError, match=r"net fails on a batch of 3: Incompatible shapes: \[[23],3\] vs\. \[[23],3\]"):
        exporters.to_onnx(net, tmp_path / "net.onnx")


def test_a_wrong_whole_number_is_found(tmp_path, monkeypatch):
    """A file that rounds quotients toward zero is right for 0 and 1 alone."""
    net = functional((6,), lambda x: ops.cast(x // 2, "float32"), "int32")

    def toward_zero(*arguments, **keywords):
        return lambda batch: [np.fix(batch / 2).astype("float32")]

    monkeypatch.setattr(runtimes, "runner", toward_zero)
    with pytest.raises(CheckFailed, match="does not compute what the model computes: onnxruntime: a batch of 64 differs"):
        exporters.to_onnx(net, tmp_path / "net.onnx")


def test_scores_that_hardly_differ_are_reported(tmp_path):
    net = functional((5,), lambda x: layers.Lambda(lambda x: 1 + 1e-7 * tf.tanh(x))(x))
    report = exporters.to_onnx(net, tmp_path / "net.onnx")
    assert report.passed and report.spread < 1e-6
    assert any("this shows little" in line for line in report.lines())
