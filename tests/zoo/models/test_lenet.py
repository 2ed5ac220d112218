"""LeNet-5 agrees with the paper: its counts, its table, its bitmaps, and the whole net as loops."""

import keras
import numpy as np
import pytest

from zoo.analysis import arithmetic
from zoo.models.lenet import C3_TABLE, lenet5, lenet5_modern, prototypes
from zoo.models.linear import linear

# Table I of the paper as printed: one row per S2 map, one column per C3 map.
PRINTED = """
    X . . . X X X . . X X X X . X X
    X X . . . X X X . . X X X X . X
    X X X . . . X X X . . X . X X X
    . X X X . . X X X X . . X . X X
    . . X X X . . X X X X . X X . X
    . . . X X X . . X X X X . X X X
"""
TABLE_I = np.array([line.split() for line in PRINTED.strip().splitlines()]) == "X"

# Section II.B of the paper, layer by layer: trainable parameters, connections.
COUNTS = {
    "c1": (156, 122_304),
    "s2": (12, 5_880),
    "c3": (1_516, 151_600),
    "s4": (32, 2_000),
    "c5": (48_120, 48_120),
    "f6": (10_164, 10_164),
    "rbf": (0, 840),
}

ONE = """
    ...##..
    ..###..
    .####..
    ...##..
    ...##..
    ...##..
    ...##..
    ...##..
    ...##..
    .######
    .......
    .......
"""


@pytest.fixture(scope="module")
def net():
    keras.utils.set_random_seed(4)
    return lenet5()


def test_counts(net):
    rows = arithmetic.table(net)
    assert {row.name: (row.parameters, row.connections) for row in rows if row.connections} == COUNTS
    totals = arithmetic.totals(rows)
    assert totals["parameters"] == totals["trainable_parameters"] == 60_000
    assert totals["connections"] == 340_908


def test_shapes(net):
    shapes = {row.name: row.shape for row in arithmetic.table(net)}
    assert [shapes[name] for name in COUNTS] == [
        *((28, 28, 6), (14, 14, 6), (10, 10, 16), (5, 5, 16), (1, 1, 120)),
        *((84,), (10,)),
    ]
    assert net.input_shape == (None, 32, 32, 1)


def test_c3_table_is_table_1():
    assert TABLE_I.shape == (6, 16) and TABLE_I.sum() == 60
    assert [tuple(np.flatnonzero(column)) for column in TABLE_I.T] == [tuple(sorted(seen)) for seen in C3_TABLE]


def test_c3_table_agrees_with_the_text():
    """Six maps see three adjacent maps, six see four, three see four that are not all adjacent, one sees all."""

    def neighbors(seen):
        return any(set(seen) == {(start + step) % 6 for step in range(len(seen))} for start in range(6))

    assert [(len(seen), neighbors(seen)) for seen in C3_TABLE] == [(3, True)] * 6 + [(4, True)] * 6 + [(4, False)] * 3 + [
        (6, True)
    ]
    assert len({frozenset(seen) for seen in C3_TABLE}) == 16
    assert [sum(source in seen for seen in C3_TABLE) for source in range(6)] == [10] * 6


def test_bitmaps():
    """±1 images of 7x12 pixels that differ in at least 12 pixels."""
    codes = prototypes(10)
    assert codes.shape == (10, 84) and set(codes.ravel()) == {-1, 1}
    apart = (codes[:, None] != codes[None]).sum(axis=-1)
    assert apart[~np.eye(10, dtype=bool)].min() == 12
    drawn = [["#" if pixel > 0 else "." for pixel in row] for row in codes[1].reshape(12, 7)]
    assert ["".join(row) for row in drawn] == ONE.split()


def test_bitmaps_are_upright():
    """The top of a 7 is full and its foot is a stem; the foot of a 2 is full."""
    seven, two = prototypes(10)[[7, 2]].reshape(2, 12, 7) > 0
    assert seven[0].all() and 0 < seven[9].sum() < 4
    assert two[9].all()


def squash(a):
    return 1.7159 * np.tanh(2 / 3 * a)


def forward(image, weights):
    """LeNet-5 as in the figure of the paper: (32, 32) -> ten distances."""

    def convolve(maps, kernels, bias):  # kernels: pairs of a map and a 5x5 array
        size = maps[0].shape[0] - 4
        out = np.full((size, size), bias)
        for i, j in np.ndindex(out.shape):
            for source, kernel in kernels:
                out[i, j] += (maps[source][i : i + 5, j : j + 5] * kernel).sum()
        return out

    def subsample(one, coefficient, bias):
        out = np.zeros((one.shape[0] // 2, one.shape[1] // 2))
        for i, j in np.ndindex(out.shape):
            added = one[2 * i, 2 * j] + one[2 * i, 2 * j + 1] + one[2 * i + 1, 2 * j] + one[2 * i + 1, 2 * j + 1]
            out[i, j] = added * coefficient + bias
        return out

    kernel, bias = weights["c1"]
    c1 = [squash(convolve([image], [(0, kernel[:, :, 0, m])], bias[m])) for m in range(6)]
    s2 = [squash(subsample(c1[m], *pair)) for m, pair in enumerate(zip(*weights["s2"], strict=True))]
    kernel, bias = weights["c3"]
    c3, pair = [], 0
    for m, seen in enumerate(C3_TABLE):  # the kernels are in the order of the table
        c3.append(squash(convolve(s2, [(source, kernel[:, :, pair + k]) for k, source in enumerate(seen)], bias[m])))
        pair += len(seen)
    s4 = [squash(subsample(c3[m], *pair)) for m, pair in enumerate(zip(*weights["s4"], strict=True))]
    kernel, bias = weights["c5"]
    c5 = [squash(convolve(s4, [(s, kernel[:, :, s, m]) for s in range(16)], bias[m])).item() for m in range(120)]
    kernel, bias = weights["f6"]
    f6 = [squash(sum(c5[i] * kernel[i, m] for i in range(120)) + bias[m]) for m in range(84)]
    return [sum((f6[j] - code[j]) ** 2 for j in range(84)) for code in prototypes(10)]


def test_forward(net):
    """The net gives minus the distances of the loops, on a random image, with weights for which every layer matters."""
    rng = np.random.default_rng(6)
    weights = {}
    for name in COUNTS:
        layer = net.get_layer(name)
        spread = 3 / np.sqrt(np.prod(layer.kernel.shape[:-1])) if name in ("c5", "f6") else 0.4
        weights[name] = [rng.normal(size=weight.shape) * spread for weight in layer.get_weights()]
        layer.set_weights(weights[name])
    image = rng.uniform(-0.1, 1.175, size=(32, 32))
    expected = forward(image, weights)
    assert np.ptp(expected) > 10
    scores = keras.ops.convert_to_numpy(net(image[None, :, :, None].astype("float32")))
    np.testing.assert_allclose(-scores[0], expected, rtol=1e-4)


def test_layers_are_those_of_1998(net):
    kinds = {type(layer).__name__ for layer in net.layers}
    assert kinds == {
        *("InputLayer", "Conv2D", "ScaledTanh", "TrainableSubsampling", "MaskedConv2D"),
        *("Flatten", "Dense", "RBFOutput"),
    }
    assert {layer.activation.__name__ for layer in net.layers if hasattr(layer, "activation")} == {"linear"}
    assert [layer.name for layer in net.layers if type(layer).__name__ == "ScaledTanh"] == [
        f"{name}_squash" for name in ("c1", "s2", "c3", "s4", "c5", "f6")
    ]


def test_initialization_is_within_the_bounds_of_the_paper(net):
    """2.4 over the number of inputs of the unit, for weights and biases."""
    keras.utils.set_random_seed(5)
    fresh = lenet5()
    for name, inputs in {"c1": 25, "s2": 4, "s4": 4, "c5": 400, "f6": 120}.items():
        values = np.concatenate([weight.ravel() for weight in fresh.get_layer(name).get_weights()])
        assert 0.6 * 2.4 / inputs < np.abs(values).max() <= 2.4 / inputs


def test_four_classes():
    """Targets are random ±1 codes instead of the bitmaps, the same in every build."""
    first, second = prototypes(4), prototypes(4)
    assert first.shape == (4, 84) and set(first.ravel()) == {-1, 1}
    assert (first == second).all()
    apart = (first[:, None] != first[None]).sum(axis=-1)
    assert apart[~np.eye(4, dtype=bool)].min() > 20
    net = lenet5(classes=4)
    assert net.output_shape == (None, 4)
    assert net.count_params() == 60_000
    features = keras.Model(net.input, net.get_layer("f6_squash").output)
    image = np.random.default_rng(0).normal(size=(2, 32, 32, 1)).astype("float32")
    f6 = keras.ops.convert_to_numpy(features(image))
    expected = -((f6[:, None] - first) ** 2).sum(axis=-1)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(net(image)), expected, rtol=1e-5)


def test_modern():
    """The net that others call LeNet-5 has 61,706 parameters."""
    net = lenet5_modern()
    assert net.count_params() == 61_706
    assert {row.name: row.parameters for row in arithmetic.table(net) if row.parameters} == {
        **{"c1": 156, "c3": 2_416, "f5": 48_120, "f6": 10_164, "scores": 850},
    }
    assert lenet5_modern(classes=3).output_shape == (None, 3)


def test_linear():
    """One template of 28x28 and one bias per class; the initial scores are equal."""
    net = linear()
    assert net.count_params() == 10 * (28 * 28 + 1) == 7_850
    image = np.random.default_rng(0).normal(size=(2, 28, 28, 1)).astype("float32")
    assert not keras.ops.convert_to_numpy(net(image)).any()
    templates, bias = np.random.default_rng(1).normal(size=(784, 10)), np.arange(10.0)
    net.set_weights([templates, bias])
    expected = [[(templates[:, c] * each.ravel()).sum() + bias[c] for c in range(10)] for each in image]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(net(image)), expected, rtol=1e-4)
    assert linear(classes=2, input_shape=(4, 4, 3)).count_params() == 2 * 49
