"""A list of path,label as a source."""

import csv
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from image_files import GRAY
from training import data
from training.data import csv_list
from zoo.errors import ZooError


@pytest.fixture
def photos(tmp_path):
    """Four images whose names are hard to write, whose first pixel is their number, and the folder above them."""
    names = ["a.png", "with, comma.png", 'größe "x".png', "two\nlines.png"]
    (tmp_path / "photos").mkdir()
    for number, name in enumerate(names):
        Image.new("L", (5, 6), number).save(tmp_path / "photos" / name)
    return tmp_path, [f"photos/{name}" for name in names]


def write(path, *lines, encoding="utf-8"):
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows(lines)
    return str(path)


def numbers(samples):
    return samples.images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_list(photos, encoding):
    place, names = photos
    labels = [" nut", "bolt", "7", "bolt "]
    path = write(place / "list.csv", ("path", "label"), *zip(names, labels, strict=True), encoding=encoding)
    source = data.load(path, GRAY)
    assert source.class_names == ("7", "bolt", "nut") and source.problems == [] and source.root == place
    samples = source.splits["all"]
    assert samples.names.tolist() == names and numbers(samples) == [0, 1, 2, 3]
    assert [source.class_names[label] for label in samples.labels] == ["nut", "bolt", "7", "bolt"]


def test_a_list_without_a_header_line(photos):
    place, names = photos
    path = write(place / "list.csv", (names[3], "x"), (names[0], "y"))
    assert numbers(data.load(path, GRAY).splits["all"]) == [3, 0]


def test_a_first_line_that_is_neither_columns_nor_an_image_is_refused(photos):
    place, names = photos
    for first in (("filename", "class"), (f"{names[0]};x",), ("photos/missing.png", "x")):
        path = write(place / "list.csv", first, (names[1], "y"))
        with pytest.raises(ZooError, match=r"line 1 is .*expected a header line path,label or path,label,split, se"):
            data.load(path, GRAY)
    with pytest.raises(ZooError, match=r"unknown column 'prat'; did you mean 'path' or 'part'"):
        data.load(write(place / "list.csv", ("path", "label", "prat"), (names[1], "y", "test")), GRAY)


def test_columns_in_another_order_and_other_words_for_the_splits(photos):
    place, names = photos
    rows = zip(("val", "train", "test", " Train"), "abab", names, strict=True)
    source = data.load(write(place / "list.csv", ("Part", "label", "PATH"), *rows), GRAY)
    assert list(source.splits) == ["train", "validation", "test"]
    assert {split: numbers(samples) for split, samples in source.splits.items()} == {
        "train": [1, 3],
        "validation": [0],
        "test": [2],
    }


@pytest.mark.parametrize("column", ["split", "part", " Split"])
def test_the_column_of_the_split_has_two_names(photos, column):
    place, names = photos
    rows = zip(names, "abab", ("train", "val", "train", "test"), strict=True)
    source = data.load(write(place / "list.csv", ("path", "label", column), *rows), GRAY)
    assert {split: numbers(samples) for split, samples in source.splits.items()} == {
        "train": [0, 2],
        "validation": [1],
        "test": [3],
    }


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([("path", "label", "part"), ("photos/a.png", "x", "tset")], "line 2: the split is 'tset'; expected train, valid"),
        ([("path", "label"), ("photos/a.png", " ")], "line 2: the image photos/a.png has no label"),
        (
            [("path", "label"), ("photos/a.png", "x"), (), ("photos/../photos/a.png", "y")],
            "line 4: .* already listed in line 2",
        ),
        ([("path", "label"), ("photos/a.png", "x", "y")], "line 2 has 3 columns, not 2; quote a path that has a comma"),
        (
            [("path", "label", "part", "split"), ("photos/a.png", "x", "test", "test")],
            "line 1 has both a column part and a c",
        ),
        ([("path", "label", "label"), ("photos/a.png", "x", "y")], "line 1 names a column twice"),
        ([("path", "label")], "lists no images"),
        ([], "lists no images"),
        ([("path", "label", "part"), ("photos/a.png", "x", "test")], "a split test, but no split train"),
    ],
)
def test_errors_give_the_line(photos, lines, message):
    place, _ = photos
    with pytest.raises(ZooError, match=message):
        data.load(write(place / "list.csv", *lines), GRAY)


def test_broken_quotes_and_other_encodings_are_refused(photos):
    place, _ = photos
    path = place / "list.csv"
    path.write_text('path,label\nphotos/a.png,"x"y\n')
    with pytest.raises(ZooError, match=r"line 2 is not valid CSV"):
        data.load(str(path), GRAY)
    path.write_bytes("path,label\nphotos/a.png,größe\n".encode("latin-1"))
    with pytest.raises(ZooError, match=r"line 2: the label is not UTF-8"):
        data.load(str(path), GRAY)


def test_missing_and_unreadable_files_are_skipped_and_named(photos):
    place, names = photos
    (place / "text.png").write_text("I am a text")
    lines = [("path", "label"), (names[0], "x"), ("gone.png", "x"), ("text.png", "y"), (9999 * "x", "x"), (names[1], "y")]
    path = write(place / "list.csv", *lines)
    source = data.load(path, GRAY)
    assert numbers(source.splits["all"]) == [0, 1] and source.splits["all"].names.tolist() == names[:2]
    missing, too_long, text = source.problems
    assert "line 5: no file" in too_long
    assert f"{path} line 3: no file {place / 'gone.png'}" == missing and f"{place / 'text.png'} is not an image" in text
    with pytest.raises(ZooError, match=r"line 3: no file"):
        data.load(path, GRAY, strict=True)


def test_if_nothing_can_be_read_the_error_gives_the_first_reasons_and_counts_the_others(tmp_path):
    path = write(tmp_path / "list.csv", ("path", "label"), *((f"{row}.png", "x") for row in range(40)))
    with pytest.raises(ZooError, match=r"no image in .* can be read: .*0\.png; .*1\.png; .*2\.png and 37 more"):
        data.load(path, GRAY)


def test_a_list_that_is_too_long_is_not_read(photos, monkeypatch):
    place, _ = photos
    path = place / "list.csv"
    with path.open("wb") as file:
        file.truncate(2**30)  # a hole: it takes no room
    with pytest.raises(ZooError, match=r"list\.csv has 1,024 MiB; a list of images may have at most 512"):
        data.load(str(path), GRAY)


def test_other_files_and_missing_lists_are_refused(tmp_path):
    (tmp_path / "list.txt").write_text("a.png,x")
    with pytest.raises(ZooError, match=r"list\.txt is not a list of images; expected a \.csv or \.json file"):
        data.load(str(tmp_path / "list.txt"), GRAY)
    with pytest.raises(ZooError, match=r"no folder or list list\.csv"):
        data.load("list.csv", GRAY)


TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TEXT, TEXT, st.sampled_from(data.SPLITS)), unique_by=lambda row: os.path.normpath(row[0])))
def test_rows_equal_those_written_by_the_csv_module(tmp_path, rows):
    path = tmp_path / "list.csv"
    write(path, ("path", "label", "part"), *rows)
    assert [tuple(row.values()) for _, row in csv_list.rows(path)] == rows


def test_split_csv_is_a_source_with_the_splits_of_the_run(photos, tmp_path):
    """Round trip: from a folder of classes whose files are hard to name, through a run folder elsewhere."""
    place, _ = photos
    for number in range(20):
        (place / "photos" / f"cl, {number % 2}").mkdir(exist_ok=True)
        name = os.fsdecode(b"\xff.png") if number == 7 else f'{number}, "\n.png'  # no UTF-8, as old archives have it
        Image.new("L", (5, 6), 10 * number).save(place / "photos" / f"cl, {number % 2}" / name, "png")
    for path in (place / "photos").glob("*.png"):
        path.unlink()
    source = data.load(str(place / "photos"), GRAY)
    splits = data.split(source, 0.2, 0.3, seed=4)
    run = tmp_path / "runs" / "deep" / "one"
    data.write_split(run / "split.csv", source, *splits)
    again = data.load(str(run / "split.csv"), GRAY, strict=True)
    assert again.class_names == source.class_names and list(again.splits) == ["train", "validation", "test"]
    for samples, same in zip(splits, data.split(again, 0.2, 0.3, seed=9), strict=True):
        np.testing.assert_array_equal(samples.images, same.images)
        np.testing.assert_array_equal(samples.labels, same.labels)
    changes = data.describe_changes(run / "split.csv", source)
    assert changes == "the images and classes are the same, but not their order or splits"
    assert list((run).iterdir()) == [run / "split.csv"]
