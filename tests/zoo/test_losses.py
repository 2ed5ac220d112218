"""The losses against naive loops and against the numbers of the paper and the lecture."""

import json
import math

import keras
import numpy as np
import pytest

from zoo.losses import MaximumAPosteriori, MinimumDistance, MulticlassHinge

LOSSES = [MinimumDistance(), MaximumAPosteriori(j=0.7), MulticlassHinge(margin=2.0)]

# The lecture's three pictures: a cat, a car, a frog, each with its scores for these three classes.
LECTURE = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])


@pytest.fixture
def scores():
    """Minus distances, as LeNet-5 gives them: (6, 4)."""
    return -np.random.default_rng(1).uniform(0, 3, size=(6, 4)).astype("float32")


LABELS = np.array([2, 0, 3, 3, 1, 2])


def value(loss, labels, scores):
    return keras.ops.convert_to_numpy(loss(labels, scores))


# Line by line.


def minimum_distance(labels, scores):
    return np.mean([-row[label] for label, row in zip(labels, scores, strict=True)])


def maximum_a_posteriori(labels, scores, j):
    terms = []
    for label, row in zip(labels, scores, strict=True):
        rubbish = math.exp(-j)
        for score in row:
            rubbish += math.exp(score)
        terms.append(-row[label] + math.log(rubbish))
    return np.mean(terms)


def multiclass_hinge(labels, scores, margin):
    terms = []
    for label, row in zip(labels, scores, strict=True):
        terms.append(sum(max(0, row[j] - row[label] + margin) for j in range(len(row)) if j != label))
    return np.mean(terms)


def test_minimum_distance(scores):
    """Eq. 8: the mean distance to the true prototype."""
    np.testing.assert_allclose(value(MinimumDistance(), LABELS, scores), minimum_distance(LABELS, scores), rtol=1e-6)


@pytest.mark.parametrize("j", [0.01, 1.0, 5.0])
def test_maximum_a_posteriori(scores, j):
    """Eq. 9."""
    expected = maximum_a_posteriori(LABELS, scores, j)
    np.testing.assert_allclose(value(MaximumAPosteriori(j), LABELS, scores), expected, rtol=1e-5)


def test_maximum_a_posteriori_by_hand():
    """y = (0, log 2), j = log 4, true class 1: log 2 + log(1/4 + 1 + 1/2)."""
    scores = -np.log([[1.0, 2.0]])
    np.testing.assert_allclose(value(MaximumAPosteriori(math.log(4)), [1], scores), math.log(2 * 1.75), rtol=1e-6)


@pytest.mark.parametrize(
    "distances, j, expected",
    [
        ([900, 1000], 1.0, 899),  # all classes farther than j: y_D - j
        ([900, 1000], 2000.0, 0),  # j farther than all classes: y_D - min y
        ([1e6, 2e6], 1.0, 1e6 - 1),
        ([1e30, 0], 1.0, 1e30),
        ([0, 1e30], 1e30, 0),
    ],
)
def test_maximum_a_posteriori_of_large_distances(distances, j, expected):
    """The exponentials underflow, the loss does not."""
    found = value(MaximumAPosteriori(j), [0], -np.float32([distances]))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("j", [0, -1.0])
def test_maximum_a_posteriori_refuses_j(j):
    with pytest.raises(ValueError, match="must be positive"):
        MaximumAPosteriori(j)


def test_multiclass_hinge_of_the_lecture():
    """2.9, 0 and 12.9, mean 5.2667."""
    each = value(MulticlassHinge(reduction=None), [0, 1, 2], LECTURE)
    np.testing.assert_allclose(each, [2.9, 0, 12.9], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(value(MulticlassHinge(), [0, 1, 2], LECTURE), 5.2667, rtol=1e-5)


@pytest.mark.parametrize("margin", [0.0, 1.0, 2.5])
def test_multiclass_hinge(scores, margin):
    expected = multiclass_hinge(LABELS, scores, margin)
    np.testing.assert_allclose(value(MulticlassHinge(margin), LABELS, scores), expected, rtol=1e-5)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_labels_of_any_form(loss, scores):
    one_hot = np.eye(4)[LABELS]
    expected = value(loss, LABELS, scores)
    assert expected > 0
    for same in (LABELS[:, None], LABELS.astype("uint8"), LABELS.astype("float32"), one_hot, one_hot.astype("int64")):
        assert value(loss, same, scores) == expected


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_labels_of_a_column_of_two_classes(loss, scores):
    """(batch, 1) labels are integers, also where a one-hot row is hardly wider."""
    labels, two = np.array([0, 1, 1, 0, 1, 1]), scores[:, :2]
    assert value(loss, labels[:, None], two) == value(loss, np.eye(2)[labels], two) != value(loss, 1 - labels, two)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_reductions_and_sample_weights(loss, scores):
    def reduced(reduction, **options):
        copy = type(loss).from_config({**loss.get_config(), "reduction": reduction})
        return keras.ops.convert_to_numpy(copy(LABELS, scores, **options))

    each = reduced(None)
    assert each.shape == (6,)
    np.testing.assert_allclose(reduced("sum_over_batch_size"), each.mean(), rtol=1e-6)
    np.testing.assert_allclose(reduced("sum"), each.sum(), rtol=1e-6)
    weights = np.float32([0, 1, 2, 0, 0, 3])
    np.testing.assert_allclose(reduced("sum", sample_weight=weights), (each * weights).sum(), rtol=1e-6)


def test_serialized(scores):
    """A loss made of its config, also after JSON, has the same config and the same value."""
    for loss in LOSSES:
        text = json.dumps(keras.losses.serialize(loss))
        copy = keras.losses.deserialize(json.loads(text))
        assert type(copy) is type(loss)
        assert copy.get_config() == loss.get_config()
        assert value(copy, LABELS, scores) == value(loss, LABELS, scores)


def test_made_of_what_a_card_says(scores):
    loss = keras.losses.deserialize({"class_name": "zoo>MaximumAPosteriori", "config": {"j": 2.0}})
    np.testing.assert_allclose(value(loss, LABELS, scores), maximum_a_posteriori(LABELS, scores, 2.0), rtol=1e-5)


@pytest.mark.parametrize(
    "loss, reference",
    [
        (MinimumDistance(), minimum_distance),
        (MaximumAPosteriori(0.7), lambda labels, scores: maximum_a_posteriori(labels, scores, 0.7)),
        (MulticlassHinge(2.0), lambda labels, scores: multiclass_hinge(labels, scores, 2.0)),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_gradients(loss, reference, scores):
    """The step of plain SGD with rate 1 on one shared row of scores, against central differences."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(4)])
    row = scores[0].astype("float64")
    model.set_weights([np.zeros((1, 4)), row])
    model.compile(keras.optimizers.SGD(1.0), loss, run_eagerly=keras.backend.backend() == "tensorflow")
    model.train_on_batch(np.zeros((6, 1), "float32"), LABELS)
    analytic = row - model.get_weights()[1]
    step = 1e-5
    numeric = [
        (reference(LABELS, np.tile(row + bump, (6, 1))) - reference(LABELS, np.tile(row - bump, (6, 1)))) / (2 * step)
        for bump in step * np.eye(4)
    ]
    np.testing.assert_allclose(analytic, numeric, rtol=1e-4, atol=1e-5)


def test_gradient_of_large_distances():
    """Far from all prototypes, eq. 9 pulls to the true one and pushes from none."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2)])
    model.set_weights([np.zeros((1, 2)), np.array([-500.0, -600.0])])
    model.compile(keras.optimizers.SGD(1.0), MaximumAPosteriori(), run_eagerly=keras.backend.backend() == "tensorflow")
    model.train_on_batch(np.zeros((1, 1), "float32"), np.array([1]))
    np.testing.assert_allclose(model.get_weights()[1], [-500, -599], rtol=1e-6)
