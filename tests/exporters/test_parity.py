import numpy as np
import pytest

from exporters import parity
from zoo.errors import CheckFailed

PICTURES = np.random.default_rng(0).integers(0, 256, (40, 4, 3, 1), "uint8")
TEMPLATES = np.random.default_rng(1).normal(size=(12, 5)).astype("float32")


def model(pictures):
    return np.asarray(pictures, "float32").reshape(len(pictures), -1) @ TEMPLATES / 255


def passes(candidate):
    return parity.compare(model, candidate, PICTURES)


def refused(candidate, words):
    report = passes(candidate)
    assert not report.passed
    with pytest.raises(CheckFailed, match=words):
        report.raise_if_failed()
    return report


def test_the_same_function_passes():
    report = passes(model)
    assert report.passed and report.problems == ()
    assert (report.pictures, report.flipped_labels, report.largest_difference) == (40, 0, 0.0)
    report.raise_if_failed()


def test_the_rounding_of_another_order_of_additions_passes_and_is_measured():
    report = passes(lambda pictures: model(pictures) + np.float32(5e-5))
    assert report.passed
    assert report.largest_difference == pytest.approx(5e-5, rel=0.02)


@pytest.mark.parametrize(
    "wrong",
    [lambda scores: scores[:, :-1], lambda scores: scores[..., None], lambda scores: scores.T, lambda scores: scores[:1]],
    ids=["a class less", "another axis", "transposed", "one row only"],
)
def test_another_shape_fails(wrong):
    refused(lambda pictures: wrong(model(pictures)), "gives .*, the model")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_single_score_that_is_not_finite_fails(value):
    def candidate(pictures):
        scores = model(pictures)
        if (pictures[0] == PICTURES[21]).all():  # the first of a batch of seven, beyond those that are run alone
            scores[0, 3] = value
        return scores

    refused(candidate, "batch of 7 are not finite")


def test_a_model_whose_own_scores_are_not_finite_proves_nothing():
    def broken(pictures):
        scores = model(pictures)
        scores[:, 2] = np.nan
        return scores

    def candidate(pictures):
        scores = model(pictures)
        scores[:, 2] = 100  # and the same argmax as NaN has
        return scores

    assert not parity.compare(broken, candidate, PICTURES).passed
    assert not parity.compare(broken, broken, PICTURES).passed


@pytest.mark.parametrize("row", range(0, 40, 13))
def test_one_value_off_by_more_than_the_tolerance_fails(row):
    def candidate(pictures, error):
        scores = model(pictures)
        for index, picture in enumerate(pictures):
            if np.array_equal(picture, PICTURES[row]):
                scores[index, 4] += error
        return scores

    assert passes(lambda pictures: candidate(pictures, 5e-5)).passed
    refused(lambda pictures: candidate(pictures, 0.002), "differ by up to 0.002")


def test_flipped_labels_fail_even_within_the_tolerance():
    """Two classes almost at a draw: every score is within tolerance, the answers are not the same."""
    near = np.tile(np.array([[1.0, 1.0 + 2e-5, 0.0]], "float32"), (40, 1))
    flipped = np.tile(np.array([[1.0 + 2e-5, 1.0, 0.0]], "float32"), (40, 1))

    def flips(wrong):
        """A candidate that is wrong on the pictures of these numbers."""

        def candidate(pictures):
            numbers = [next(i for i in range(40) if np.array_equal(PICTURES[i], picture)) for picture in pictures]
            return np.stack([(flipped if number in wrong else near)[number] for number in numbers])

        return candidate

    def compare(wrong):
        return parity.compare(lambda pictures: near[: len(pictures)], flips(wrong), PICTURES)

    assert compare(()).passed
    for wrong in ((30,), (3,), (0, 5, 39), range(40)):
        report = compare(wrong)
        assert report.flipped_labels == len(wrong) and not report.passed
        assert any("labels differ" in problem for problem in report.problems)


def test_a_batch_that_was_frozen_to_one_fails():
    refused(lambda pictures: model(pictures[:1]), r"a batch of 7 gives \(1, 5\), the model \(7, 5\)")

    def raises(pictures):
        if len(pictures) != 1:
            raise RuntimeError("Got invalid dimensions for input")
        return model(pictures)

    report = refused(raises, "batch of 7.*invalid dimensions")
    assert len(report.problems) == 1


def test_every_picture_is_compared():
    seen = []

    def candidate(pictures):
        seen.extend(pictures.reshape(len(pictures), -1).tolist())
        return model(pictures)

    assert passes(candidate).passed
    assert {tuple(picture) for picture in seen} == {tuple(picture) for picture in PICTURES.reshape(40, -1).tolist()}


def test_nothing_compared_is_nothing_proved():
    assert not parity.compare(model, model, PICTURES[:0]).passed


def test_all_problems_are_in_one_error():
    report = parity.Report(3, (1, 7), 0.0, 1, ("first", "second"))
    with pytest.raises(CheckFailed, match="first; second"):
        report.raise_if_failed()
    assert CheckFailed.exit_code == 1
