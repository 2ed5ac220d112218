"""The Neocognitron agrees with loops over cells that follow the equations of Fukushima (1980)."""

import json
import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo import rules
from zoo.analysis import arithmetic
from zoo.errors import ZooError
from zoo.layers import CCells, SCells
from zoo.models.neocognitron import neocognitron
from zoo.rules import SeedCells


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


@pytest.fixture
def rng():
    return np.random.default_rng(1980)


# The paper, cell by cell. An image is (height, width, planes); beyond its edge all cells are 0.


def cell(u, y, x, plane):
    inside = 0 <= y < u.shape[0] and 0 <= x < u.shape[1]
    return float(u[y, x, plane]) if inside else 0.0


def falling(window, decay):
    middle = (window - 1) / 2
    return [[decay ** math.hypot(y - middle, x - middle) for x in range(window)] for y in range(window)]


def c_of(window, decay, seen):
    c = falling(window, decay)
    total = sum(map(sum, c)) * seen
    return [[each / total for each in row] for row in c]


def v_cell(u, y, x, layer):
    c = c_of(layer.window, layer.decay, u.shape[2])
    total = 0.0
    for i, j, below in np.ndindex(layer.window, layer.window, u.shape[2]):
        total += c[i][j] * cell(u, y - layer.padding + i, x - layer.padding + j, below) ** 2
    return math.sqrt(total)


def s_plane_cells(u, a, b, layer):
    lost = layer.window - 1 - 2 * layer.padding
    answer = np.zeros((u.shape[0] - lost, u.shape[1] - lost, a.shape[3]))
    for y, x, plane in np.ndindex(answer.shape):
        excitation = 0.0
        for i, j, below in np.ndindex(a.shape[:3]):
            excitation += a[i, j, below, plane] * cell(u, y - layer.padding + i, x - layer.padding + j, below)
        inhibition = 2 * layer.r / (1 + layer.r) * b[plane] * v_cell(u, y, x, layer)
        answer[y, x, plane] = layer.r * max(0.0, (1 + excitation) / (1 + inhibition) - 1)
    return answer


def c_plane_cells(u, layer):
    d = falling(layer.window, layer.decay)
    before, after = layer.padding
    height, width = ((side + before + after - layer.window) // layer.stride + 1 for side in u.shape[:2])
    answer = np.zeros((height, width, u.shape[2]))
    for y, x in np.ndindex(height, width):
        excitation = [0.0] * u.shape[2]
        for i, j, plane in np.ndindex(layer.window, layer.window, u.shape[2]):
            seen = cell(u, y * layer.stride - before + i, x * layer.stride - before + j, plane)
            excitation[plane] += layer.scale * d[i][j] * seen
        v = sum(excitation) / len(excitation)
        for plane in range(u.shape[2]):
            phi = max(0.0, (1 + excitation[plane]) / (1 + v) - 1)
            answer[y, x, plane] = phi / (layer.alpha + phi)
    return answer


def seed_cells(answer, column):
    """Return {plane: (y, x)}: at most one in a plane, the best of those that are the best of an S-column."""
    height, width, planes = answer.shape
    side = min(column, height, width)
    seeds = {}
    for top, left in np.ndindex(height - side + 1, width - side + 1):
        inside = [(y, x, k) for y in range(top, top + side) for x in range(left, left + side) for k in range(planes)]
        y, x, plane = max(inside, key=lambda place: answer[place])
        if answer[y, x, plane] > 0 and (plane not in seeds or answer[y, x, plane] > answer[(*seeds[plane], plane)]):
            seeds[plane] = y, x
    return seeds


def reinforce(u, a, b, answer, layer, q, column):
    """Change a and b in place."""
    c = c_of(layer.window, layer.decay, u.shape[2])
    for plane, (y, x) in seed_cells(answer, column).items():
        for i, j, below in np.ndindex(a.shape[:3]):
            a[i, j, below, plane] += q * c[i][j] * cell(u, y - layer.padding + i, x - layer.padding + j, below)
        b[plane] += q / 2 * v_cell(u, y, x, layer)


def present(layers, connections, u, qs, column):
    """Present one image: all S-layers respond, then all are trained."""
    waiting = []
    for layer in layers:
        if isinstance(layer, SCells):
            a, b = connections[len(waiting)]
            answer = s_plane_cells(u, a, b, layer)
            waiting.append((u, a, b, answer, layer, qs[len(waiting)], column))
            u = answer
        else:
            u = c_plane_cells(u, layer)
    for each in waiting:
        reinforce(*each)
    return u


# The layers.


@pytest.mark.parametrize("window, padding, r", [(3, None, 4.0), (3, 0, 1.5), (2, 1, 0.5), (5, 1, 1.5)])
def test_s_cells(rng, window, padding, r):
    x = rng.uniform(size=(2, 5, 6, 3)).astype("float32")
    layer = SCells(4, window, r, padding, decay=0.7)
    layer.build(x.shape)
    a, b = rng.uniform(size=layer.a.shape), rng.uniform(size=4) * 30
    layer.set_weights([a, b, np.int32(0)])
    found = array(layer(x))
    expected = np.stack([s_plane_cells(each, a, b, layer) for each in x])
    assert 0 < (expected > 0).mean() < 1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert found.shape == layer.compute_output_shape(x.shape)


@pytest.mark.parametrize("window, stride, padding", [(3, 1, (1, 1)), (5, 2, (3, 4)), (2, 1, (0, 0)), (2, 2, (0, 1))])
def test_c_cells(rng, window, stride, padding):
    x = rng.uniform(size=(2, 5, 6, 3), high=3).astype("float32")
    layer = CCells(window, stride, padding, alpha=0.4, decay=0.6, scale=1.5)
    found = array(layer(x))
    np.testing.assert_allclose(found, np.stack([c_plane_cells(each, layer) for each in x]), rtol=1e-4, atol=1e-5)
    assert found.shape == layer.compute_output_shape(x.shape)


def test_c_sums_to_one():
    layer = SCells(2, 5)
    layer.build((None, 6, 6, 7))
    assert layer.c.shape == (5, 5) and layer.c.sum() * 7 == pytest.approx(1)
    silent_edge = array(layer.inhibition(np.full((1, 6, 6, 7), 3.0, "float32")))[0, ..., 0]
    assert silent_edge[2, 2] == pytest.approx(3) and silent_edge[0, 0] < 2.5


def test_initial_connections_are_small_positive_oriented_and_different():
    layer = SCells(8, 5, start=1e-4)
    layer.build((None, 9, 9, 1))
    a = array(layer.a)[:, :, 0]
    assert (a > 0).all() and a.max() <= 1e-4 and not array(layer.b).any()
    assert len({each.tobytes() for each in np.moveaxis(a, -1, 0)}) == 8
    horizontal, vertical = a[:, :, 0], a[:, :, 4]  # angles 0 and 90 degrees
    assert horizontal[2].sum() > horizontal[:, 2].sum() and vertical[:, 2].sum() > vertical[2].sum()


pattern = st.lists(st.floats(0, 1, width=32), min_size=9, max_size=9).filter(lambda values: sum(values) > 0.5)


def trained(x, r, times=10**7):
    """Return a cell that was trained on one pattern very often."""
    layer = SCells(1, 3, r, padding=0)
    layer.build((None, 3, 3, 1))
    c = np.array(c_of(3, layer.decay, 1))
    b = times / 2 * math.sqrt((c * x**2).sum())
    layer.set_weights([(times * c * x)[:, :, None, None], np.array([b]), np.int32(0)])
    return layer, c


@settings(max_examples=30)
@given(pattern, pattern, st.floats(0.3, 6))
def test_cell_responds_above_the_cosine_threshold(learned, shown, r):
    """1 for its own pattern with any r, 0 below the cosine r / (1 + r), and the same at another contrast."""
    learned, shown = np.reshape(learned, (3, 3)), np.reshape(shown, (3, 3))
    layer, c = trained(learned, r)

    def answer(x):
        return array(layer(x.reshape(1, 3, 3, 1).astype("float32"))).item()

    assert answer(learned) == pytest.approx(1, abs=1e-3)
    cosine = (c * learned * shown).sum() / math.sqrt((c * learned**2).sum() * (c * shown**2).sum())
    assert answer(shown) == pytest.approx(max(0, (1 + r) * cosine - r), abs=2e-3)
    assert answer(shown / 4) == pytest.approx(answer(shown), abs=2e-3)


@settings(max_examples=30)
@given(st.lists(st.floats(0, 10, width=32), min_size=12, max_size=12))
def test_c_cells_respond_below_one_and_only_above_the_mean(values):
    x = np.reshape(values, (1, 2, 2, 3)).astype("float32")
    found = array(CCells(2)(x))[0, 0, 0]
    assert (found >= 0).all() and (found < 1).all()
    equal_planes = array(CCells(2)(np.repeat(x[..., :1], 3, axis=-1)))
    assert equal_planes.max() < 1e-5, "they inhibit one another to silence"
    sums = (x[0] * np.array(falling(2, 0.8))[:, :, None]).sum(axis=(0, 1))
    assert not found[sums < sums.mean() - 1e-4].any()
    assert (found[sums > sums.mean() + 1e-3] > 0).all()


@pytest.mark.parametrize("layer", [SCells(3, 3, 2.5, 0, 0.8, 0.01), CCells(3, 2, (1, 2), 0.4, 0.7, 2.0)])
def test_config(layer):
    copy = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
    assert copy.get_config() == layer.get_config()
    x = np.random.default_rng(0).uniform(size=(1, 6, 6, 2)).astype("float32")
    np.testing.assert_array_equal(array(copy(x)), array(layer(x)))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: SCells(0), "planes=0"),
        (lambda: SCells(1, r=-1.0), "r=-1.0"),
        (lambda: SCells(1, start=0.0), "start=0.0"),
        (lambda: SCells(1, 5, padding=0).build((None, 4, 9, 1)), r"Received: input_shape=\(None, 4, 9, 1\)"),
        (lambda: CCells(alpha=0), "alpha=0"),
        (lambda: neocognitron(planes=(24, 24)), r"planes=\(24, 24\), r=\(4.0, 1.5, 1.5\)"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_images_are_of_the_first_layer_only():
    net = neocognitron(planes=(3, 2), r=(4.0, 1.5))
    planes = net.get_layer("s1").images()
    assert [title for title, _ in planes] == ["s1 plane 0", "s1 plane 1", "s1 plane 2"]
    np.testing.assert_array_equal(planes[1][1], array(net.get_layer("s1").a)[:, :, 0, 1])
    assert net.get_layer("s2").images() == []


# The net.


def test_sizes_of_the_paper():
    net = neocognitron()
    sizes = {row.name: row.shape for row in arithmetic.table(net)}
    expected = {"s1": 16, "c1": 10, "s2": 8, "c2": 6, "s3": 2, "c3": 1}
    assert {name: sizes[name] for name in expected} == {name: (side, side, 24) for name, side in expected.items()}
    assert [layer.r for layer in net.layers if isinstance(layer, SCells)] == [4, 1.5, 1.5]


def test_connections():
    """From the equations: a and b of each S-cell, c of each v_C, d of each C-cell and v_S, and v_S of each C-cell."""
    rows = {row.name: row for row in arithmetic.table(neocognitron(planes=(3, 2), r=(4.0, 1.5)))}
    assert rows["s1"].connections == 16 * 16 * (3 * (25 + 1) + 25)
    assert rows["c1"].connections == 10 * 10 * (3 * 25 + 3 * 25 + 3)
    assert rows["s2"].connections == 8 * 8 * (2 * (25 * 3 + 1) + 25 * 3)


# The rule.


def small_net():
    image = keras.Input((7, 6, 1))
    x = SCells(4, 3, 4.0, start=0.05)(image)
    x = CCells(3, 1, (1, 1))(x)
    x = SCells(5, 3, 1.5, 0, start=0.05)(x)
    x = keras.layers.Flatten()(CCells(3, 2, (0, 0))(x))
    return keras.Model(image, keras.layers.Dense(3, use_bias=False, kernel_initializer="zeros")(x))


def s_layers(net):
    return [layer for layer in net.layers if isinstance(layer, SCells)]


def test_seed_cells_agree_with_loops(rng):
    """Seven images one after the other, in two batches; later ones depend on the earlier ones."""
    net = small_net()
    connections = [[array(layer.a).astype("float64"), array(layer.b).astype("float64")] for layer in s_layers(net)]
    start = [a.copy() for a, _ in connections]
    x = (rng.uniform(size=(7, 7, 6, 1)) < 0.3).astype("float32") * rng.uniform(0.5, 1, size=(7, 7, 6, 1)).astype("float32")
    rule = SeedCells(q=(1.0, 16.0), column=3, presentations=7)
    rule.prepare(net, 7, 14)
    for rows in (slice(0, 5), slice(5, 7)):
        rule.train_on_batch(net, x[rows], np.zeros(len(x[rows]), "int32"))
    for image in x:
        present(net.layers[1:-2], connections, image, rule.q, rule.column)
    for layer, (a, b), first in zip(s_layers(net), connections, start, strict=True):
        assert (np.abs(a - first).max(axis=(0, 1, 2)) > 0.01).sum() >= 2
        np.testing.assert_allclose(array(layer.a), a, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(array(layer.b), b, rtol=1e-5, atol=1e-5)


def test_the_smallest_case_by_hand():
    """One bright pixel: the best cell of the only plane sees it in the middle, where the initial connection is largest."""
    image = keras.Input((3, 3, 1))
    x = keras.layers.Flatten()(CCells(1)(SCells(1, 3, 1.5, start=0.1)(image)))
    net = keras.Model(image, keras.layers.Dense(2, use_bias=False)(x))
    (layer,) = s_layers(net)
    start = np.full((3, 3, 1, 1), 0.1)
    start[1, 1] = 0.2
    layer.set_weights([start, np.zeros(1), np.int32(0)])
    batch = np.zeros((1, 3, 3, 1), "float32")
    batch[0, 2, 0] = 0.5
    SeedCells(q=(8.0,), column=3).train_on_batch(net, batch, np.zeros(1, "int32"))
    middle = c_of(3, 0.9, 1)[1][1]
    start[1, 1] += 8 * middle * 0.5
    np.testing.assert_allclose(array(layer.a), start, rtol=1e-5)
    np.testing.assert_allclose(array(layer.b), [8 / 2 * math.sqrt(middle) * 0.5], rtol=1e-5)


def test_empty_image_changes_nothing():
    net = small_net()
    before = [array(each) for layer in s_layers(net) for each in (layer.a, layer.b)]
    SeedCells(q=(1.0, 16.0)).train_on_batch(net, np.zeros((2, 7, 6, 1), "float32"), np.zeros(2, "int32"))
    after = [array(each) for layer in s_layers(net) for each in (layer.a, layer.b)]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


def test_labels_do_not_affect_the_planes(rng):
    x = rng.uniform(size=(6, 7, 6, 1)).astype("float32")
    found = []
    for labels in (np.zeros(6, "int32"), np.int32([2, 1, 0, 2, 1, 0])):
        net = small_net()
        scores = SeedCells(q=(1.0, 16.0), presentations=6).train_on_batch(net, x, labels)
        assert not array(scores).any() and not net.get_weights()[-1].any()
        found.append(net.get_weights())
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_afterwards_only_the_read_out_is_trained(rng):
    x = rng.uniform(size=(6, 7, 6, 1)).astype("float32")
    labels = np.int32([2, 1, 0, 2, 1, 0])
    net = small_net()
    rule = SeedCells(q=(1.0, 16.0), presentations=6, rate=0.7)
    rule.train_on_batch(net, x, labels)
    *planes, kernel = net.get_weights()
    features = array(keras.Model(net.input, net.layers[-2].output)(x)).astype("float64")
    for _ in range(2):
        scores = features @ kernel
        np.testing.assert_allclose(array(rule.train_on_batch(net, x, labels)), scores, rtol=1e-4, atol=1e-5)
        step = np.zeros_like(kernel)
        for feature, score, label in zip(features, scores, labels, strict=True):
            share = np.exp(score) / np.exp(score).sum()
            step += np.outer(feature, np.eye(3)[label] - share)
        kernel = kernel + 0.7 * step / (features**2).sum()
    *same, learned = net.get_weights()
    np.testing.assert_allclose(learned, kernel, rtol=1e-4, atol=1e-6)
    for number, (one, other) in enumerate(zip(planes, same, strict=True)):
        if number % 3 != 2:  # the third weight of each layer counts the images
            np.testing.assert_array_equal(one, other)


def test_rule_requires_its_net():
    with pytest.raises(ZooError, match=r"SeedCells with 3 values of q.* has 2 SCells layers and ends in a Dense"):
        SeedCells().prepare(small_net(), 5, 5)
    layers = [keras.Input((4, 4, 1)), SCells(2, 3), keras.layers.Flatten()]
    with pytest.raises(ZooError, match="has 1 SCells layers and ends in a Flatten"):
        SeedCells(q=(1.0,)).prepare(keras.Sequential(layers), 5, 5)


def test_rule_config():
    rule = SeedCells((1.0, 2.0), 3, 50, 0.5)
    described = json.loads(json.dumps(keras.saving.serialize_keras_object(rule)))
    assert rules.get(described).get_config() == rule.get_config()
