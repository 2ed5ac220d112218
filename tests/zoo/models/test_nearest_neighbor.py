"""NearestNeighbors agrees with a loop that compares every pair."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from zoo import ZooError, registry, rules
from zoo.analysis import arithmetic
from zoo.layers import NearestNeighbors
from zoo.schema import KerasObject

SHAPE, FEATURES, CLASSES = (3, 4, 1), 12, 3


def vote(known, labels, image, k, metric):
    """The winner and the scores, pair by pair: sort by distance, then by age, then count votes."""
    power = {"l1": 1, "l2": 2}[metric]
    apart = [sum(abs(float(a) - float(b)) ** power for a, b in zip(image, each, strict=True)) for each in known]
    nearest = sorted(range(len(known)), key=lambda place: (apart[place], place))[:k]
    scores = [0.0] * CLASSES
    for rank, place in enumerate(nearest):
        if not scores[labels[place]]:
            scores[labels[place]] = (k - rank) / (k + 1)
        scores[labels[place]] += 1
    votes = [sum(labels[place] == each for place in nearest) for each in range(CLASSES)]
    first = {labels[place]: -rank for rank, place in reversed(list(enumerate(nearest)))}
    return max(range(CLASSES), key=lambda each: (votes[each], first.get(each, -k))), scores


def taught(known, labels, capacity, k=1, metric="l2", batch=4):
    net = zoo.build("nearest-neighbor", classes=CLASSES, k=k, metric=metric, capacity=capacity, input_shape=SHAPE)
    for start in range(0, len(known), batch):
        rows = slice(start, start + batch)
        rules.Memorize().train_on_batch(net, known[rows].reshape(-1, *SHAPE).astype("float32"), labels[rows])
    return net


def run(net, images):
    return keras.ops.convert_to_numpy(net(images.reshape(-1, *SHAPE).astype("float32")))


@pytest.mark.parametrize("metric", ["l1", "l2"])
@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 7), high=st.sampled_from([2, 4, 256]))
def test_votes(metric, seed, k, high):
    """Few gray levels give all kinds of ties; five places are empty."""
    generator = np.random.default_rng(seed)
    known, asked = generator.integers(0, high, (10, FEATURES)), generator.integers(0, high, (6, FEATURES))
    labels = generator.integers(0, CLASSES, 10)
    scores = run(taught(known, labels, 15, k, metric), asked)
    for image, given_scores in zip(asked, scores, strict=True):
        winner, expected = vote(known, labels, image, k, metric)
        np.testing.assert_allclose(given_scores, expected, rtol=1e-6)
        assert given_scores.argmax() == winner


def test_of_equal_distances_the_first_memorized_ranks_first():
    known = np.array([[1] * FEATURES, [3] * FEATURES, [1] * FEATURES])
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        labels = np.array(order)
        assert run(taught(known, labels, 3), np.full((1, FEATURES), 1)).argmax() == labels[0]
        assert run(taught(known, labels, 3), np.full((1, FEATURES), 2)).argmax() == labels[0]


@pytest.mark.parametrize("classes", [[0, 1] * 500, [1, 0] * 500, [0] + [1] * 500 + [0] * 499, [0] * 499 + [1] * 501])
def test_ties_of_a_thousand_neighbors_are_broken(classes):
    """500 votes each, where the nearest neighbor is one rank or many ranks ahead; the last case is not a tie."""
    known = np.zeros((1000, FEATURES), int)
    known[:, 0] = 1 + np.arange(1000)
    labels = np.array(classes)
    (scores,) = run(taught(known, labels, 1000, k=1000, batch=100), np.zeros((1, FEATURES), int))
    winner, expected = vote(known, labels, np.zeros(FEATURES), 1000, "l2")
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    assert scores.argmax() == winner


def test_an_empty_place_never_votes():
    empty = taught(np.zeros((0, FEATURES)), np.zeros(0, int), 8, k=5)
    assert (run(empty, np.zeros((2, FEATURES))) == 0).all()
    two = taught(np.array([[9] * FEATURES, [7] * FEATURES]), np.array([2, 1]), 8, k=5)
    np.testing.assert_allclose(run(two, np.zeros((1, FEATURES))), [[0, 1 + 5 / 6, 1 + 4 / 6]], rtol=1e-6)


def test_integer_pixels_are_compared_exactly():
    """One gray level in one of 784 pixels decides, also between white images, whose products are the largest."""
    generator = np.random.default_rng(4)
    white = generator.integers(250, 256, (1, 28, 28, 1), "uint8")
    known = np.concatenate([white] * 3)
    known[0, 5, 5] -= 2
    known[1, 9, 9] -= 1
    known[2, 3, 3] -= 3
    net = zoo.build("nearest-neighbor", classes=3, capacity=3)
    classifier = registry.wrap(net, zoo.card("nearest-neighbor"), range(3))
    rules.Memorize().train_on_batch(net, classifier.preprocessing(known), np.arange(3))
    assert keras.ops.convert_to_numpy(classifier(white)).argmax() == 1
    for each in range(3):
        assert keras.ops.convert_to_numpy(classifier(known[each : each + 1])).argmax() == each


def test_memorizing_keeps_earlier_patterns():
    generator = np.random.default_rng(0)
    known, labels = generator.integers(0, 256, (11, FEATURES)), generator.integers(0, CLASSES, 11)
    layer = taught(known, labels, 20).layers[-1]
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer.memory)[:, :11], known.T)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer.labels)[:11], np.eye(CLASSES)[labels])
    assert int(layer.filled()) == 11
    net = taught(known, labels, 20)
    scores = rules.Memorize().train_on_batch(net, known[:2].reshape(2, *SHAPE).astype("float32"), labels[:2])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(scores), np.eye(CLASSES)[labels[:2]])


def test_full_memory_is_an_error_before_training_and_is_not_changed():
    generator = np.random.default_rng(0)
    known, labels = generator.integers(0, 256, (6, FEATURES)), generator.integers(0, CLASSES, 6)
    net = taught(known, labels, 8)
    rules.Memorize().prepare(net, 2, 2)
    with pytest.raises(ZooError, match=r"3 images .* 2 of its 8 places .*--set options.capacity=9"):
        rules.Memorize().prepare(net, 3, 3)
    before = net.get_weights()
    rules.Memorize().train_on_batch(net, np.ones((3, *SHAPE), "float32"), np.zeros(3, int))
    for one, two in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_rule_requires_a_nearest_neighbors_layer():
    with pytest.raises(ZooError, match="linear ends in a Dense"):
        rules.Memorize().prepare(zoo.build("linear"), 1, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "l3"}, "'l1' or 'l2'. Received: metric=l3"),
        ({"k": 0}, "Received: k=0"),
        ({"k": 5, "capacity": 4}, "capacity=4. Received: k=5"),
        ({"k": 1001}, "k must be at most 1000: .* Received: k=1001"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        NearestNeighbors(CLASSES, **arguments)


def test_input_must_be_flat():
    with pytest.raises(ValueError, match=r"the input must be \(batch, features\). Received: input_shape=\(None, 3, 4\)"):
        NearestNeighbors(CLASSES)(keras.Input((3, 4)))


def test_saved_and_loaded(tmp_path):
    generator = np.random.default_rng(0)
    known, labels = generator.integers(0, 256, (6, FEATURES)), generator.integers(0, CLASSES, 6)
    net = taught(known, labels, 8, k=3, metric="l1")
    net.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras")
    assert {**again.layers[-1].get_config()} == {**net.layers[-1].get_config()}
    asked = generator.integers(0, 256, (5, FEATURES))
    np.testing.assert_array_equal(run(again, asked), run(net, asked))


def test_counts():
    rows = arithmetic.table(zoo.build("nearest-neighbor"))
    totals = arithmetic.totals(rows)
    assert (totals["trainable_parameters"], totals["connections"], totals["macs"]) == (0, 60000 * 784, 60000 * 784)


def test_the_rule_of_the_card():
    card = zoo.card("nearest-neighbor")
    assert isinstance(rules.get(KerasObject.model_dump(card.rule)), rules.Memorize)


def test_float32_under_a_half_precision_policy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert NearestNeighbors(CLASSES).compute_dtype == "float32"
    finally:
        keras.config.set_dtype_policy("float32")
