"""Splitting a source, duplicates across splits, and class imbalance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_files import GRAY, write_uniform
from training import data
from training.data import Samples, Source
from zoo.errors import ZooError


def numbered(counts):
    """A source whose images carry their own number: counts[i] of class i, shuffled."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts)).astype("int32")
    images = np.arange(len(labels), dtype="uint16").view("uint8").reshape(-1, 1, 2, 1)
    names = np.array([f"{row}.png" for row in range(len(labels))], object)
    return Source(tuple(f"class{i}" for i in range(len(counts))), {"all": Samples(images, labels, names)})


def rows(samples):
    return samples.images.reshape(-1, 2).copy().view("uint16").ravel().tolist()


@pytest.mark.parametrize(("validation", "test"), [(0.2, 0.2), (30, 0.25), (0.1, 25), (12, 12)])
def test_splits_are_disjoint_complete_and_stratified(validation, test):
    source = numbered([90, 40, 70])
    splits = data.split(source, validation, test, seed=3)
    assert sorted(row for samples in splits for row in rows(samples)) == list(range(200))
    wanted_test = 200 * test if test < 1 else test
    wanted_validation = (200 - wanted_test) * validation if validation < 1 else validation
    assert abs(len(splits[2]) - wanted_test) <= 1 and abs(len(splits[1]) - wanted_validation) <= 1
    for samples in splits:
        for index, share in enumerate((90 / 200, 40 / 200, 70 / 200)):
            assert abs((samples.labels == index).sum() - share * len(samples)) <= 1.5
        np.testing.assert_array_equal(samples.labels, source.splits["all"].labels[rows(samples)])


def test_the_seed_determines_the_split():
    source = numbered([40, 60])
    first, again, other = (list(map(rows, data.split(source, 0.2, 0.2, seed))) for seed in (1, 1, 2))
    assert first == again
    assert all(one != two for one, two in zip(first, other, strict=True))


def test_a_size_of_zero_gives_no_split():
    train, validation, test = data.split(numbered([10, 10]), 0.2, 0, seed=1)
    assert test is None and len(train) + len(validation) == 20


def test_existing_splits_are_kept_and_missing_ones_are_taken_from_training():
    whole, test = numbered([40, 60]).splits["all"], numbered([3, 4]).splits["all"]
    train, validation, kept = data.split(Source(("a", "b"), {"train": whole, "test": test}), 0.1, 0.5, seed=1)
    assert kept is test and len(validation) == 10 and len(train) == 90


@pytest.mark.parametrize("rarest", range(1, 12))
def test_every_class_is_in_every_split_or_the_split_is_refused(rarest):
    source = numbered([60, 50, rarest])
    if rarest < 3:
        with pytest.raises(ZooError, match="'class2' has"):
            data.split(source, 0.15, 0.15, seed=1)
    else:
        splits = data.split(source, 0.15, 0.15, seed=1)
        assert all(set(samples.labels.tolist()) == {0, 1, 2} for samples in splits)


def test_a_split_without_images_left_for_training_is_refused():
    with pytest.raises(ZooError, match="cannot take a validation split of 20 from 20 images"):
        data.split(numbered([10, 10]), 20, 0, seed=1)


@settings(max_examples=100)
@given(
    st.lists(st.integers(3, 300), min_size=2, max_size=12),
    st.floats(0.01, 0.4),
    st.floats(0.01, 0.4),
    st.integers(0, 1000),
)
def test_three_images_per_class_are_enough_for_any_fraction(counts, validation, test, seed):
    source = numbered(counts)
    splits = data.split(source, validation, test, seed)
    assert sorted(name for samples in splits for name in samples.names) == sorted(source.splits["all"].names)
    for samples in splits:
        assert set(samples.labels.tolist()) == set(range(len(counts)))
        assert samples.names.tolist() == [f"{row}.png" for row in rows(samples)]  # what belongs together stays together
        np.testing.assert_array_equal(samples.labels, source.splits["all"].labels[rows(samples)])
    for samples, share in zip(splits[1:], ((1 - test) * validation, test), strict=True):
        wanted = share * sum(counts)
        assert wanted - len(counts) - 1 <= len(samples) <= wanted + len(counts) + 1


def test_ten_images_per_class():
    train, validation, test = data.split(numbered([10] * 10), 0.15, 0.15, seed=1)
    assert (len(train), len(validation), len(test)) == (72, 13, 15)


@pytest.mark.parametrize("fewest", [1, 2])
def test_the_error_for_small_classes_names_them_and_the_remedies(fewest):
    source = numbered([fewest, 9, 2, 8])
    with pytest.raises(ZooError) as caught:
        data.split(source, 0.15, 0.15, seed=1)
    assert str(caught.value) == (
        f"every class needs at least 3 images, one each for training, test, validation: 'class0' has {fewest}, "
        "'class2' has 2; add images, remove the class, or disable a split: --set data.test=0"
    )
    if fewest == 2:
        train, validation, _ = data.split(source, 0.15, 0, seed=1)
        assert set(train.labels.tolist()) == set(validation.labels.tolist()) == {0, 1, 2, 3}


def test_duplicates_across_splits_are_named(tmp_path):
    """By their pixels, whatever the file is called and however it is compressed."""
    for number in range(6):
        write_uniform(tmp_path / "train" / "ab"[number % 2] / f"{number}.png", number)
    write_uniform(tmp_path / "test" / "a" / "0.bmp", 0)
    write_uniform(tmp_path / "test" / "b" / "new.png", 77)
    write_uniform(tmp_path / "val" / "a" / "4.png", 4)
    splits = data.load(str(tmp_path), GRAY).splits
    messages = data.duplicates_across_splits(splits["train"], splits["validation"], splits["test"])
    assert len(messages) == 2
    assert "1 image of validation with the same pixels in an earlier split" in messages[0]
    assert "val/a/4.png as train/a/4.png of train" in messages[0]
    assert "test/a/0.bmp as train/a/0.png of train" in messages[1]
    assert data.duplicates_across_splits(splits["train"], None, None) == []


def test_imbalanced_classes_are_reported_with_their_counts():
    names = ("bolt", "nut", "washer")
    labels = np.repeat(np.int32([0, 1, 2]), [120, 12, 40])
    counts = data.class_counts(Samples(np.zeros((172, 1, 1, 1), "uint8"), labels), names)
    assert counts == {"bolt": 120, "nut": 12, "washer": 40}
    assert data.class_imbalance(counts) == (
        "the classes are imbalanced: bolt 120, washer 40, nut 12; --set data.balance=true samples all classes equally often"
    )
    assert data.class_imbalance({"bolt": 36, "nut": 12}) == ""
    assert data.class_imbalance({"bolt": 37, "nut": 12}) != ""
    many = data.class_imbalance({f"class{number:02}": 100 - number for number in range(99)})
    assert "class00 100" in many and "class98 2" in many and "class50" not in many
