import hashlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from training import data
from training.data import Samples, Source
from zoo.errors import ZooError

GREY = {"height": 6, "width": 5, "channels": 1, "resize": "pad"}


def write(path, seed):
    """Write an image of noise of its own and return its pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 5), "uint8")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels[..., None]


@pytest.fixture
def folder(tmp_path):
    """Two classes of three images each, with the pixels by path."""
    pixels = {}
    for number, path in enumerate([f"{name}/{index}.png" for name in ("cat", "dog") for index in range(3)]):
        pixels[path] = write(tmp_path / path, number)
    return tmp_path, pixels


def test_a_folder_of_classes(folder):
    place, pixels = folder
    source = data.load(str(place), GREY)
    assert source.class_names == ("cat", "dog") and list(source.splits) == ["all"] and source.problems == []
    samples = source.splits["all"]
    assert samples.images.dtype == np.uint8 and samples.images.shape == (6, 6, 5, 1)
    assert samples.labels.dtype == np.int32 and samples.labels.tolist() == [0, 0, 0, 1, 1, 1]
    for row, path in enumerate(pixels):
        np.testing.assert_array_equal(samples.images[row], pixels[path])


def test_other_files_hidden_folders_and_folders_below_a_class(folder):
    place, _ = folder
    (place / "cat" / "notes.txt").write_text("not an image, and not named like one")
    write(place / ".thumbnails" / "0.png", 7)
    deeper = write(place / "cat" / "more" / "0.png", 8)
    source = data.load(str(place), GREY)
    assert source.class_names == ("cat", "dog")
    (problem,) = source.problems  # named, not passed over
    assert "notes.txt is not a picture" in problem
    assert source.splits["all"].labels.tolist() == [0] * 4 + [1] * 3
    assert any(np.array_equal(deeper, image) for image in source.splits["all"].images[:4])


def test_a_part_without_a_readable_image_is_refused_and_named(tmp_path):
    for split in ("train", "test"):
        for name in ("a", "b"):
            write(tmp_path / split / name / "0.png", 0)
    (tmp_path / "validation").mkdir()
    with pytest.raises(ZooError, match=r"no image in .*split validation, can be read: it is empty"):
        data.load(str(tmp_path), GREY)


def test_a_folder_with_parts(tmp_path):
    for number, split in enumerate(("train", "validation", "test")):
        for name in ("a", "b") if split == "train" else ("b",):
            write(tmp_path / split / name / "0.png", number)
    source = data.load(str(tmp_path), GREY)
    assert source.class_names == ("a", "b")
    assert {split: samples.labels.tolist() for split, samples in source.splits.items()} == {
        "train": [0, 1],
        "validation": [1],
        "test": [1],
    }
    train, validation, test = data.split(source, 0.5, 0.5, 1)  # what is there of its own is not carved
    assert (len(train), len(validation), len(test)) == (2, 1, 1)


def test_parts_beside_other_folders_or_without_a_training_part_are_refused(tmp_path):
    write(tmp_path / "train" / "a" / "0.png", 0)
    write(tmp_path / "tset" / "a" / "0.png", 0)
    with pytest.raises(ZooError, match="tset"):
        data.load(str(tmp_path), GREY)
    shutil.rmtree(tmp_path / "tset")
    (tmp_path / "train").rename(tmp_path / "test")
    with pytest.raises(ZooError, match="no split train"):
        data.load(str(tmp_path), GREY)


def test_an_empty_folder_is_refused_with_what_was_expected(tmp_path):
    with pytest.raises(ZooError, match=r"no images in class folders; expected .*/CLASS/IMAGE\.png"):
        data.load(str(tmp_path), GREY)
    write(tmp_path / "0.png", 0)  # beside the class folders, not in one
    (tmp_path / "cat").mkdir()
    with pytest.raises(ZooError, match="no images in class folders"):
        data.load(str(tmp_path), GREY)
    with pytest.raises(ZooError, match="no folder"):
        data.load(str(tmp_path / "missing"), GREY)


def test_one_class_can_be_read(folder):
    """It can be evaluated on; that it cannot be learned is for training to say."""
    place, _ = folder
    shutil.rmtree(place / "dog")
    assert data.load(str(place), GREY).class_names == ("cat",)


@pytest.fixture
def damaged(folder):
    """A text named .png and a JPEG cut in the middle among six good images."""
    place, _ = folder
    text, cut = place / "cat" / "text.png", place / "dog" / "cut.jpg"
    text.write_text("I am a text")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), "uint8")).save(cut)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    return place, text, cut


def test_unreadable_files_are_left_out_and_named(damaged):
    place, text, cut = damaged
    source = data.load(str(place), GREY)
    assert source.splits["all"].labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert len(source.problems) == 2
    assert any(str(text) in problem and "not a picture" in problem for problem in source.problems)
    assert any(str(cut) in problem and "damaged" in problem for problem in source.problems)


def test_strict_refuses_unreadable_files(damaged):
    place, text, cut = damaged
    with pytest.raises(ZooError) as both:
        data.load(str(place), GREY, strict=True)
    assert sorted(line.split(" ")[0] for line in str(both.value).split("\n")) == sorted([str(text), str(cut)])
    text.unlink()
    with pytest.raises(ZooError, match=r"cut\.jpg"):
        data.load(str(place), GREY, strict=True)
    cut.unlink()
    assert len(data.load(str(place), GREY, strict=True).splits["all"]) == 6


def test_a_folder_in_which_nothing_can_be_read_is_refused_with_the_first_reason(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "text.png").write_text("I am a text")
    with pytest.raises(ZooError, match=r"no image in .* can be read: .*text\.png"):
        data.load(str(tmp_path), GREY)


def test_a_training_part_in_which_nothing_can_be_read_is_refused(tmp_path):
    write(tmp_path / "validation" / "cat" / "0.png", 0)
    (tmp_path / "train" / "cat").mkdir(parents=True)
    (tmp_path / "train" / "cat" / "text.png").write_text("I am a text")
    with pytest.raises(ZooError, match=r"train.*text\.png"):
        data.load(str(tmp_path), GREY)


def test_images_take_the_size_and_colours_that_are_asked_for(folder):
    place, _ = folder
    colour = data.load(str(place), {"height": 9, "width": 7, "channels": 3, "resize": "stretch"})
    assert colour.splits["all"].images.shape == (6, 9, 7, 3)


def test_a_fingerprint_changes_with_a_pixel_a_label_a_name_and_nothing_else(folder):
    place, pixels = folder
    source = data.load(str(place), GREY)
    assert data.load(str(place), GREY).fingerprint() == source.fingerprint()
    seen = {source.fingerprint()}
    path = place / "cat" / "0.png"
    changed = pixels["cat/0.png"][..., 0].copy()
    changed[2, 3] ^= 1
    Image.fromarray(changed).save(path)
    seen.add(data.load(str(place), GREY).fingerprint())
    before = data.load(str(place), GREY)
    samples = before.splits["all"]
    other = Samples(samples.images, samples.labels[::-1].copy())
    seen.add(Source(before.class_names, {"all": other}).fingerprint())
    (place / "cat").rename(place / "cow")
    seen.add(data.load(str(place), GREY).fingerprint())
    assert len(seen) == 4


def test_labels_follow_the_order_of_a_classifiers_classes(folder):
    place, _ = folder
    source = data.load(str(place), GREY).align_labels(["dog", "bird", "cat"])
    assert source.class_names == ("dog", "bird", "cat")
    assert source.splits["all"].labels.tolist() == [2, 2, 2, 0, 0, 0]
    with pytest.raises(ZooError, match="class 'cat' that the model lacks; did you mean 'cats'"):
        data.load(str(place), GREY).align_labels(["dog", "cats"])


def test_parts_as_people_call_them(tmp_path):
    for number, (folder, split) in enumerate({"Train": "train", "valid": "validation", "test": "test"}.items()):
        pixels = write(tmp_path / folder / "a" / "0.png", number)
        source = data.load(str(tmp_path), GREY)
        np.testing.assert_array_equal(source.splits[split].images, pixels[None])
        assert source.splits[split].names.tolist() == [f"{folder}/a/0.png"]
    write(tmp_path / "val" / "a" / "0.png", 9)
    with pytest.raises(ZooError, match="two folders for one split: val and valid; remove one"):
        data.load(str(tmp_path), GREY)


def test_names_are_paths_below_the_folder_and_stay_with_their_images(damaged):
    place, _, _ = damaged
    source = data.load(str(place), GREY)
    whole = source.splits["all"]
    assert source.root == place and whole.names.tolist() == [
        f"{name}/{row}.png" for name in ("cat", "dog") for row in range(3)
    ]
    for samples in (whole[[4, 1]], whole[::2], source.align_labels(["dog", "cat"]).splits["all"]):
        for name, image, digest in zip(samples.names, samples.images, samples.digests, strict=True):
            assert image.tobytes() == np.asarray(Image.open(place / name)).tobytes()
            assert digest.tobytes() == hashlib.sha256(image.tobytes()).digest()


def test_a_fingerprint_is_the_same_whether_the_digests_are_known_or_not(folder):
    place, _ = folder
    source = data.load(str(place), GREY)
    samples = source.splits["all"]
    other_form = Samples(np.asfortranarray(samples.images), samples.labels.astype(">i8"))
    assert Source(source.class_names, {"all": other_form}).fingerprint() == source.fingerprint()


def test_a_folder_that_may_not_be_read_is_refused_and_not_passed_over(open_folder):
    """By the system, for one without the rights of root; the command says its words."""
    for path in ("cat/0.png", "dog/0.png", "dog/more/0.png"):
        write(open_folder / path, 0)
    (open_folder / "dog" / "more").chmod(0)
    code = (
        "import os\n"
        "from training import data\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setegid(65534); os.seteuid(65534)\n"
        f"data.load({str(open_folder)!r}, {GREY!r})"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "PermissionError" in child.stderr and str(open_folder / "dog" / "more") in child.stderr
