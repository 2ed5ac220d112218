"""The comparison of a model with its file layer by layer."""

import keras
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import exporters
import zoo
from exporters.onnx import activations

PICTURES = np.random.default_rng(0).normal(size=(11, 6, 5, 3)).astype("float32")


class Doubled(keras.layers.Layer):
    """A layer with two inner layers of the same name."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = keras.layers.Dense(4, name="inner")
        self.second = keras.layers.Dense(4, name="inner")

    def build(self, shape):
        self.first.build(shape)
        self.second.build(shape)

    def call(self, x):
        return self.first(x) + self.second(x)


@pytest.fixture(scope="module")
def model():
    """Return a model of a convolution, a convolution in a block, a mean and a dense layer."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((4, 3, 4), name="maps")
    block = keras.Model(inputs, keras.layers.Conv2D(5, 2, activation="tanh", name="conv")(inputs), name="block")
    image = keras.Input((6, 5, 3), name="image")
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    x = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="mean")(block(x))
    return keras.Model(image, keras.layers.Dense(3, bias_initializer="normal", name="dense")(x), name="outer")


def save(model, path, change=lambda name, array: array, dropped=(), layout="NCHW"):
    """Write the model as ONNX with tensors named like the layers; change(name, array) can replace weights."""
    outer, inner, dense = model.get_layer("conv"), model.get_layer("block").get_layer("conv"), model.get_layer("dense")
    weights = {}
    for name, layer in (("conv", outer), ("block", inner), ("dense", dense)):
        kernel, bias = (np.asarray(weight) for weight in layer.weights)
        weights |= {f"{name}/k": kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel, f"{name}/b": bias}
    weights |= {"axes": np.array([2, 3])}
    names = {name: f"{name}/hidden" if name in dropped else name for name in ("conv", "relu", "block/conv", "block", "mean")}
    turn = layout == "NHWC"
    nodes = [
        *([helper.make_node("Transpose", ["pictures"], ["turned"], perm=[0, 3, 1, 2])] if turn else []),
        helper.make_node("Conv", ["turned" if turn else "pictures", "conv/k", "conv/b"], [names["conv"]]),
        helper.make_node("Relu", [names["conv"]], [names["relu"]]),
        helper.make_node("Conv", [names["relu"], "block/k", "block/b"], ["sum"]),
        helper.make_node("Tanh", ["sum"], [names["block/conv"]]),
        helper.make_node("ReduceMean", [names["block/conv"]], [names["mean"]], axes=[2, 3], keepdims=0),
        helper.make_node("Gemm", [names["mean"], "dense/k", "dense/b"], ["scores"]),
    ]
    ends = [("pictures", ["n", 6, 5, 3] if turn else ["n", 3, 6, 5]), ("scores", ["n", 3])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends]
    tensors = [numpy_helper.from_array(np.ascontiguousarray(change(name, array)), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_layer_paths_exclude_the_model_name(model):
    paths = activations.layer_paths(model)
    assert list(paths.values()) == ["conv", "relu", "block", "block/conv", "mean", "dense"]
    assert paths[id(model.get_layer("block").get_layer("conv"))] == "block/conv"


def test_layer_paths_exclude_the_net_of_a_classifier():
    classifier = zoo.load("lenet-caffe")
    paths = activations.layer_paths(classifier)
    assert set(paths.values()) == {"conv1", "pool1", "conv2", "pool2", "flatten", "ip1", "ip2", "preprocessing"}
    assert paths[id(classifier.net.get_layer("ip1"))] == "ip1" and id(classifier.net) not in paths
    assert set(activations.layer_paths(classifier.net).values()) == set(paths.values()) - {"preprocessing"}


def test_layers_in_attributes_get_distinct_paths():
    net = keras.Sequential([keras.Input((4,)), Doubled(name="custom"), keras.layers.ReLU(name="relu")])
    assert list(activations.layer_paths(net).values()) == ["custom", "custom/inner", "custom/inner_2", "relu"]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_identical_file_has_no_difference(model, tmp_path, layout):
    path = save(model, tmp_path / "net.onnx", layout=layout)
    assert activations.first_difference(model, path, PICTURES, layout) is None


@pytest.mark.parametrize(
    ("weight", "layer", "alike"),
    [
        ("conv/k", "conv", "the input"),
        ("conv/b", "conv", "the input"),
        ("block/k", "block/conv", "relu"),
        ("dense/k", "dense", "mean"),
        ("dense/b", "dense", "mean"),
    ],
)
def test_first_difference_is_the_layer_of_the_changed_weight(model, tmp_path, weight, layer, alike):
    def change(name, array):
        return array + np.float32(0.1) if name == weight else array

    difference = activations.first_difference(model, save(model, tmp_path / "net.onnx", change), PICTURES)
    assert difference.startswith(f"{layer} (largest difference ") and difference.endswith(f"), alike up to {alike}")


def test_message_has_the_largest_difference_and_magnitude(model, tmp_path):
    def change(name, array):
        return array + np.float32([0, 0.25, 0]) if name == "dense/b" else array

    difference = activations.first_difference(model, save(model, tmp_path / "net.onnx", change), PICTURES[:4])
    largest = np.abs(model(PICTURES[:4])).max()
    assert difference == f"dense (largest difference 0.25 of {largest:.2g}), alike up to mean"


def test_layer_missing_in_the_file_is_skipped(model, tmp_path):
    def change(name, array):
        return array * np.float32(2) if name == "conv/k" else array

    path = save(model, tmp_path / "net.onnx", change, dropped=("conv", "relu"))
    assert activations.first_difference(model, path, PICTURES).startswith("block/conv (largest difference ")


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_tolerance_is_relative_to_the_largest_magnitude(model, tmp_path, scale):
    weights = model.get_weights()
    model = keras.models.clone_model(model)
    model.set_weights([scale * weights[0], *weights[1:]])
    path = save(model, tmp_path / "net.onnx", lambda name, array: array * np.float32(1.01) if name == "conv/k" else array)
    assert activations.first_difference(model, path, PICTURES, tolerance=1e-3).startswith("conv ")
    assert activations.first_difference(model, path, PICTURES, tolerance=0.1) is None


def test_other_shape_and_nan_are_differences(model, tmp_path):
    def fewer(name, array):
        return array[:, :, :2] if name == "conv/k" else array

    difference = activations.first_difference(model, save(model, tmp_path / "net.onnx", fewer), PICTURES[:2])
    assert difference == "conv (shape (2, 4, 5, 3) instead of (2, 4, 3, 4)), alike up to the input"
    path = save(model, tmp_path / "net.onnx", lambda name, array: array * np.float32(np.nan) if name == "dense/b" else array)
    assert activations.first_difference(model, path, PICTURES).startswith("dense (largest difference nan of ")


def test_inputs_beyond_the_first_batch_are_compared_too(model, tmp_path):
    """Only the last input gives negative values, and only these differ."""
    path = save(model, tmp_path / "net.onnx")
    proto = onnx.load(path)
    next(node for node in proto.graph.node if node.op_type == "Relu").op_type = "Abs"
    onnx.save(proto, path)
    inputs = np.zeros((activations.BATCH + 1, *PICTURES.shape[1:]), "float32")
    assert activations.first_difference(model, path, inputs) is None
    inputs[-1] = PICTURES[0]
    assert activations.first_difference(model, path, inputs).startswith("relu (largest difference ")


def test_static_batch_is_used(model, tmp_path):
    path = save(model, tmp_path / "net.onnx", lambda name, array: array + np.float32(name == "dense/b"))
    proto = onnx.load(path)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    onnx.save(proto, path)
    assert activations.first_difference(model, path, PICTURES[:6], batch=3).startswith("dense ")


def test_file_that_does_not_run_has_no_difference(model, tmp_path):
    path = save(model, tmp_path / "net.onnx")
    assert activations.first_difference(model, path, PICTURES[:, :, :2]) is None


def test_model_is_restored(model, tmp_path):
    """Also if a layer has its own `call` attribute, and after a run that fails."""
    path, layer = save(model, tmp_path / "net.onnx"), model.get_layer("relu")
    own = layer.call = lambda x: 0 * x
    try:
        assert activations.first_difference(model, path, PICTURES).startswith("relu ")
        assert layer.call is own
    finally:
        del layer.call
    layer.call = lambda x: 1 / 0
    try:
        with pytest.raises(ZeroDivisionError):
            activations.first_difference(model, path, PICTURES)
    finally:
        del layer.call
    assert all("call" not in vars(each) for each in model._flatten_layers())


def test_shared_layer_is_compared_at_its_first_call(tmp_path):
    inputs = keras.Input((4,))
    shared = keras.layers.Dense(4, name="shared")
    model = keras.Model(inputs, keras.layers.Dense(2, name="last")(shared(shared(inputs))))
    weights = {name: np.asarray(model.get_layer(name).kernel) for name in ("shared", "last")}
    nodes = [
        helper.make_node("MatMul", ["input", "shared/k"], ["shared"]),
        helper.make_node("MatMul", ["shared", "shared/k"], ["second"]),
        helper.make_node("MatMul", ["second", "last/k"], ["output"]),
    ]
    ends = [helper.make_tensor_value_info(*end) for end in (("input", 1, ["n", 4]), ("output", 1, ["n", 2]))]
    path = tmp_path / "net.onnx"
    for changed, expected in (("neither", None), ("shared", "shared "), ("last", "last ")):
        tensors = [
            numpy_helper.from_array(w * np.float32(1 + (name == changed)), f"{name}/k") for name, w in weights.items()
        ]
        graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], tensors)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
        difference = activations.first_difference(model, path, PICTURES[:, 0, 0, :1].repeat(4, 1))
        assert difference is None if expected is None else difference.startswith(expected)


def test_layers_inside_time_distributed_are_skipped(tmp_path):
    inputs = keras.Input((3, 4))
    model = keras.Model(inputs, keras.layers.TimeDistributed(keras.layers.Dense(2, name="dense"), name="each")(inputs))
    kernel = np.asarray(model.get_layer("each").layer.kernel)
    ends = [helper.make_tensor_value_info(*end) for end in (("input", 1, ["n", 3, 4]), ("output", 1, ["n", 3, 2]))]
    node = helper.make_node("MatMul", ["input", "k"], ["output"])
    for scale, expected in ((1, None), (2, "each ")):
        tensors = [numpy_helper.from_array(kernel * np.float32(scale), "k")]
        graph = helper.make_graph([node], "graph", ends[:1], ends[1:], tensors)
        path = tmp_path / "net.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
        x = np.random.default_rng(1).normal(size=(5, 3, 4)).astype("float32")
        difference = activations.first_difference(model, path, x)
        assert difference is None if expected is None else difference.startswith(expected)


def test_exported_file_matches_layer_by_layer(tmp_path):
    """An exported model with everything that is transposed and folded: groups, normalization, pooling, flatten."""
    from exporters import samples, source
    from exporters.onnx import convert, files

    keras.utils.set_random_seed(4)
    classifier = zoo.load("alexnet-cifar")
    path = tmp_path / "net.onnx"
    files.save(convert.convert(source.find(classifier)), path)
    pictures = samples.shipped(classifier.image_spec)[:4]
    assert activations.first_difference(classifier, path, pictures) is None
    proto = onnx.load(path)
    kernel = next(tensor for tensor in proto.graph.initializer if tensor.name == "conv2/kernel")
    kernel.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(kernel) * np.float32(1.5), kernel.name))
    onnx.save(proto, path)
    assert activations.first_difference(classifier, path, pictures).startswith("conv2 (largest difference ")


def test_verification_with_a_static_batch_names_the_layer(tmp_path):
    classifier = zoo.load("lenet5-modern.mnist")
    exporters.to_onnx(classifier, tmp_path / "net.onnx", static_batch=5)
    proto = onnx.load(tmp_path / "net.onnx")
    kernel = next(tensor for tensor in proto.graph.initializer if tensor.name == "c3/kernel")
    kernel.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(kernel) * np.float32(1.5), kernel.name))
    onnx.save(proto, tmp_path / "net.onnx")
    report = exporters.verify(tmp_path / "net.onnx", classifier)
    assert report.batches == (5,) and report.first_divergent_layer.startswith("c3 (largest difference ")
    assert any(problem.startswith("onnx reference: ") for problem in report.problems)
