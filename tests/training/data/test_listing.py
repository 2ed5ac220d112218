"""Decoding of listed images: skipped and refused files, image sizes."""

import pytest

from image_files import GRAY, write_noise
from training import data
from zoo.errors import ZooError


def test_a_split_without_images_is_refused_and_named(tmp_path):
    for split in ("train", "test"):
        for name in ("a", "b"):
            write_noise(tmp_path / split / name / "0.png", 0)
    (tmp_path / "validation").mkdir()
    with pytest.raises(ZooError, match=r"no image in .*split validation, can be read: it is empty"):
        data.load(str(tmp_path), GRAY)


def test_unreadable_files_are_skipped_and_named(damaged):
    place, text, cut = damaged
    source = data.load(str(place), GRAY)
    assert source.splits["all"].labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert len(source.problems) == 2
    assert any(str(text) in problem and "not an image" in problem for problem in source.problems)
    assert any(str(cut) in problem and "damaged" in problem for problem in source.problems)


def test_strict_refuses_unreadable_files(damaged):
    place, text, cut = damaged
    with pytest.raises(ZooError) as both:
        data.load(str(place), GRAY, strict=True)
    assert sorted(line.split(" ")[0] for line in str(both.value).split("\n")) == sorted([str(text), str(cut)])
    text.unlink()
    with pytest.raises(ZooError, match=r"cut\.jpg"):
        data.load(str(place), GRAY, strict=True)
    cut.unlink()
    assert len(data.load(str(place), GRAY, strict=True).splits["all"]) == 6


def test_a_folder_without_a_readable_image_is_refused_with_the_first_reason(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "text.png").write_text("I am a text")
    with pytest.raises(ZooError, match=r"no image in .* can be read: .*text\.png"):
        data.load(str(tmp_path), GRAY)


def test_a_training_split_without_a_readable_image_is_refused(tmp_path):
    write_noise(tmp_path / "validation" / "cat" / "0.png", 0)
    (tmp_path / "train" / "cat").mkdir(parents=True)
    (tmp_path / "train" / "cat" / "text.png").write_text("I am a text")
    with pytest.raises(ZooError, match=r"train.*text\.png"):
        data.load(str(tmp_path), GRAY)


def test_images_have_the_requested_size_and_channels(folder):
    place, _ = folder
    color = data.load(str(place), {"height": 9, "width": 7, "channels": 3, "resize": "stretch"})
    assert color.splits["all"].images.shape == (6, 9, 7, 3)
