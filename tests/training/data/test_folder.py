"""Folders with one subfolder per class, optionally inside split folders."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from image_files import GRAY, write_noise
from training import data
from zoo.errors import ZooError


def test_a_folder_of_classes(folder):
    place, pixels = folder
    source = data.load(str(place), GRAY)
    assert source.class_names == ("cat", "dog") and list(source.splits) == ["all"] and source.problems == []
    samples = source.splits["all"]
    assert samples.images.dtype == np.uint8 and samples.images.shape == (6, 6, 5, 1)
    assert samples.labels.dtype == np.int32 and samples.labels.tolist() == [0, 0, 0, 1, 1, 1]
    for row, path in enumerate(pixels):
        np.testing.assert_array_equal(samples.images[row], pixels[path])


def test_other_files_hidden_folders_and_folders_below_a_class(folder):
    place, _ = folder
    (place / "cat" / "notes.txt").write_text("not an image, and not named like one")
    write_noise(place / ".thumbnails" / "0.png", 7)
    deeper = write_noise(place / "cat" / "more" / "0.png", 8)
    source = data.load(str(place), GRAY)
    assert source.class_names == ("cat", "dog")
    (problem,) = source.problems  # named, not passed over
    assert "notes.txt is not an image" in problem
    assert source.splits["all"].labels.tolist() == [0] * 4 + [1] * 3
    assert any(np.array_equal(deeper, image) for image in source.splits["all"].images[:4])


def test_a_folder_with_splits(tmp_path):
    for number, split in enumerate(("train", "validation", "test")):
        for name in ("a", "b") if split == "train" else ("b",):
            write_noise(tmp_path / split / name / "0.png", number)
    source = data.load(str(tmp_path), GRAY)
    assert source.class_names == ("a", "b")
    assert {split: samples.labels.tolist() for split, samples in source.splits.items()} == {
        "train": [0, 1],
        "validation": [1],
        "test": [1],
    }
    train, validation, test = data.split(source, 0.5, 0.5, 1)  # what is there of its own is not carved
    assert (len(train), len(validation), len(test)) == (2, 1, 1)


def test_splits_beside_other_folders_or_without_training_images_are_refused(tmp_path):
    write_noise(tmp_path / "train" / "a" / "0.png", 0)
    write_noise(tmp_path / "tset" / "a" / "0.png", 0)
    with pytest.raises(ZooError, match="tset"):
        data.load(str(tmp_path), GRAY)
    shutil.rmtree(tmp_path / "tset")
    (tmp_path / "train").rename(tmp_path / "test")
    with pytest.raises(ZooError, match="no split train"):
        data.load(str(tmp_path), GRAY)


def test_an_empty_folder_is_refused_with_the_expected_layout(tmp_path):
    with pytest.raises(ZooError, match=r"no images in class folders; expected .*/CLASS/IMAGE\.png"):
        data.load(str(tmp_path), GRAY)
    write_noise(tmp_path / "0.png", 0)  # beside the class folders, not in one
    (tmp_path / "cat").mkdir()
    with pytest.raises(ZooError, match="no images in class folders"):
        data.load(str(tmp_path), GRAY)
    with pytest.raises(ZooError, match="no folder"):
        data.load(str(tmp_path / "missing"), GRAY)


def test_one_class_can_be_read(folder):
    """Enough to evaluate a classifier; training refuses it."""
    place, _ = folder
    shutil.rmtree(place / "dog")
    assert data.load(str(place), GRAY).class_names == ("cat",)


def test_other_names_of_splits(tmp_path):
    for number, (folder, split) in enumerate({"Train": "train", "valid": "validation", "test": "test"}.items()):
        pixels = write_noise(tmp_path / folder / "a" / "0.png", number)
        source = data.load(str(tmp_path), GRAY)
        np.testing.assert_array_equal(source.splits[split].images, pixels[None])
        assert source.splits[split].names.tolist() == [f"{folder}/a/0.png"]
    write_noise(tmp_path / "val" / "a" / "0.png", 9)
    with pytest.raises(ZooError, match="two folders for one split: val and valid; remove one"):
        data.load(str(tmp_path), GRAY)


def test_a_folder_without_read_permission_is_refused(open_folder):
    """By the system, for one without the rights of root; the command says its words."""
    for path in ("cat/0.png", "dog/0.png", "dog/more/0.png"):
        write_noise(open_folder / path, 0)
    (open_folder / "dog" / "more").chmod(0)
    code = (
        "import os\n"
        "from training import data\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setegid(65534); os.seteuid(65534)\n"
        f"data.load({str(open_folder)!r}, {GRAY!r})"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "PermissionError" in child.stderr and str(open_folder / "dog" / "more") in child.stderr
