"""AlexNet and its variants: counts of every layer, the same nets in PyTorch, Caffe's semantics in loops, both backends."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo import initializers
from zoo.analysis import arithmetic
from zoo.layers import GroupedConv2D, LocalResponseNormalization

torch = pytest.importorskip("torch", reason="PyTorch is not installed; it comes with the extra torch")
F = torch.nn.functional

VARIANTS = ("alexnet", "alexnet-asrun", "alexnet-bvlc", "caffenet", "alexnet-owt")

# The published layer tables, one line per layer, in the order of computation.
TOP = [("dense", "fc6"), ("relu",), ("dense", "fc7"), ("relu",), ("dense", "fc8")]


def tower(first, second, *, last=(("relu",), ("pool",))):
    """The nets of 2012 differ around their first two convolutions and after the fifth."""
    return [
        ("conv", "conv1", 4, 0, 1),
        *first,
        ("conv", "conv2", 1, 2, 2),
        *second,
        *(("conv", "conv3", 1, 1, 1), ("relu",), ("conv", "conv4", 1, 1, 2), ("relu",), ("conv", "conv5", 1, 1, 2)),
        *last,
        ("flatten",),
        *TOP,
    ]


PAPER, AS_RUN, CAFFE = ("lrn", 1e-4, 2.0, 1), ("lrn", 1e-4 / 5, 2.0, 2), ("lrn", 1e-4 / 5, 1.0, 1)
TABLES = {
    "alexnet": tower([("relu",), PAPER, ("pool",)], [("relu",), PAPER, ("pool",)]),
    "alexnet-asrun": [
        ("pad", 3),
        *tower(
            [AS_RUN, ("pool",), ("relu",)],
            [("relu",), AS_RUN, ("within",), ("pool",)],
            last=[("pool",), ("relu",)],
        ),
    ],
    "alexnet-bvlc": tower([("relu",), CAFFE, ("pool",)], [("relu",), CAFFE, ("pool",)]),
    "caffenet": tower([("relu",), ("pool",), CAFFE], [("relu",), ("pool",), CAFFE]),
    "alexnet-owt": [
        *(("conv", "conv1", 4, 2, 1), ("relu",), ("pool",), ("conv", "conv2", 1, 2, 1), ("relu",), ("pool",)),
        *(("conv", "conv3", 1, 1, 1), ("relu",), ("conv", "conv4", 1, 1, 1), ("relu",), ("conv", "conv5", 1, 1, 1)),
        *(("relu",), ("pool",), ("flatten",), *TOP),
    ],
}


def in_torch(table, weights, x, ceil=True):
    """Run a table in PyTorch: (batch, height, width, 3) -> scores.

    Args:
        weights: dict of name to (kernel, bias), tensors in Keras' layouts.
    """
    x = x.permute(0, 3, 1, 2)
    for what, *how in table:
        if what == "conv":
            name, stride, padding, groups = how
            kernel, bias = weights[name]
            x = F.conv2d(x, kernel.permute(3, 2, 0, 1), bias, stride, padding, groups=groups)
        elif what == "dense":
            kernel, bias = weights[how[0]]
            x = x @ kernel + bias
        elif what == "relu":
            x = F.relu(x)
        elif what == "pad":
            x = F.pad(x, (0, how[0], 0, how[0]))
        elif what == "pool":
            x = F.max_pool2d(x, 3, 2, ceil_mode=ceil)
        elif what == "lrn":
            alpha, k, groups = how
            parts = [F.local_response_norm(part, 5, 5 * alpha, 0.75, k) for part in x.chunk(groups, dim=1)]
            x = torch.cat(parts, dim=1)
        elif what == "within":
            squares = F.avg_pool2d(x**2, 5, 1, 2, count_include_pad=True)
            x = x / (1 + 0.001 / 25 * 25 * squares) ** 0.75
        else:
            x = x.permute(0, 2, 3, 1).flatten(1)  # the rows of the first dense kernel go by row, column, map
    return x


def awake(net, seed=1):
    """Set random weights with which every layer matters: with the initial ones the maps are too small to normalize."""
    generator = np.random.default_rng(seed)
    for layer in net.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            scale = np.sqrt(2 / np.prod(kernel.shape[:-1]))
            layer.set_weights([generator.normal(0, scale, kernel.shape), generator.normal(0, 0.1, bias.shape)])
    return net


def images(side, count=2):
    """Random centered images of patches, (count, side, side, 3) float32, with noise, so that no two positions are equal."""
    generator = np.random.default_rng(7)
    coarse = generator.normal(0, 60, (count, side // 8 + 1, side // 8 + 1, 3))
    patches = np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)[:, :side, :side]
    return (patches + generator.normal(0, 10, patches.shape)).astype("float32")


@pytest.mark.slow("differentiates each AlexNet at full size in two frameworks")
@pytest.mark.parametrize("name", VARIANTS)
def test_same_results_as_in_pytorch(name):
    """Scores to 1e-4, and the gradient of every weight."""
    net = awake(zoo.build(name, dropout=0.0))
    x, labels = images(net.input_shape[1]), np.array([3, 977])
    with tf.GradientTape() as tape:
        scores = net(x, training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores))
    gradients = tape.gradient(loss, [weight.value for weight in net.trainable_weights])
    weights = {
        layer.name: [torch.tensor(value, requires_grad=True) for value in layer.get_weights()]
        for layer in net.layers
        if layer.weights
    }
    expected = in_torch(TABLES[name], weights, torch.from_numpy(x), ceil=name != "alexnet-owt")
    F.cross_entropy(expected, torch.from_numpy(labels)).backward()
    expected = expected.detach().numpy()
    assert expected.std() > 0.1
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    others = [value.grad.numpy() for layer in net.layers if layer.weights for value in weights[layer.name]]
    for weight, ours, theirs in zip(net.trainable_weights, gradients, others, strict=True):
        assert np.abs(theirs).max() > 0, weight.path
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max(), err_msg=weight.path)


COUNTS = {  # output shape, parameters, multiply-accumulates without bias
    "conv1": ((55, 55, 96), 34_944, 105_415_200),
    "conv2": ((27, 27, 256), 307_456, 223_948_800),
    "conv3": ((13, 13, 384), 885_120, 149_520_384),
    "conv4": ((13, 13, 384), 663_936, 112_140_288),
    "conv5": ((13, 13, 256), 442_624, 74_760_192),
    "fc6": ((4096,), 37_752_832, 37_748_736),
    "fc7": ((4096,), 16_781_312, 16_777_216),
    "fc8": ((1000,), 4_097_000, 4_096_000),
}


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "alexnet-owt"])
def test_counts_of_2012(name):
    with initializers.starting_from_zero():
        rows = arithmetic.table(zoo.build(name))
    assert {row.name: (row.shape, row.parameters, row.macs) for row in rows if row.parameters} == COUNTS
    totals = arithmetic.totals(rows)
    assert (totals["parameters"], totals["macs"]) == (60_965_224, 724_406_816)
    assert [row.shape for row in rows if row.kind == "MaxPooling2D"] == [(27, 27, 96), (13, 13, 256), (6, 6, 256)]


def test_counts_of_2014():
    """torchvision publishes parameters and multiply-accumulates; its layers follow from its sizes."""
    with initializers.starting_from_zero():
        rows = arithmetic.table(zoo.build("alexnet-owt"))
    totals = arithmetic.totals(rows)
    assert (totals["parameters"], totals["macs"]) == (61_100_840, 714_188_480)
    sizes = {row.name: row.shape for row in rows if row.parameters}
    convolutions = {"conv1": (55, 55, 64), "conv2": (27, 27, 192), "conv3": (13, 13, 384), "conv4": (13, 13, 256)}
    assert convolutions.items() <= sizes.items() and sizes["conv5"] == (13, 13, 256)


def test_counts_without_groups():
    """Without groups the net of 2012 would have 62,378,344 parameters and 1,135,256,096 MACs."""
    parameters, macs = 60_965_224, 724_406_816
    with initializers.starting_from_zero():
        net = zoo.build("alexnet")
    for layer in (layer for layer in net.layers if isinstance(layer, GroupedConv2D)):
        kernel, places = layer.kernel.shape, np.prod(layer.output.shape[1:3])
        assert layer.groups == 2 and kernel[2] * 2 == layer.input.shape[-1]
        parameters += np.prod(kernel)
        macs += np.prod(kernel) * places
    assert (parameters, macs) == (62_378_344, 1_135_256_096)


STARTS = {  # standard deviation of each kernel, bias of each layer
    "alexnet": ([0.01] * 8, [0, 1, 0, 1, 1, 1, 1, 0]),
    "alexnet-asrun": ([0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01], [0, 1, 0, 1, 1, 1, 1, 0]),
    "alexnet-bvlc": ([0.01] * 5 + [0.005, 0.005, 0.01], [0, 0.1, 0, 0.1, 0.1, 0.1, 0.1, 0]),
    "caffenet": ([0.01] * 5 + [0.005, 0.005, 0.01], [0, 1, 0, 1, 1, 1, 1, 0]),
}


@pytest.mark.parametrize("name", STARTS)
def test_initialization(name):
    keras.utils.set_random_seed(2)
    learned = [layer.get_weights() for layer in zoo.build(name).layers if layer.weights]
    deviations, biases = STARTS[name]
    assert [float(kernel.std()) for kernel, _ in learned] == pytest.approx(deviations, rel=0.02)
    for (_, bias), expected in zip(learned, biases, strict=True):
        np.testing.assert_array_equal(bias, np.full(bias.shape, expected, "float32"))


def test_initialization_of_torchvision():
    """PyTorch's own layers of the same sizes are initialized in the same interval."""
    keras.utils.set_random_seed(2)
    layers = [layer for layer in zoo.build("alexnet-owt").layers if layer.weights]
    theirs = [torch.nn.Conv2d(3, 64, 11), torch.nn.Conv2d(64, 192, 5), *[None] * 3, torch.nn.Linear(9216, 4096)]
    for layer, other in zip(layers, theirs, strict=False):
        if other is not None:
            for ours, parameter in zip(layer.get_weights(), other.parameters(), strict=True):
                assert np.abs(ours).max() == pytest.approx(parameter.abs().max().item(), rel=0.2)
                assert np.abs(ours).max() <= parameter[0].numel() ** -0.5 or ours.ndim == 1


@pytest.mark.parametrize("name", VARIANTS)
def test_options(name):
    """Number of classes, size, dropout and include_top."""
    with initializers.starting_from_zero():
        net = zoo.build(name, classes=7, size=99, dropout=0.25)
    assert net.input_shape == (None, 99, 99, 3) and net.output_shape == (None, 7)
    assert [layer.rate for layer in net.layers if isinstance(layer, keras.layers.Dropout)] == [0.25, 0.25]
    order = [layer.name for layer in net.layers]
    assert (order.index("drop6") < order.index("fc6")) == (name == "alexnet-owt")
    assert zoo.build(name, include_top=False).output_shape == (None, 6, 6, 256)


# Caffe, in loops: channels first, the last window of a pooling may reach beyond the map.


def caffe_convolution(x, kernel, bias, stride, padding, groups):
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    size, outputs = kernel.shape[0], kernel.shape[3]
    side = (x.shape[1] - size) // stride + 1
    y = np.zeros((outputs, side, side))
    inputs, share = x.shape[0] // groups, outputs // groups
    for g in range(groups):
        seen, made = x[g * inputs : (g + 1) * inputs], slice(g * share, (g + 1) * share)
        for i, j in np.ndindex(side, side):
            window = seen[:, i * stride : i * stride + size, j * stride : j * stride + size]
            y[made, i, j] = np.einsum("chw,hwco->o", window, kernel[..., made]) + bias[made]
    return y


def caffe_pooling(x):
    side = int(np.ceil((x.shape[1] - 3) / 2)) + 1
    y = np.zeros((len(x), side, side))
    for i, j in np.ndindex(side, side):
        y[:, i, j] = x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max(axis=(1, 2))
    return y


def caffe_normalization(x):
    y = np.zeros(x.shape)
    for c in range(len(x)):
        window = x[max(0, c - 2) : c + 3]
        y[c] = x[c] / (1 + 1e-4 / 5 * (window**2).sum(axis=0)) ** 0.75
    return y


@pytest.mark.parametrize("name", ["alexnet-bvlc", "caffenet"])
@pytest.mark.parametrize("side", [67, 71])  # at 71 pixels two of the poolings reach beyond their maps
def test_bvlc_nets_agree_with_loops(name, side):
    net = awake(zoo.build(name, classes=5, size=side))
    weights = {
        layer.name: [value.astype("float64") for value in layer.get_weights()] for layer in net.layers if layer.weights
    }
    (image,) = images(side, 1)

    def convolution(name, x, *how):
        return np.maximum(caffe_convolution(x, *weights[name], *how), 0)

    steps = [caffe_normalization, caffe_pooling] if name == "alexnet-bvlc" else [caffe_pooling, caffe_normalization]
    x = convolution("conv1", image.astype("float64").transpose(2, 0, 1), 4, 0, 1)
    for step in steps:
        x = step(x)
    x = convolution("conv2", x, 1, 2, 2)
    for step in steps:
        x = step(x)
    for layer, groups in (("conv3", 1), ("conv4", 2), ("conv5", 2)):
        x = convolution(layer, x, 1, 1, groups)
    x = caffe_pooling(x).transpose(1, 2, 0).ravel()
    for layer in ("fc6", "fc7"):
        kernel, bias = weights[layer]
        x = np.maximum(x @ kernel + bias, 0)
    expected = x @ weights["fc8"][0] + weights["fc8"][1]
    np.testing.assert_allclose(net(image[None])[0], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


STEP = """
import json, keras, numpy as np, zoo
net = zoo.build("alexnet", dropout=0.0, size=99)
generator = np.random.default_rng(4)
for layer in net.layers:
    if layer.weights:
        kernel, bias = layer.get_weights()
        layer.set_weights([generator.normal(0, np.sqrt(2 / np.prod(kernel.shape[:-1])), kernel.shape), bias])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
net.compile(keras.optimizers.SGD(1e-7, momentum=0.9), loss, jit_compile=JIT)
x, y = generator.normal(0, 60, (2, 99, 99, 3)).astype("float32"), np.array([5, 900])
print(json.dumps([float(net.train_on_batch(x, y)) for _ in range(3)]))
"""


@pytest.mark.slow("trains AlexNet in a process on each of two backends")
def test_a_step_on_both_backends():
    """The losses before, after one and after two steps agree to 1e-4, and decrease."""
    found = {}
    for backend in ("tensorflow", "jax"):
        child = subprocess.run(
            [sys.executable, "-c", STEP.replace("JIT", str(backend == "jax"))],
            env={**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert child.returncode == 0, child.stderr[-2000:]
        found[backend] = json.loads(child.stdout.splitlines()[-1])
    np.testing.assert_allclose(found["jax"], found["tensorflow"], rtol=1e-4)
    assert found["jax"][2] < found["jax"][0] - 1e-3


# Against the frameworks' own operators.


@pytest.fixture
def rng():
    keras.utils.set_random_seed(3)
    return np.random.default_rng(3)


def run(layer, x):
    return keras.ops.convert_to_numpy(layer(np.asarray(x, "float32")))


def test_convention_of_tensorflow(rng):
    x = rng.normal(size=(2, 3, 4, 8)).astype("float32") * 10
    expected = tf.nn.local_response_normalization(x, depth_radius=2, bias=1.5, alpha=0.02, beta=0.6).numpy()
    layer = LocalResponseNormalization.of("tensorflow", 2 * 2 + 1, 0.02, 0.6, 1.5)
    np.testing.assert_allclose(run(layer, x), expected, rtol=1e-5)


def test_convention_of_pytorch(rng):
    x = rng.normal(size=(2, 3, 4, 8)).astype("float32") * 10
    nchw = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    expected = torch.nn.functional.local_response_norm(nchw, 5, alpha=0.02, beta=0.75, k=1.0).numpy()
    layer = LocalResponseNormalization.of("pytorch", 5, 0.02, 0.75, 1.0)
    np.testing.assert_allclose(run(layer, x).transpose(0, 3, 1, 2), expected, rtol=1e-5)


def test_grouped_convolution_with_and_without_xla(rng):
    """The gradients too: XLA, TensorFlow's own kernels and Keras' grouped convolution give the same numbers."""
    x = tf.constant(rng.normal(size=(4, 13, 13, 8)).astype("float32"))
    ours = GroupedConv2D(12, 5, groups=2, padding="same")
    ours.build(x.shape)
    theirs = keras.layers.Conv2D(12, 5, groups=2, padding="same")
    theirs.build(x.shape)
    theirs.set_weights(ours.get_weights())

    def gradients(layer, jit):
        @tf.function(jit_compile=jit)
        def step():
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.reduce_sum(tf.square(layer(x)))
            return [loss, *tape.gradient(loss, [x, *(weight.value for weight in layer.trainable_weights)])]

        return [each.numpy() for each in step()]

    plain = gradients(ours, False)
    for others in (gradients(ours, True), gradients(theirs, False)):
        for one, other in zip(plain, others, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(one).max())
