from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from training.evaluation.metrics import Answers, describe_interval, interval, wilson


@dataclass(frozen=True)
class Given(Answers):
    class_names: tuple
    labels: np.ndarray
    predictions: np.ndarray
    split: str = "test"


def given(classes, pictures, seed=0, right=0.7):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, pictures)
    guessed = generator.integers(0, classes, pictures)
    return Given(tuple(map(str, range(classes))), labels, np.where(generator.random(pictures) < right, labels, guessed))


@pytest.mark.parametrize(("classes", "pictures"), [(2, 40), (10, 300), (700, 900)])
def test_precision_recall_and_f1_are_those_of_scikit_learn(classes, pictures):
    answers = given(classes, pictures)
    expected = precision_recall_fscore_support(
        answers.labels, answers.predictions, labels=range(classes), zero_division=np.nan
    )
    found = list(answers.by_class().values())
    assert list(answers.by_class()) == list(answers.class_names)
    for name, values in zip(("precision", "recall", "f1"), expected[:3], strict=True):
        ours = np.array([np.nan if each[name] is None else each[name] for each in found])
        np.testing.assert_allclose(ours, 100 * values, atol=1e-4, err_msg=name)
    assert [each["pictures"] for each in found] == expected[3].tolist()


def test_confusion_is_that_of_scikit_learn_and_the_most_confused_come_first():
    answers = given(7, 500, right=0.5)
    expected = confusion_matrix(answers.labels, answers.predictions, labels=range(7))
    np.testing.assert_array_equal(answers.confusion(), expected)
    confused = answers.confused()
    np.fill_diagonal(expected, 0)
    assert [count for *_, count in confused] == sorted(expected[expected > 0], reverse=True)
    assert all(expected[int(true), int(answer)] == count for true, answer, count in confused)
    assert given(7, 500, right=1).confused() == []


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_intervals_are_those_of_newcombes_table(successes, trials, low, high):
    """Newcombe (1998), Two-sided confidence intervals for the single proportion, table I, method 3."""
    np.testing.assert_allclose(wilson(successes, trials), (low, high), atol=5e-5)
    exact = binomtest(successes, trials).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson(successes, trials), (exact.low, exact.high), atol=1e-12)


def test_intervals_of_many_at_once_and_of_nothing():
    low, high = wilson(np.array([0, 3, 0]), np.array([0, 3, 5]))
    assert (low[0], high[0]) == (0, 1) and (high[1], low[2]) == (1, 0)
    answers = Given(("a", "b", "c"), np.array([0, 0, 0, 1]), np.array([0, 0, 1, 0]))
    by_class = answers.by_class()
    assert by_class["c"] == {
        "pictures": 0,
        **dict.fromkeys(("precision", "precision_interval", "recall", "recall_interval", "f1")),
    }
    exact = binomtest(2, 3).proportion_ci(method="wilson")
    assert by_class["a"]["precision_interval"] == pytest.approx([100 * exact.low, 100 * exact.high], abs=0.01)
    assert by_class["b"]["precision"] == by_class["b"]["recall"] == by_class["b"]["f1"] == 0


def test_an_interval_holds_the_true_error_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    held = [low <= 10 <= high for low, high in (interval(wrong, 50) for wrong in generator.binomial(50, 0.1, 4000))]
    assert 0.93 < np.mean(held) < 0.98


def test_words_for_few_pictures_say_how_many_would_do():
    words = describe_interval(3, 30, "test")
    assert words.startswith("30 test pictures: the true error lies between 3 and 26 % (95 %); for ±2 % you need about ")
    needed = int(words.rpartition(" ")[2].replace(",", ""))
    low, high = interval(needed // 10, needed)
    assert high - low == pytest.approx(4, abs=0.5)
    none_wrong = "20 pictures: the true error lies between 0 and 16 % (95 %); for ±2 % you need about 700"
    assert describe_interval(0, 20) == none_wrong
    many = "10,000 test pictures: the true error lies between 0.70 and 1.06 % (95 %)"
    assert describe_interval(86, 10000, "test") == many
    assert given(3, 30).describe_interval().startswith("30 test pictures")
