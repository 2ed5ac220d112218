"""Data sets of TFDS as sources, and the cache of what was decoded."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from training import data
from training.data import decoding
from zoo.errors import ZooError

MNIST = {"height": 28, "width": 28, "channels": 1, "resize": "pad"}


@pytest.mark.mnist
def test_mnist_equals_tfds_and_is_read_from_the_cache_the_second_time(monkeypatch, tmp_path):
    import tensorflow_datasets as tfds

    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    first = data.load("mnist", MNIST)
    assert first.class_names == tuple("0123456789")
    assert {split: len(samples) for split, samples in first.splits.items()} == {"train": 60_000, "test": 10_000}
    folder = sorted((Path(os.environ["TFDS_DATA_DIR"]) / "mnist").iterdir())[-1]
    for split in ("train", "test"):
        examples = tfds.builder_from_directory(folder).as_dataset(split=f"{split}[:20]", shuffle_files=False)
        for row, example in enumerate(examples.as_numpy_iterator()):
            np.testing.assert_array_equal(first.splits[split].images[row], example["image"])
            assert first.splits[split].labels[row] == example["label"]
    (cached,) = (tmp_path / "data").iterdir()
    written = cached.stat().st_mtime_ns
    monkeypatch.setattr(data.tfds, "_decode", None)  # a second decoding would fail
    second = data.load("mnist", MNIST)
    assert second.fingerprint() == first.fingerprint() and second.class_names == first.class_names
    assert cached.stat().st_mtime_ns == written


@pytest.mark.skipif(any(key.lower() == "https_proxy" for key in os.environ), reason="behind a proxy TFDS finds its own way")
def test_data_that_cannot_be_downloaded_fail_within_seconds(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(data.tfds, "HOST", "no-such-host.invalid")  # for a machine with a network
    start = time.monotonic()
    with pytest.raises(ZooError, match=r"mnist is not prepared in .*tfds build mnist.*TFDS_DATA_DIR"):
        data.load("mnist", MNIST)
    assert time.monotonic() - start < 30


def test_an_unknown_data_set_is_refused_with_a_suggestion(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(ZooError, match="no folder and no TFDS data set 'mnits'; did you mean 'mnist'"):
        data.load("mnits", MNIST)


@pytest.fixture
def without_labels(monkeypatch, tmp_path):
    """The pixels of a TFDS data set like ImageNet: color images of 10x14, and a test split without labels."""
    import tensorflow_datasets as tfds

    pixels = np.random.default_rng(0).integers(0, 256, (4, 10, 14, 3), "uint8")
    about = {"image": tfds.features.Image(shape=(None, None, 3)), "label": tfds.features.ClassLabel(names=["cat", "dog"])}
    labels = {"train": (0, 1, 1, 0), "test": (-1, -1, -1, -1)}
    tfds.dataset_builders.store_as_tfds_dataset(
        "without_labels",
        "1.0.0",
        features=tfds.features.FeaturesDict(about),
        split_datasets={
            split: [(row, {"image": pixels[row], "label": label}) for row, label in enumerate(given)]
            for split, given in labels.items()
        },
        data_dir=tmp_path / "tfds",
        disable_shuffling=True,
    )
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return pixels


def test_a_split_without_labels_is_skipped(without_labels):
    source = data.load("without_labels", {"height": 10, "width": 14, "channels": 3, "resize": "crop"})
    assert list(source.splits) == ["train"] and source.splits["train"].labels.tolist() == [0, 1, 1, 0]
    np.testing.assert_array_equal(source.splits["train"].images, without_labels)


def test_different_crops_are_cached_separately(without_labels):
    """In the cache, where the first must not stand for the second."""
    whole = {"height": 10, "width": 10, "channels": 3, "resize": "crop"}
    middle = {**whole, "height": 6, "width": 6, "crop_from": 10}
    small = {**middle, "crop_from": None}
    read = {}
    for name, image_spec in (("whole", whole), ("middle", middle), ("small", small), ("middle again", middle)):
        read[name] = data.load("without_labels", image_spec).splits["train"].images
    np.testing.assert_array_equal(read["whole"], without_labels[:, :, 2:12])
    for name in ("middle", "middle again"):
        np.testing.assert_array_equal(read[name], without_labels[:, 2:8, 4:10])
    assert not np.array_equal(read["small"], read["middle"])


WHOLE = {"height": 10, "width": 14, "channels": 3, "resize": "crop"}


@pytest.mark.parametrize("share", [0, 1])
def test_large_arrays_stay_in_the_files_of_the_cache(without_labels, monkeypatch, share):
    monkeypatch.setattr(decoding, "MEMORY_FRACTION", share)
    decoded, stored = (data.load("without_labels", WHOLE).splits["train"] for _ in range(2))
    for samples in (decoded, stored):
        assert isinstance(samples.images, np.memmap) == (share == 0)
        np.testing.assert_array_equal(samples.images, without_labels)
    np.testing.assert_array_equal(stored[np.array([3, 0])].images, without_labels[[3, 0]])


def test_an_incomplete_cache_is_written_again(without_labels, tmp_path):
    data.load("without_labels", WHOLE)
    (kept,) = (tmp_path / "cache" / "data").iterdir()
    assert {path.name for path in kept.iterdir()} == {"class_names.npy", "train_pictures.npy", "train_labels.npy"}
    (kept / "class_names.npy").unlink()  # written last
    (kept / "train_labels.npy").unlink()
    assert data.load("without_labels", WHOLE).splits["train"].labels.tolist() == [0, 1, 1, 0]
    assert len(list(kept.iterdir())) == 3


@pytest.mark.parametrize("share", [0, 1])
@pytest.mark.parametrize("left", [0, 20, 500])
def test_a_damaged_cache_is_refused_with_the_remedy(without_labels, tmp_path, monkeypatch, share, left):
    monkeypatch.setattr(decoding, "MEMORY_FRACTION", share)
    data.load("without_labels", WHOLE)
    (kept,) = (tmp_path / "cache" / "data").iterdir()
    os.truncate(kept / "train_pictures.npy", left)
    with pytest.raises(ZooError, match=rf"without_labels-.* is damaged .*remove it: rm -r '{kept}'"):
        data.load("without_labels", WHOLE)
