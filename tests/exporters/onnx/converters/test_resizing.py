"""Operators that tf2onnx converts wrongly or not at all, compared with NumPy, Keras and the readers of the files."""

import keras
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from keras import layers

import exporters
from exporters import source
from exporters.onnx import convert
from exporters.tensorrt import rtx
from zoo.errors import ZooError


def run(model, inputs, **options):
    """Return what onnxruntime computes with the graph of a model, and the operators of the graph."""
    proto = ir.to_proto(convert.convert(source.find(model), **options))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    given = inputs.transpose(0, 3, 1, 2) if inputs.ndim == 4 else inputs
    return session.run(None, {"input": given})[0], [node.op_type for node in proto.graph.node]


def resizing(before, after, **settings):
    image = keras.Input((*before, 2))
    return keras.Model(image, layers.Resizing(*after, **settings)(image))


def interpolate(images, axis, after):
    """Linear interpolation along an axis with the centers of the pixels at 0.5, 1.5 ..., in float64."""
    before = images.shape[axis]
    position = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0, before - 1)
    low = np.floor(position).astype(int)
    weight = (position - low).reshape([-1 if each == axis else 1 for each in range(images.ndim)])
    high = np.minimum(low + 1, before - 1)
    return images.take(low, axis) * (1 - weight) + images.take(high, axis) * weight


# The size times the quotient of the sizes in float32 is just below the size that is wanted in the first four.
@pytest.mark.parametrize(
    ("before", "after"), [((100, 48), (64, 112)), ((96, 100), (224, 17)), ((7, 9), (14, 27)), ((30, 16), (10, 4))]
)
def test_bilinear_resizing_has_the_size_and_the_pixels_of_numpy(before, after):
    images = np.random.default_rng(0).uniform(size=(2, *before, 2)).astype("float32")
    result, operators = run(resizing(before, after), images)
    assert "Resize" in operators
    expected = interpolate(interpolate(images.astype("float64"), 1, after[0]), 2, after[1])
    np.testing.assert_allclose(result, expected, atol=2e-5)


@pytest.mark.parametrize(
    ("before", "after", "operator"),
    [((17, 19), (8, 9), "Resize"), ((4, 5), (8, 15), "Resize"), ((8, 6), (4, 6), "Resize"), ((2, 12), (41, 2), "Gather")],
)
def test_nearest_pixels_are_those_of_keras_in_an_operator_that_nvidia_reads(before, after, operator, tmp_path):
    """In the last pair two pixels are equally near, and rounding decides; runtimes round in different ways."""
    model = resizing(before, after, interpolation="nearest")
    images = np.random.default_rng(0).uniform(size=(3, *before, 2)).astype("float32")
    result, operators = run(model, images)
    assert operator in operators
    np.testing.assert_array_equal(result, np.asarray(model(images)))
    exporters.to_onnx(model, tmp_path / "model.onnx")
    if rtx.available():
        rtx.check(tmp_path / "model.onnx")


@pytest.mark.parametrize("opset", [13, 9])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest", "bicubic", "area", "lanczos3"])
def test_every_interpolation_is_that_of_keras_at_every_opset(interpolation, opset):
    image = keras.Input((12, 40, 2))
    resized = layers.Resizing(30, 17, interpolation=interpolation)(image)
    model = keras.Model(image, layers.GlobalAveragePooling2D()(layers.MaxPooling2D()(resized)))
    images = np.random.default_rng(0).normal(size=(3, 12, 40, 2)).astype("float32")
    np.testing.assert_allclose(run(model, images, opset=opset)[0], np.asarray(model(images)), atol=2e-5)


@pytest.mark.parametrize("settings", [{"antialias": True}, {"crop_to_aspect_ratio": True}, {"pad_to_aspect_ratio": True}])
def test_other_ways_to_resize_have_a_graph_of_known_sizes(settings):
    model = resizing((17, 50), (9, 12), fill_value=3, **settings)
    images = np.random.default_rng(0).normal(size=(3, 17, 50, 2)).astype("float32")
    result, operators = run(model, images)
    np.testing.assert_allclose(result, np.asarray(model(images)), atol=2e-5)
    assert not {"If", "Where", "Min", "Max"} & set(operators)


def test_pixels_are_repeated_by_one_resize_of_known_sizes(tmp_path):
    image = keras.Input((7, 10, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(layers.UpSampling2D((2, 3))(image)))
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(layers.MaxPooling2D()(x))))
    report = exporters.to_onnx(model, tmp_path / "model.onnx", static_batch=2)
    assert "onnx reference" in report.runtimes
    operators = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert operators == ["Resize", "Conv", "MaxPool", "Reshape", "Gemm"]
    images = np.random.default_rng(0).normal(size=(2, 7, 10, 3)).astype("float32")
    np.testing.assert_allclose(run(model, images)[0], np.asarray(model(images)), atol=1e-4)


def test_an_interpolation_that_needs_known_sizes_names_its_layer():
    image = keras.Input((8, 8, 3))

    class Cut(layers.Layer):
        def call(self, x):
            size = keras.ops.cast(keras.ops.max(x), "int32")
            return layers.Resizing(4, 4, interpolation="bicubic", name="inner")(x[:, :size])

        def compute_output_shape(self, shape):
            return (shape[0], 4, 4, shape[3])

    model = keras.Model(image, Cut(name="cut")(image))
    with pytest.raises(ZooError, match=r"layer cut of \S+ cannot be exported: bicubic interpolation needs a known"):
        convert.convert(source.Source(model, (8, 8, 3), "float32", None, False, "cut"))
