"""The splits of data: how they are carved, what is wrong with them, and how a later run knows them again."""

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from training import data
from training.data import Samples, Source
from zoo.errors import ZooError

GREY = {"height": 6, "width": 5, "channels": 1, "resize": "pad"}


def numbered(counts):
    """A source whose images carry their own number: counts[i] of class i, shuffled."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts)).astype("int32")
    images = np.arange(len(labels), dtype="uint16").view("uint8").reshape(-1, 1, 2, 1)
    names = np.array([f"{row}.png" for row in range(len(labels))], object)
    return Source(tuple(f"class{i}" for i in range(len(counts))), {"all": Samples(images, labels, names)})


def rows(samples):
    return samples.images.reshape(-1, 2).copy().view("uint16").ravel().tolist()


@pytest.mark.parametrize(("validation", "test"), [(0.2, 0.2), (30, 0.25), (0.1, 25), (12, 12)])
def test_a_split_is_disjoint_complete_and_in_proportion(validation, test):
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


def test_a_split_follows_from_its_seed():
    source = numbered([40, 60])
    first, again, other = (list(map(rows, data.split(source, 0.2, 0.2, seed))) for seed in (1, 1, 2))
    assert first == again
    assert all(one != two for one, two in zip(first, other, strict=True))


def test_without_a_test_part_there_is_none():
    train, validation, test = data.split(numbered([10, 10]), 0.2, 0, seed=1)
    assert test is None and len(train) + len(validation) == 20


def test_the_parts_of_a_source_are_kept_and_only_what_it_lacks_is_carved():
    whole, test = numbered([40, 60]).splits["all"], numbered([3, 4]).splits["all"]
    train, validation, kept = data.split(Source(("a", "b"), {"train": whole, "test": test}), 0.1, 0.5, seed=1)
    assert kept is test and len(validation) == 10 and len(train) == 90


@pytest.mark.parametrize("rarest", range(1, 12))
def test_every_class_is_in_every_part_or_the_split_is_refused(rarest):
    source = numbered([60, 50, rarest])
    if rarest < 3:
        with pytest.raises(ZooError, match="'class2' has"):
            data.split(source, 0.15, 0.15, seed=1)
    else:
        splits = data.split(source, 0.15, 0.15, seed=1)
        assert all(set(samples.labels.tolist()) == {0, 1, 2} for samples in splits)


def test_too_many_asked_for_is_refused():
    with pytest.raises(ZooError, match="cannot take a validation split of 20 from 20 images"):
        data.split(numbered([10, 10]), 20, 0, seed=1)


@settings(max_examples=100)
@given(
    st.lists(st.integers(3, 300), min_size=2, max_size=12),
    st.floats(0.01, 0.4),
    st.floats(0.01, 0.4),
    st.integers(0, 1000),
)
def test_three_images_a_class_are_enough_for_any_share(counts, validation, test, seed):
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


def test_ten_images_a_class():
    train, validation, test = data.split(numbered([10] * 10), 0.15, 0.15, seed=1)
    assert (len(train), len(validation), len(test)) == (72, 13, 15)


@pytest.mark.parametrize("fewest", [1, 2])
def test_with_fewer_the_message_says_which_classes_and_what_to_do(fewest):
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


def write_image(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (5, 6), number).save(path)


def test_images_that_are_in_two_parts_are_named(tmp_path):
    """By their pixels, whatever the file is called and however it is compressed."""
    for number in range(6):
        write_image(tmp_path / "train" / "ab"[number % 2] / f"{number}.png", number)
    write_image(tmp_path / "test" / "a" / "0.bmp", 0)
    write_image(tmp_path / "test" / "b" / "new.png", 77)
    write_image(tmp_path / "val" / "a" / "4.png", 4)
    splits = data.load(str(tmp_path), GREY).splits
    told = data.duplicates_across_splits(splits["train"], splits["validation"], splits["test"])
    assert len(told) == 2
    assert "1 image of validation with the same pixels in an earlier split" in told[0]
    assert "val/a/4.png as train/a/4.png of train" in told[0]
    assert "test/a/0.bmp as train/a/0.png of train" in told[1]
    assert data.duplicates_across_splits(splits["train"], None, None) == []


def test_uneven_classes_are_told_with_their_counts():
    names = ("bolt", "nut", "washer")
    labels = np.repeat(np.int32([0, 1, 2]), [120, 12, 40])
    counts = data.class_counts(Samples(np.zeros((172, 1, 1, 1), "uint8"), labels), names)
    assert counts == {"bolt": 120, "nut": 12, "washer": 40}
    assert data.class_imbalance(counts) == (
        "the classes are imbalanced: bolt 120, washer 40, nut 12; --balance samples all classes equally often"
    )
    assert data.class_imbalance({"bolt": 36, "nut": 12}) == ""
    assert data.class_imbalance({"bolt": 37, "nut": 12}) != ""
    many = data.class_imbalance({f"class{number:02}": 100 - number for number in range(99)})
    assert "class00 100" in many and "class98 2" in many and "class50" not in many


@pytest.fixture
def run(tmp_path):
    """A folder of images, its source, and the split.csv of a run on it."""
    photos = tmp_path / "photos"
    for number in range(20):
        write_image(photos / "ab"[number % 2] / f"{number}.png", number)
    source = data.load(str(photos), GREY)
    data.write_split(tmp_path / "run" / "split.csv", source, *data.split(source, 0.2, 0.2, seed=1))
    return photos, source, tmp_path / "run" / "split.csv"


def test_the_split_of_a_run_is_written_with_paths_from_its_folder(run):
    _, source, path = run
    with path.open(newline="") as file:
        written = list(csv.DictReader(file))
    assert {row["path"] for row in written} == {f"../photos/{name}" for name in source.splits["all"].names}
    assert all((path.parent / row["path"]).is_file() and row["label"] == row["path"].split("/")[2] for row in written)
    assert [row["part"] for row in written] == ["train"] * 12 + ["validation"] * 4 + ["test"] * 4
    assert len({row["sha256"] for row in written}) == 20 and {len(row["sha256"]) for row in written} == {16}


def test_a_run_folder_behind_a_link(run, tmp_path):
    """Where ".." leads elsewhere than the text of the path says."""
    _, source, path = run
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link").symlink_to(path.parent, target_is_directory=True)
    linked = tmp_path / "elsewhere" / "link" / "split.csv"
    data.write_split(linked, source, *data.split(source, 0.2, 0, seed=1))
    assert len(data.load(str(linked), GREY, strict=True).splits["train"]) == 16


def test_what_changed_since_is_told_in_words(run):
    photos, source, path = run
    assert data.describe_changes(path, source) == "the images and classes are the same, but not their order or splits"
    write_image(photos / "a" / "0.png", 200)
    (photos / "b" / "1.png").unlink()
    (photos / "a" / "2.png").rename(photos / "a" / "two.png")
    for number in range(4):
        write_image(photos / "b" / f"new{number}.png", 100 + number)
    told = data.describe_changes(path, data.load(str(photos), GREY))
    assert told.split("; ") == [
        "5 images added (a/two.png, b/new0.png, b/new1.png and 2 more)",
        "2 images removed (a/2.png, b/1.png)",
        "1 image with other pixels (a/0.png)",
    ]


def test_an_image_of_another_class_in_a_list(tmp_path):
    for number in range(8):
        write_image(tmp_path / f"{number}.png", number)
    lines = [f"{number}.png,{'xy'[number % 2]}" for number in range(8)]
    listed = tmp_path / "list.csv"
    listed.write_text("\n".join(["path,label", *lines]))
    source = data.load(str(listed), GREY)
    data.write_split(tmp_path / "split.csv", source, *data.split(source, 0.25, 0, seed=1))
    listed.write_text("\n".join(["path,label", "0.png,y", *lines[1:]]))
    changed = data.load(str(listed), GREY)
    assert data.describe_changes(tmp_path / "split.csv", changed) == "1 image with another class (0.png)"
    by_hand = tmp_path / "by_hand.csv"  # that has no digests
    by_hand.write_text("\n".join(["path,label", *lines]))
    assert data.describe_changes(by_hand, data.load(str(listed), GREY)) == "1 image with another class (0.png)"
