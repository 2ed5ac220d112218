"""AlexNet's files: groups and normalization as one operator each, in the layout of ONNX throughout."""

import keras
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

import exporters
import zoo
from exporters import samples, source
from exporters.onnx import convert, files
from zoo import registry

VARIANTS = ("alexnet", "alexnet-asrun", "alexnet-bvlc", "caffenet", "alexnet-owt")
# What the papers and codes say of a window of five maps, in ONNX' convention: alpha is divided by the size.
NORMALIZATION = {"alexnet": (5e-4, 2.0), "alexnet-asrun": (1e-4, 2.0), "alexnet-bvlc": (1e-4, 1.0), "caffenet": (1e-4, 1.0)}


def awake(name, **options):
    """A classifier with weights with which every layer matters: with its start the maps are too small to normalize."""
    net = zoo.build(name, **options)
    generator = np.random.default_rng(1)
    for layer in net.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            scale = np.sqrt(2 / np.prod(kernel.shape[:-1])) * (0.1 if layer.name == "fc8" else 1)  # scores of trained nets
            layer.set_weights([generator.normal(0, scale, kernel.shape), generator.normal(0, 0.1, bias.shape)])
    card = zoo.card(name)
    size = net.input_shape[1]
    picture = card.picture.model_copy(update={"height": size, "width": size})
    return registry.wrap(net, card.model_copy(update={"picture": picture}), range(net.output_shape[-1]))


def group_of(node):
    """The number of groups of a convolution; one is not written."""
    return next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)


@pytest.mark.slow("exports each AlexNet at full size")
@pytest.mark.parametrize("name", VARIANTS)
def test_graph_has_one_operator_per_layer(name, tmp_path):
    classifier = awake(name)
    files.save(convert.convert(source.find(classifier)), tmp_path / "net.onnx")
    proto = onnx.load(tmp_path / "net.onnx")
    nodes = list(proto.graph.node)
    operators = [node.op_type for node in nodes]
    assert not {"Split", "Concat", "StatefulPartitionedCall"} & set(operators)
    assert "Transpose" not in operators
    groups = [group_of(node) for node in nodes if node.op_type == "Conv" and node.name.startswith("conv")]
    assert groups == ([1] * 5 if name == "alexnet-owt" else [1, 2, 1, 2, 2])
    assert (operators.count("MaxPool"), operators.count("Gemm")) == (3, 3)
    settings = [
        {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        for node in nodes
        if node.op_type == "LRN"
    ]
    assert len(settings) == (0 if name == "alexnet-owt" else 2)
    for attrs in settings:
        alpha, bias = NORMALIZATION[name]
        assert attrs == {"size": 5, "alpha": pytest.approx(alpha), "beta": pytest.approx(0.75), "bias": pytest.approx(bias)}
    reshapes = operators.count("Reshape")
    assert reshapes == (5 if name == "alexnet-asrun" else 1)  # a flatten, and around each LRN of two groups
    pictures = samples.shipped(classifier.image_spec)[:5]
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    expected = classifier.predict_on_batch(pictures)
    assert expected.std() > 0.1
    output = session.run(["scores"], {"pictures": np.moveaxis(pictures, -1, 1)})[0]
    np.testing.assert_allclose(output, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_parity_detects_normalization_across_both_groups(tmp_path):
    """One Reshape less, and the windows reach into the other GPU's maps: the scores are others, if only a little."""
    classifier = awake("alexnet-asrun", size=99, classes=10)
    proto = ir.to_proto(convert.convert(source.find(classifier)))
    (tmp_path / "right.onnx").write_bytes(proto.SerializeToString())
    for node in proto.graph.node:
        if node.op_type == "LRN":
            apart = next(each for each in proto.graph.node if each.output[0] == node.input[0])
            assert apart.op_type == "Reshape"
            node.input[0] = apart.input[0]
    (tmp_path / "wrong.onnx").write_bytes(proto.SerializeToString())
    assert exporters.verify(tmp_path / "right.onnx", classifier).passed
    assert not exporters.verify(tmp_path / "wrong.onnx", classifier).passed


def test_export_does_not_change_the_model():
    """For the trace its layers are written in another way; after it, also after one that fails, they are not."""
    import tensorflow as tf

    classifier = awake("alexnet", size=67, classes=3)
    before = classifier.predict_on_batch(samples.shipped(classifier.image_spec)[:3])
    with pytest.raises(zoo.ZooError, match="opset"):
        convert.convert(source.find(classifier), 99)
    convert.convert(source.find(classifier))
    assert not tf.config.functions_run_eagerly()
    for layer in classifier.net.layers:
        assert "call" not in vars(layer) and "convolution_op" not in vars(layer)
    np.testing.assert_array_equal(classifier.predict_on_batch(samples.shipped(classifier.image_spec)[:3]), before)


def test_grouped_convolution_is_one_operator(tmp_path):
    """Keras compiles them with XLA, which tf2onnx would not see through."""
    image = keras.Input((12, 12, 4), name="image")
    x = keras.layers.Conv2D(8, 3, groups=4, bias_initializer="normal", name="grouped")(image)
    x = keras.layers.Dense(10, name="scores")(keras.layers.Flatten(name="flatten")(x))
    net = keras.Model(image, x)
    card = zoo.card("linear")

    class Four(keras.layers.Layer):
        """Four maps of one gray channel."""

        def call(self, x):
            return keras.ops.concatenate([x, 2 * x, x + 30, x * x / 100], axis=-1)

    gray = keras.Input((12, 12, 1))
    picture = card.picture.model_copy(update={"height": 12, "width": 12})
    about = card.model_copy(update={"picture": picture})
    classifier = registry.wrap(keras.Model(gray, net(Four()(gray))), about, range(10))
    assert exporters.to_onnx(classifier, tmp_path / "grouped.onnx").passed
    nodes = onnx.load(tmp_path / "grouped.onnx").graph.node
    assert [group_of(node) for node in nodes if node.op_type == "Conv"] == [4]
