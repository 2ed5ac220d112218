import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training import data
from training.data import Samples, Source
from zoo.errors import ZooError

GREY = {"height": 6, "width": 5, "channels": 1, "resize": "pad"}


def write(path, seed):
    """Write a picture of noise of its own and return its pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 5), "uint8")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels[..., None]


@pytest.fixture
def folder(tmp_path):
    """Two classes of three pictures each, with the pixels by path."""
    pixels = {}
    for number, path in enumerate([f"{name}/{index}.png" for name in ("cat", "dog") for index in range(3)]):
        pixels[path] = write(tmp_path / path, number)
    return tmp_path, pixels


def test_a_folder_of_classes(folder):
    place, pixels = folder
    source = data.load(str(place), GREY)
    assert source.class_names == ("cat", "dog") and list(source.parts) == ["all"] and source.problems == []
    samples = source.parts["all"]
    assert samples.pictures.dtype == np.uint8 and samples.pictures.shape == (6, 6, 5, 1)
    assert samples.labels.dtype == np.int32 and samples.labels.tolist() == [0, 0, 0, 1, 1, 1]
    for row, path in enumerate(pixels):
        np.testing.assert_array_equal(samples.pictures[row], pixels[path])


def test_other_files_hidden_folders_and_folders_below_a_class(folder):
    place, _ = folder
    (place / "cat" / "notes.txt").write_text("not a picture, and not named like one")
    write(place / ".thumbnails" / "0.png", 7)
    deeper = write(place / "cat" / "more" / "0.png", 8)
    source = data.load(str(place), GREY)
    assert source.class_names == ("cat", "dog")
    (problem,) = source.problems  # named, not passed over
    assert "notes.txt is not a picture" in problem
    assert source.parts["all"].labels.tolist() == [0] * 4 + [1] * 3
    assert any(np.array_equal(deeper, picture) for picture in source.parts["all"].pictures[:4])


def test_a_part_without_a_readable_picture_is_refused_and_named(tmp_path):
    for part in ("train", "test"):
        for name in ("a", "b"):
            write(tmp_path / part / name / "0.png", 0)
    (tmp_path / "validation").mkdir()
    with pytest.raises(ZooError, match=r"no picture in .*validation can be read"):
        data.load(str(tmp_path), GREY)


def test_a_folder_with_parts(tmp_path):
    for number, part in enumerate(("train", "validation", "test")):
        for name in ("a", "b") if part == "train" else ("b",):
            write(tmp_path / part / name / "0.png", number)
    source = data.load(str(tmp_path), GREY)
    assert source.class_names == ("a", "b")
    assert {part: samples.labels.tolist() for part, samples in source.parts.items()} == {
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
    with pytest.raises(ZooError, match="no folder train"):
        data.load(str(tmp_path), GREY)


def test_an_empty_folder_is_refused_with_what_was_expected(tmp_path):
    with pytest.raises(ZooError, match=r"no pictures in class folders; expected .*/CLASS/PICTURE\.png"):
        data.load(str(tmp_path), GREY)
    write(tmp_path / "0.png", 0)  # beside the class folders, not in one
    (tmp_path / "cat").mkdir()
    with pytest.raises(ZooError, match="no pictures in class folders"):
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
    """A text named .png and a JPEG cut in the middle among six good pictures."""
    place, _ = folder
    text, cut = place / "cat" / "text.png", place / "dog" / "cut.jpg"
    text.write_text("I am a text")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), "uint8")).save(cut)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    return place, text, cut


def test_unreadable_files_are_left_out_and_named(damaged):
    place, text, cut = damaged
    source = data.load(str(place), GREY)
    assert source.parts["all"].labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert len(source.problems) == 2
    assert any(str(text) in problem and "not a picture" in problem for problem in source.problems)
    assert any(str(cut) in problem and "damaged" in problem for problem in source.problems)


def test_strict_refuses_unreadable_files(damaged):
    place, text, cut = damaged
    with pytest.raises(ZooError, match=r"text\.png"):
        data.load(str(place), GREY, strict=True)
    text.unlink()
    with pytest.raises(ZooError, match=r"cut\.jpg"):
        data.load(str(place), GREY, strict=True)
    cut.unlink()
    assert len(data.load(str(place), GREY, strict=True).parts["all"]) == 6


def test_a_folder_in_which_nothing_can_be_read_is_refused_with_the_first_reason(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "text.png").write_text("I am a text")
    with pytest.raises(ZooError, match=r"no picture in .* can be read; the first: .*text\.png"):
        data.load(str(tmp_path), GREY)


def test_a_training_part_in_which_nothing_can_be_read_is_refused(tmp_path):
    write(tmp_path / "validation" / "cat" / "0.png", 0)
    (tmp_path / "train" / "cat").mkdir(parents=True)
    (tmp_path / "train" / "cat" / "text.png").write_text("I am a text")
    with pytest.raises(ZooError, match=r"train.*text\.png"):
        data.load(str(tmp_path), GREY)


def test_pictures_take_the_size_and_colours_that_are_asked_for(folder):
    place, _ = folder
    colour = data.load(str(place), {"height": 9, "width": 7, "channels": 3, "resize": "stretch"})
    assert colour.parts["all"].pictures.shape == (6, 9, 7, 3)


def numbered(counts):
    """A source whose pictures carry their own number: counts[i] of class i, shuffled."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts)).astype("int32")
    pictures = np.arange(len(labels), dtype="uint8").reshape(-1, 1, 1, 1)
    return Source(tuple(f"class{i}" for i in range(len(counts))), {"all": Samples(pictures, labels)})


def rows(samples):
    return samples.pictures.ravel().tolist()


@pytest.mark.parametrize(("validation", "test"), [(0.2, 0.2), (30, 0.25), (0.1, 25), (12, 12)])
def test_a_split_is_disjoint_complete_and_in_proportion(validation, test):
    source = numbered([90, 40, 70])
    parts = data.split(source, validation, test, seed=3)
    assert sorted(row for samples in parts for row in rows(samples)) == list(range(200))
    wanted_test = 200 * test if test < 1 else test
    wanted_validation = (200 - wanted_test) * validation if validation < 1 else validation
    assert abs(len(parts[2]) - wanted_test) <= 1 and abs(len(parts[1]) - wanted_validation) <= 1
    for samples in parts:
        for index, share in enumerate((90 / 200, 40 / 200, 70 / 200)):
            assert abs((samples.labels == index).sum() - share * len(samples)) <= 1.5
        np.testing.assert_array_equal(samples.labels, source.parts["all"].labels[rows(samples)])


def test_a_split_follows_from_its_seed():
    source = numbered([40, 60])
    first, again, other = (list(map(rows, data.split(source, 0.2, 0.2, seed))) for seed in (1, 1, 2))
    assert first == again
    assert all(one != two for one, two in zip(first, other, strict=True))


def test_without_a_test_part_there_is_none():
    train, validation, test = data.split(numbered([10, 10]), 0.2, 0, seed=1)
    assert test is None and len(train) + len(validation) == 20


def test_the_parts_of_a_source_are_kept_and_only_what_it_lacks_is_carved():
    whole, test = numbered([40, 60]).parts["all"], numbered([3, 4]).parts["all"]
    train, validation, kept = data.split(Source(("a", "b"), {"train": whole, "test": test}), 0.1, 0.5, seed=1)
    assert kept is test and len(validation) == 10 and len(train) == 90


@pytest.mark.parametrize("rarest", range(1, 12))
def test_every_class_is_in_every_part_or_the_split_is_refused(rarest):
    source = numbered([60, 50, rarest])
    try:
        parts = data.split(source, 0.15, 0.15, seed=1)
    except ZooError as error:
        assert "class2" in str(error)
        assert rarest < 8
    else:
        assert all(set(samples.labels.tolist()) == {0, 1, 2} for samples in parts)
        assert rarest > 2


def test_too_many_asked_for_is_refused():
    with pytest.raises(ZooError, match="no validation part of 20 can be taken from 20 pictures"):
        data.split(numbered([10, 10]), 20, 0, seed=1)


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
    samples = before.parts["all"]
    other = Samples(samples.pictures, samples.labels[::-1].copy())
    seen.add(Source(before.class_names, {"all": other}).fingerprint())
    (place / "cat").rename(place / "cow")
    seen.add(data.load(str(place), GREY).fingerprint())
    assert len(seen) == 4


def test_labels_follow_the_order_of_a_classifiers_classes(folder):
    place, _ = folder
    source = data.load(str(place), GREY).in_order(["dog", "bird", "cat"])
    assert source.class_names == ("dog", "bird", "cat")
    assert source.parts["all"].labels.tolist() == [2, 2, 2, 0, 0, 0]
    with pytest.raises(ZooError, match="class 'cat' that the model lacks; did you mean 'cats'"):
        data.load(str(place), GREY).in_order(["dog", "cats"])


MNIST = {"height": 28, "width": 28, "channels": 1, "resize": "pad"}


@pytest.mark.mnist
def test_mnist_is_decoded_as_tfds_does_and_comes_from_the_cache_the_second_time(monkeypatch, tmp_path):
    import tensorflow_datasets as tfds

    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    first = data.load("mnist", MNIST)
    assert first.class_names == tuple("0123456789")
    assert {part: len(samples) for part, samples in first.parts.items()} == {"train": 60_000, "test": 10_000}
    folder = sorted((Path(os.environ["TFDS_DATA_DIR"]) / "mnist").iterdir())[-1]
    for part in ("train", "test"):
        examples = tfds.builder_from_directory(folder).as_dataset(split=f"{part}[:20]", shuffle_files=False)
        for row, example in enumerate(examples.as_numpy_iterator()):
            np.testing.assert_array_equal(first.parts[part].pictures[row], example["image"])
            assert first.parts[part].labels[row] == example["label"]
    (cached,) = (tmp_path / "data").iterdir()
    written = cached.stat().st_mtime_ns
    monkeypatch.setattr(data, "_decode", None)  # a second decoding would fail
    second = data.load("mnist", MNIST)
    assert second.fingerprint() == first.fingerprint() and second.class_names == first.class_names
    assert cached.stat().st_mtime_ns == written


@pytest.mark.skipif(any(key.lower() == "https_proxy" for key in os.environ), reason="behind a proxy TFDS finds its own way")
def test_data_that_are_not_prepared_and_cannot_be_fetched_are_an_error_in_seconds(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(data, "TFDS_HOST", "no-such-host.invalid")  # for a machine with a network
    start = time.monotonic()
    with pytest.raises(ZooError, match=r"mnist is not prepared in .*tfds build mnist.*TFDS_DATA_DIR"):
        data.load("mnist", MNIST)
    assert time.monotonic() - start < 30


def test_a_wrong_data_set_name_suggests(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(ZooError, match="no folder and no TFDS data set 'mnits'; did you mean 'mnist'"):
        data.load("mnits", MNIST)


@pytest.fixture
def without_answers(monkeypatch, tmp_path):
    """A TFDS data set as ImageNet is: colour pictures of 10x14, and a test part whose labels are not told. Its pixels."""
    import tensorflow_datasets as tfds

    pixels = np.random.default_rng(0).integers(0, 256, (4, 10, 14, 3), "uint8")
    about = {"image": tfds.features.Image(shape=(None, None, 3)), "label": tfds.features.ClassLabel(names=["cat", "dog"])}
    labels = {"train": (0, 1, 1, 0), "test": (-1, -1, -1, -1)}
    tfds.dataset_builders.store_as_tfds_dataset(
        "without_answers",
        "1.0.0",
        features=tfds.features.FeaturesDict(about),
        split_datasets={
            part: [(row, {"image": pixels[row], "label": label}) for row, label in enumerate(given)]
            for part, given in labels.items()
        },
        data_dir=tmp_path / "tfds",
        disable_shuffling=True,
    )
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return pixels


def test_a_part_without_answers_is_no_part(without_answers):
    source = data.load("without_answers", {"height": 10, "width": 14, "channels": 3, "resize": "crop"})
    assert list(source.parts) == ["train"] and source.parts["train"].labels.tolist() == [0, 1, 1, 0]
    np.testing.assert_array_equal(source.parts["train"].pictures, without_answers)


def test_the_middle_and_what_it_is_cut_out_of_are_kept_apart(without_answers):
    """In the cache, where the first must not stand for the second."""
    whole = {"height": 10, "width": 10, "channels": 3, "resize": "crop"}
    middle = {**whole, "height": 6, "width": 6, "crop_from": 10}
    small = {**middle, "crop_from": None}
    read = {}
    for name, picture in (("whole", whole), ("middle", middle), ("small", small), ("middle again", middle)):
        read[name] = data.load("without_answers", picture).parts["train"].pictures
    np.testing.assert_array_equal(read["whole"], without_answers[:, :, 2:12])
    for name in ("middle", "middle again"):
        np.testing.assert_array_equal(read[name], without_answers[:, 2:8, 4:10])
    assert not np.array_equal(read["small"], read["middle"])
