"""split.csv of a run: its content, its use as a list, and the description of changed images."""

import csv

import pytest

from image_files import GRAY, write_uniform
from training import data


@pytest.fixture
def run(tmp_path):
    """A folder of images, its source, and the split.csv of a run on it."""
    photos = tmp_path / "photos"
    for number in range(20):
        write_uniform(photos / "ab"[number % 2] / f"{number}.png", number)
    source = data.load(str(photos), GRAY)
    data.write_split(tmp_path / "run" / "split.csv", source, *data.split(source, 0.2, 0.2, seed=1))
    return photos, source, tmp_path / "run" / "split.csv"


def test_split_csv_has_paths_relative_to_its_folder(run):
    _, source, path = run
    with path.open(newline="") as file:
        written = list(csv.DictReader(file))
    assert {row["path"] for row in written} == {f"../photos/{name}" for name in source.splits["all"].names}
    assert all((path.parent / row["path"]).is_file() and row["label"] == row["path"].split("/")[2] for row in written)
    assert [row["part"] for row in written] == ["train"] * 12 + ["validation"] * 4 + ["test"] * 4
    assert len({row["sha256"] for row in written}) == 20 and {len(row["sha256"]) for row in written} == {16}


def test_a_run_directory_behind_a_symbolic_link(run, tmp_path):
    """Where ".." leads elsewhere than the text of the path says."""
    _, source, path = run
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link").symlink_to(path.parent, target_is_directory=True)
    linked = tmp_path / "elsewhere" / "link" / "split.csv"
    data.write_split(linked, source, *data.split(source, 0.2, 0, seed=1))
    assert len(data.load(str(linked), GRAY, strict=True).splits["train"]) == 16


def test_changed_images_are_described(run):
    photos, source, path = run
    assert data.describe_changes(path, source) == "the images and classes are the same, but not their order or splits"
    write_uniform(photos / "a" / "0.png", 200)
    (photos / "b" / "1.png").unlink()
    (photos / "a" / "2.png").rename(photos / "a" / "two.png")
    for number in range(4):
        write_uniform(photos / "b" / f"new{number}.png", 100 + number)
    described = data.describe_changes(path, data.load(str(photos), GRAY))
    assert described.split("; ") == [
        "5 images added (a/two.png, b/new0.png, b/new1.png and 2 more)",
        "2 images removed (a/2.png, b/1.png)",
        "1 image with other pixels (a/0.png)",
    ]


def test_an_image_with_another_class_in_a_list(tmp_path):
    for number in range(8):
        write_uniform(tmp_path / f"{number}.png", number)
    lines = [f"{number}.png,{'xy'[number % 2]}" for number in range(8)]
    listed = tmp_path / "list.csv"
    listed.write_text("\n".join(["path,label", *lines]))
    source = data.load(str(listed), GRAY)
    data.write_split(tmp_path / "split.csv", source, *data.split(source, 0.25, 0, seed=1))
    listed.write_text("\n".join(["path,label", "0.png,y", *lines[1:]]))
    changed = data.load(str(listed), GRAY)
    assert data.describe_changes(tmp_path / "split.csv", changed) == "1 image with another class (0.png)"
    by_hand = tmp_path / "by_hand.csv"  # that has no digests
    by_hand.write_text("\n".join(["path,label", *lines]))
    assert data.describe_changes(by_hand, data.load(str(listed), GRAY)) == "1 image with another class (0.png)"
