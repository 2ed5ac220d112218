"""The nets of 1986 agree with back-propagation written unit by unit, and those of 1998 with LeCun's table."""

import math

import keras
import numpy as np
import pytest

from zoo.analysis import arithmetic
from zoo.losses import MinimumDistance
from zoo.models.mlp import encoder, mlp, parity, symmetry, xor

NETS = {
    "xor": (lambda: xor(), 2, [i ^ j for i in (0, 1) for j in (0, 1)], 0.5),
    "xor 2-3-1": (lambda: xor(hidden=3), 2, [i ^ j for i in (0, 1) for j in (0, 1)], 0.25),
    "symmetry": (lambda: symmetry(), 6, [int(f"{n:06b}" == f"{n:06b}"[::-1]) for n in range(64)], 0.1),
    "parity": (lambda: parity(), 4, [f"{n:04b}".count("1") % 2 for n in range(16)], 0.5),
    "encoder": (lambda: encoder(), 8, list(range(8)), 0.1),
}


def patterns(bits, labels):
    """All patterns of bits in counting order, or for the encoder those with one bit set."""
    if len(labels) == bits:
        return [[int(i == j) for j in range(bits)] for i in range(bits)]
    return [[int(bit) for bit in f"{number:0{bits}b}"] for number in range(2**bits)]


def logistic(a):
    return 1 / (1 + math.exp(-a))


class Net1986:
    """Rumelhart, Hinton, Williams (1986), unit by unit; an output sees the hidden units and, with `direct`, the inputs."""

    def __init__(self, weights, direct):
        self.hidden, self.hidden_bias, self.out, self.out_bias = (w.astype("float64") for w in weights)
        self.direct = direct
        self.before = [np.zeros_like(w) for w in self.weights]

    @property
    def weights(self):
        return [self.hidden, self.hidden_bias, self.out, self.out_bias]

    def forward(self, x):
        inputs, units = self.hidden.shape
        h = [logistic(sum(x[i] * self.hidden[i, j] for i in range(inputs)) + self.hidden_bias[j]) for j in range(units)]
        seen = h + list(x) if self.direct else h
        y = []
        for k in range(len(self.out_bias)):
            y.append(logistic(sum(seen[j] * self.out[j, k] for j in range(len(seen))) + self.out_bias[k]))
        return h, seen, y

    def gradient(self, x, d):
        """dE/dw of one pattern, E = half the sum of (y - d)², by the chain rule from the outputs back."""
        h, seen, y = self.forward(x)
        found = [np.zeros_like(w) for w in self.weights]
        delta = [(y[k] - d[k]) * y[k] * (1 - y[k]) for k in range(len(y))]
        for k in range(len(y)):
            for j in range(len(seen)):
                found[2][j, k] = delta[k] * seen[j]
            found[3][k] = delta[k]
        for j in range(len(h)):
            back = sum(delta[k] * self.out[j, k] for k in range(len(y))) * h[j] * (1 - h[j])
            for i in range(len(x)):
                found[0][i, j] = back * x[i]
            found[1][j] = back
        return found

    def learn(self, batch, eps, alpha):
        """Δw(t) = -eps dE/dw + alpha Δw(t-1), with dE/dw the sum over a batch of (x, d)."""
        gradients = [sum(each) for each in zip(*(self.gradient(x, d) for x, d in batch), strict=True)]
        for weight, before, gradient in zip(self.weights, self.before, gradients, strict=True):
            before[...] = -eps * gradient + alpha * before
            weight += before


@pytest.fixture(params=NETS)
def task(request):
    keras.utils.set_random_seed(4)
    make, bits, labels, eps = NETS[request.param]
    net = make()
    targets = np.eye(bits) if request.param == "encoder" else np.array([[0], [1]])
    return net, patterns(bits, labels), labels, targets[labels], eps


def reference_of(net):
    return Net1986(net.get_weights(), direct=any(isinstance(layer, keras.layers.Concatenate) for layer in net.layers))


def images(table):
    return np.array(table, "float32")[:, None, :, None]


def test_scores_of_1986(task):
    """Minus the squared distance of the outputs to the target of each class."""
    net, table, _, targets, _ = task
    reference = reference_of(net)
    classes = np.unique(targets, axis=0)
    classes = classes if classes.shape[1] == 1 else np.eye(len(classes))
    expected = [
        [-sum((y - d) ** 2 for y, d in zip(reference.forward(x)[2], t, strict=True)) for t in classes] for x in table
    ]
    found = keras.ops.convert_to_numpy(net(images(table)))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("on_line", [True, False], ids=["after each pattern", "once per sweep"])
def test_sgd_is_the_rule_of_1986(task, on_line):
    """SGD with half the rate on MinimumDistance, which is twice E, gives the weights of 1986 after several sweeps."""
    net, table, labels, targets, eps = task
    reference = reference_of(net)
    start = net.get_weights()
    rows = 1 if on_line else len(table)
    x, labels = images(table), np.array(labels)
    net.compile(keras.optimizers.SGD(eps / 2, momentum=0.9), MinimumDistance(reduction="sum"))
    for _ in range(4):
        for first in range(0, len(table), rows):
            part = slice(first, first + rows)
            net.train_on_batch(x[part], labels[part])
            reference.learn(list(zip(table[part], targets[part], strict=True)), eps, alpha=0.9)
    for found, expected, before in zip(net.get_weights(), reference.weights, start, strict=True):
        assert np.abs(expected - before).max() > 1e-3
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("net", "trainable"),
    [
        (lambda: xor(), 2 + 1 + 3 + 1),
        (lambda: xor(hidden=5), 5 * 3 + 6),
        (lambda: symmetry(), 2 * 7 + 3),
        (lambda: parity(), 4 * 5 + 5),
        (lambda: encoder(), 3 * 9 + 8 * 4),
        (lambda: mlp(), 300 * 785 + 10 * 301),
        (lambda: mlp(hidden=[500, 150]), 500 * 785 + 150 * 501 + 10 * 151),
        (lambda: mlp(4, [], (2, 3, 1)), 4 * 7),
    ],
)
def test_sizes(net, trainable):
    assert arithmetic.totals(arithmetic.table(net()))["trainable_parameters"] == trainable


def test_more_than_two_classes_have_one_unit_each():
    assert xor(classes=3).get_layer("output").output.shape == (None, 3)
    assert xor(classes=2).get_layer("output").output.shape == (None, 1)
    assert mlp(classes=3).output_shape == (None, 3)


def test_initialization():
    """U(±0.3) as the symmetry net of 1986, ±2.4/fan-in as LeNet-5; kernel and bias are drawn separately."""
    keras.utils.set_random_seed(1)
    weights = np.concatenate([w.ravel() for _ in range(60) for w in symmetry().get_weights()])
    assert 0.29 < np.abs(weights).max() <= 0.3
    assert len(np.unique(weights)) > 0.99 * len(weights)
    for layer, fan_in in zip(("hidden1", "hidden2", "output"), (784, 500, 150), strict=True):
        kernel = mlp(hidden=(500, 150)).get_layer(layer).get_weights()[0]
        assert 0.95 * 2.4 / fan_in < np.abs(kernel).max() <= 2.4 / fan_in


def test_mlp_is_layers_of_scaled_tanh_and_distances_to_plus_and_minus_one():
    keras.utils.set_random_seed(2)
    net = mlp(classes=3, hidden=(5, 4), input_shape=(2, 3, 1))
    x = np.random.default_rng(2).normal(size=(4, 2, 3, 1)).astype("float32")
    expected = []
    weights = net.get_weights()
    for image in x:
        a = image.ravel()
        for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
            a = 1.7159 * np.tanh(2 / 3 * (a @ kernel + bias))
        expected.append([-sum((a[j] - (1 if j == c else -1)) ** 2 for j in range(3)) for c in range(3)])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(net(x)), expected, rtol=1e-5)
