"""The losses agree with naive loops and with the numbers of the paper and the lecture."""

import json
import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zoo.losses import LMS, BinaryHinge, MaximumAPosteriori, MinimumDistance, MulticlassHinge, PerceptronCriterion

LOSSES = [
    MinimumDistance(),
    MaximumAPosteriori(j=0.7),
    MulticlassHinge(margin=2.0),
    MulticlassHinge(margin=2.0, squared=True, name="squared_multiclass_hinge"),
    BinaryHinge(margin=0.5),
    BinaryHinge(squared=True, name="squared_binary_hinge"),
    PerceptronCriterion(),
    LMS(low=-0.5, high=2.0),
]

# The lecture's three images, a cat, a car and a frog, each with its scores for these three classes.
LECTURE = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])


@pytest.fixture
def scores():
    """Minus distances, like the scores of LeNet-5, (6, 4)."""
    return -np.random.default_rng(1).uniform(0, 3, size=(6, 4)).astype("float32")


LABELS = np.array([2, 0, 3, 3, 1, 2])


def value(loss, labels, scores):
    return keras.ops.convert_to_numpy(loss(labels, scores))


# Naive loops.


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


def multiclass_hinge(labels, scores, margin, power=1):
    terms = []
    for label, row in zip(labels, scores, strict=True):
        terms.append(sum(max(0, row[j] - row[label] + margin) ** power for j in range(len(row)) if j != label))
    return np.mean(terms)


def binary_hinge(labels, scores, margin, power=1):
    terms = []
    for label, row in zip(labels, scores, strict=True):
        side = [1 if j == label else -1 for j in range(len(row))]
        terms.append(sum(max(0, margin - t * s) ** power for t, s in zip(side, row, strict=True)))
    return np.mean(terms)


def perceptron_criterion(labels, scores):
    terms = []
    for label, row in zip(labels, scores, strict=True):
        answers = [1 if s > 0 else 0 for s in row]
        terms.append(sum((answers[j] - (j == label)) * row[j] for j in range(len(row))))
    return np.mean(terms)


def lms(labels, scores, low, high):
    terms = []
    for label, row in zip(labels, scores, strict=True):
        terms.append(0.5 * sum(((high if j == label else low) - row[j]) ** 2 for j in range(len(row))))
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
    """The exponentials underflow, but the loss is right."""
    found = value(MaximumAPosteriori(j), [0], -np.float32([distances]))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("j", [0, -1.0])
def test_j_must_be_positive(j):
    with pytest.raises(ValueError, match="must be positive"):
        MaximumAPosteriori(j)


def test_multiclass_hinge_on_the_example_of_the_lecture():
    """2.9, 0 and 12.9, mean 5.2667."""
    each = value(MulticlassHinge(reduction=None), [0, 1, 2], LECTURE)
    np.testing.assert_allclose(each, [2.9, 0, 12.9], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(value(MulticlassHinge(), [0, 1, 2], LECTURE), 5.2667, rtol=1e-5)


@pytest.mark.parametrize("margin", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("squared", [False, True])
def test_multiclass_hinge(scores, margin, squared):
    expected = multiclass_hinge(LABELS, scores, margin, 1 + squared)
    np.testing.assert_allclose(value(MulticlassHinge(margin, squared), LABELS, scores), expected, rtol=1e-5)


def test_softmax_on_the_example_of_the_lecture():
    """Keras' cross-entropy of the same three images: 2.0404, 0.0791 and 6.1565."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
    np.testing.assert_allclose(value(loss, np.arange(3), LECTURE), [2.0404, 0.0791, 6.1565], atol=5e-5)


@settings(max_examples=25)
@given(
    arrays("float32", (3, 4), elements=st.floats(-3, 3, width=32)),
    st.lists(st.integers(0, 3), min_size=3, max_size=3),
    st.floats(1, 100),
)
def test_zero_hinge_losses_stay_zero_with_larger_weights(scores, labels, factor):
    """If L(W) = 0 then L(2W) = 0, so the best W is not unique."""
    labels = np.array(labels)
    scores[range(3), labels] = scores.max(axis=1) + 4.5  # true scores of 1.5 and more, with a lead of 4.5
    scores = scores - np.where(np.eye(4)[labels], 0, 4.5).astype("float32")  # the others are -1.5 and less
    for loss in (MulticlassHinge(), BinaryHinge(), PerceptronCriterion()):
        assert value(loss, labels, scores) == 0
        assert value(loss, labels, np.float32(factor) * scores) == 0
        assert value(loss, (labels + 1) % 4, scores) > 0


@pytest.mark.parametrize("margin", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("squared", [False, True])
def test_binary_hinge_of_each_class_against_the_rest(scores, margin, squared):
    """Summed over the classes."""
    scores = scores + 1.5
    expected = binary_hinge(LABELS, scores, margin, 1 + squared)
    np.testing.assert_allclose(value(BinaryHinge(margin, squared), LABELS, scores), expected, rtol=1e-5)


def test_binary_hinge_of_one_score():
    """max(0, 1 - t s) inside the margin, beyond it and on the wrong side, for all forms of labels."""
    scores, labels, expected = np.array([[0.5], [2.0], [0.5], [-3.0]]), np.array([1, 1, 0, 0]), [0.5, 0, 1.5, 0]
    for same in (labels, labels[:, None], 2 * labels - 1, labels.astype("float64")):
        np.testing.assert_allclose(value(BinaryHinge(reduction=None), same, scores), expected, rtol=1e-6)
        np.testing.assert_allclose(value(BinaryHinge(reduction=None), same, scores[:, 0]), expected, rtol=1e-6)
    np.testing.assert_allclose(value(BinaryHinge(2.0, squared=True, reduction=None), labels, scores), [2.25, 0, 6.25, 0])


def test_perceptron_criterion(scores):
    scores = scores + 1.5
    expected = perceptron_criterion(LABELS, scores)
    np.testing.assert_allclose(value(PerceptronCriterion(), LABELS, scores), expected, rtol=1e-5)


@pytest.mark.parametrize("low, high", [(-1.0, 1.0), (0.0, 1.0), (-2.0, 0.5)])
def test_lms(scores, low, high):
    np.testing.assert_allclose(value(LMS(low, high), LABELS, scores), lms(LABELS, scores, low, high), rtol=1e-5)


def learn(loss, rate, rows, labels, start):
    """Return the weights of a layer of linear units, after Keras' SGD on the rows one by one."""
    net = keras.Sequential([keras.Input((start.shape[0],)), keras.layers.Dense(start.shape[1], use_bias=False)])
    net.set_weights([start])
    net.compile(keras.optimizers.SGD(rate), loss, run_eagerly=keras.backend.backend() == "tensorflow")
    for row, label in zip(rows, labels, strict=True):
        net.train_on_batch(row[None], label[None])
    return net.get_weights()[0]


@pytest.mark.parametrize("units", [1, 3])
def test_perceptron_criterion_is_rosenblatts_rule(units):
    """w += alpha (d - y) x y = 1 if w.x > 0 else 0: exact, as all numbers are halves; from zero, so that s = 0 occurs."""
    rng = np.random.default_rng(4)
    rows = rng.integers(-2, 3, size=(30, 4)).astype("float32")
    labels = rng.integers(0, max(2, units), size=30)
    w = np.zeros((4, units), "float32")
    for x, label in zip(rows, labels, strict=True):
        for unit in range(units):
            d = label if units == 1 else int(unit == label)
            y = 1 if w[:, unit] @ x > 0 else 0
            w[:, unit] += 0.5 * (d - y) * x
    assert w.any(axis=0).all()
    np.testing.assert_array_equal(learn(PerceptronCriterion(), 0.5, rows, labels, np.zeros((4, units), "float32")), w)


@pytest.mark.parametrize("units", [1, 3])
def test_lms_is_widrow_and_hoffs_rule(units):
    """w += mu (t - w.x) x with the targets ±1."""
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(20, 4)).astype("float32")
    labels = rng.integers(0, max(2, units), size=20)
    start = rng.normal(size=(4, units)).astype("float32")
    w = start.astype("float64")
    for x, label in zip(rows, labels, strict=True):
        for unit in range(units):
            on = label if units == 1 else int(unit == label)
            w[:, unit] += 0.1 * ((1 if on else -1) - w[:, unit] @ x) * x
    assert np.abs(w - start).max() > 0.1
    np.testing.assert_allclose(learn(LMS(), 0.1, rows, labels, start), w, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_integer_and_one_hot_labels_agree(loss, scores):
    one_hot = np.eye(4)[LABELS]
    expected = value(loss, LABELS, scores)
    assert expected > 0
    for same in (LABELS[:, None], LABELS.astype("uint8"), LABELS.astype("float32"), one_hot, one_hot.astype("int64")):
        assert value(loss, same, scores) == expected


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_column_of_labels_is_integers(loss, scores):
    """(batch, 1) labels are integers, even with two classes."""
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
    """A loss made from its config, after JSON too, has the same config and the same value."""
    for loss in LOSSES:
        text = json.dumps(keras.losses.serialize(loss))
        copy = keras.losses.deserialize(json.loads(text))
        assert type(copy) is type(loss)
        assert copy.get_config() == loss.get_config()
        assert value(copy, LABELS, scores) == value(loss, LABELS, scores)


def test_deserialized_from_a_card(scores):
    loss = keras.losses.deserialize({"class_name": "zoo>MaximumAPosteriori", "config": {"j": 2.0}})
    np.testing.assert_allclose(value(loss, LABELS, scores), maximum_a_posteriori(LABELS, scores, 2.0), rtol=1e-5)


@pytest.mark.parametrize(
    "loss, reference",
    [
        (MinimumDistance(), minimum_distance),
        (MaximumAPosteriori(0.7), lambda labels, scores: maximum_a_posteriori(labels, scores, 0.7)),
        (MulticlassHinge(2.0), lambda labels, scores: multiclass_hinge(labels, scores, 2.0)),
        (MulticlassHinge(2.0, True, name="squared"), lambda labels, scores: multiclass_hinge(labels, scores, 2.0, 2)),
        (BinaryHinge(2.0), lambda labels, scores: binary_hinge(labels, scores, 2.0)),
        (BinaryHinge(2.0, True, name="squared"), lambda labels, scores: binary_hinge(labels, scores, 2.0, 2)),
        (PerceptronCriterion(), perceptron_criterion),
        (LMS(-0.5, 2.0), lambda labels, scores: lms(labels, scores, -0.5, 2.0)),
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
    """Far from all prototypes, eq. 9 only decreases the distance to the true one."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2)])
    model.set_weights([np.zeros((1, 2)), np.array([-500.0, -600.0])])
    model.compile(keras.optimizers.SGD(1.0), MaximumAPosteriori(), run_eagerly=keras.backend.backend() == "tensorflow")
    model.train_on_batch(np.zeros((1, 1), "float32"), np.array([1]))
    np.testing.assert_allclose(model.get_weights()[1], [-500, -599], rtol=1e-6)


@pytest.mark.parametrize("loss", [BinaryHinge(), PerceptronCriterion(), LMS()], ids=lambda loss: loss.name)
def test_single_unit_may_have_flat_scores(loss):
    """Each row has its own label; without the axis, scores would broadcast against a column of labels."""
    scores, labels = np.float32([0.3, -2, 0.5, -0.1]), np.array([1, 0, 0, 1])
    alone = [float(loss(labels[row : row + 1], scores[row : row + 1, None])) for row in range(4)]
    for each in (labels, labels[:, None]):
        assert float(value(loss, each, scores)) == pytest.approx(np.mean(alone))
