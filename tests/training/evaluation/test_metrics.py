"""Classification metrics and confidence intervals, against scikit-learn, SciPy and published tables."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from training.evaluation.metrics import ClassificationMetrics, confidence_interval, describe_interval, wilson_interval


@dataclass(frozen=True)
class Predictions(ClassificationMetrics):
    class_names: tuple
    labels: np.ndarray
    predictions: np.ndarray
    split: str = "test"


def random_predictions(classes, images, seed=0, right=0.7):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, images)
    guessed = generator.integers(0, classes, images)
    return Predictions(tuple(map(str, range(classes))), labels, np.where(generator.random(images) < right, labels, guessed))


@pytest.mark.parametrize(("classes", "images"), [(2, 40), (10, 300), (700, 900)])
def test_precision_recall_and_f1_equal_scikit_learn(classes, images):
    predictions = random_predictions(classes, images)
    expected = precision_recall_fscore_support(
        predictions.labels, predictions.predictions, labels=range(classes), zero_division=np.nan
    )
    found = list(predictions.per_class().values())
    assert list(predictions.per_class()) == list(predictions.class_names)
    for name, values in zip(("precision", "recall", "f1"), expected[:3], strict=True):
        ours = np.array([np.nan if each[name] is None else each[name] for each in found])
        np.testing.assert_allclose(ours, 100 * values, atol=1e-4, err_msg=name)
    assert [each["pictures"] for each in found] == expected[3].tolist()


def test_confusion_matrix_equals_scikit_learn_and_the_most_confused_pairs_come_first():
    predictions = random_predictions(7, 500, right=0.5)
    expected = confusion_matrix(predictions.labels, predictions.predictions, labels=range(7))
    np.testing.assert_array_equal(predictions.confusion_matrix(), expected)
    confused = predictions.confused_pairs()
    np.fill_diagonal(expected, 0)
    assert [count for *_, count in confused] == sorted(expected[expected > 0], reverse=True)
    assert all(expected[int(true), int(answer)] == count for true, answer, count in confused)
    assert random_predictions(7, 500, right=1).confused_pairs() == []


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_intervals_equal_newcombes_table(successes, trials, low, high):
    """Newcombe (1998), Two-sided confidence intervals for the single proportion, table I, method 3."""
    np.testing.assert_allclose(wilson_interval(successes, trials), (low, high), atol=5e-5)
    exact = binomtest(successes, trials).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson_interval(successes, trials), (exact.low, exact.high), atol=1e-12)


def test_intervals_of_arrays_and_of_no_trials():
    low, high = wilson_interval(np.array([0, 3, 0]), np.array([0, 3, 5]))
    assert (low[0], high[0]) == (0, 1) and (high[1], low[2]) == (1, 0)
    predictions = Predictions(("a", "b", "c"), np.array([0, 0, 0, 1]), np.array([0, 0, 1, 0]))
    per_class = predictions.per_class()
    assert per_class["c"] == {
        "pictures": 0,
        **dict.fromkeys(("precision", "precision_interval", "recall", "recall_interval", "f1")),
    }
    exact = binomtest(2, 3).proportion_ci(method="wilson")
    assert per_class["a"]["precision_interval"] == pytest.approx([100 * exact.low, 100 * exact.high], abs=0.01)
    assert per_class["b"]["precision"] == per_class["b"]["recall"] == per_class["b"]["f1"] == 0


def test_the_interval_covers_the_true_error_in_about_95_percent_of_draws():
    generator = np.random.default_rng(0)
    held = [
        low <= 10 <= high for low, high in (confidence_interval(wrong, 50) for wrong in generator.binomial(50, 0.1, 4000))
    ]
    assert 0.93 < np.mean(held) < 0.98


def test_the_description_says_how_many_images_narrow_the_interval():
    words = describe_interval(3, 30, "test")
    assert words.startswith("95 % confidence interval of the error: 3 to 26 % (30 test images); about ")
    assert words.endswith(" images would narrow it to ±2 %")
    needed = int(words.split("about ")[1].split()[0].replace(",", ""))
    low, high = confidence_interval(needed // 10, needed)
    assert high - low == pytest.approx(4, abs=0.5)
    none_wrong = "95 % confidence interval of the error: 0 to 16 % (20 images); about 700 images would narrow it to ±2 %"
    assert describe_interval(0, 20) == none_wrong
    many = "95 % confidence interval of the error: 0.70 to 1.06 % (10,000 test images)"
    assert describe_interval(86, 10000, "test") == many
    assert "(30 test images)" in random_predictions(3, 30).describe_interval()
