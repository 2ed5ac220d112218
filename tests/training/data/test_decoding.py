"""Images that do not fit in memory are memory-mapped, with the same results."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import zoo
from image_files import GRAY
from training import data, fit, recipe
from training.data import MemmapSubset, Samples, decoding
from training.engine import fused_steps
from zoo.errors import ZooError
from zoo.images import center_crop


@pytest.fixture
def photos(tmp_path):
    """Forty images of noise in two classes, and a text among them."""
    for number in range(40):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (6, 5), "uint8")).save(path)
    (tmp_path / "photos" / "a" / "text.png").write_text("I am a text")
    return str(tmp_path / "photos")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder that holds what memory does not: here all of it."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(decoding, "MEMORY_FRACTION", 0)
    return tmp_path / "cache"


def test_memory_mapped_images_equal_those_in_memory(photos, cache, monkeypatch):
    mapped = data.load(photos, GRAY)
    splits = data.split(mapped, 0.2, 0.3, seed=1)
    assert isinstance(mapped.splits["all"].images, np.memmap) and list(cache.iterdir()) == []  # the file has no name
    monkeypatch.setattr(decoding, "MEMORY_FRACTION", 1)
    plain = data.load(photos, GRAY)
    assert not isinstance(plain.splits["all"].images, np.memmap)
    assert mapped.fingerprint() == plain.fingerprint() and mapped.problems == plain.problems
    np.testing.assert_array_equal(mapped.splits["all"].images, plain.splits["all"].images)
    for lazy, read in zip(splits, data.split(plain, 0.2, 0.3, seed=1), strict=True):
        assert isinstance(lazy.images, MemmapSubset) and isinstance(read.images, np.ndarray)
        np.testing.assert_array_equal(lazy.images[:], read.images)
        np.testing.assert_array_equal(lazy.labels, read.labels)
        assert lazy.names.tolist() == read.names.tolist()


def test_a_memmap_subset_is_indexed_like_an_array(cache):
    store = decoding.allocate_images((30, 8, 7, 3))
    store[:] = np.random.default_rng(0).integers(0, 256, store.shape, "uint8")
    rows = np.random.default_rng(1).permutation(30)[:20]
    lazy, plain = Samples(store, np.arange(30))[rows].images, np.array(store)[rows]
    assert (lazy.shape, lazy.dtype, lazy.nbytes, len(lazy)) == (plain.shape, plain.dtype, plain.nbytes, len(plain))
    for key in (slice(3, 9), slice(None), 5, -1, np.int64(2), np.array([4, 4, 0]), np.arange(20) % 3 == 0):
        assert type(lazy[key]) is np.ndarray
        np.testing.assert_array_equal(lazy[key], plain[key])
    np.testing.assert_array_equal(np.stack(list(lazy)), plain)
    np.testing.assert_array_equal(lazy, plain)
    cut = center_crop(lazy, 4, 5)
    assert isinstance(cut, MemmapSubset) and cut.shape == (20, 4, 5, 3)
    np.testing.assert_array_equal(cut[2:7], center_crop(plain, 4, 5)[2:7])
    again = Samples(lazy, np.arange(20))[np.array([7, 1])].images
    assert isinstance(again, MemmapSubset)
    np.testing.assert_array_equal(again[:], plain[[7, 1]])


def test_selecting_rows_reads_nothing(cache):
    """A tebibyte of images that are not there: a hole in a file."""
    cache.mkdir()
    with (cache / "hole").open("wb") as file:
        file.truncate(2**40)
    images = np.memmap(cache / "hole", "uint8", "r", shape=(2**20, 1024, 1024, 1))
    samples = Samples(images, np.arange(2**20) % 7)
    few = samples[samples.labels == 3][np.arange(100)][::2]
    assert len(few) == 50 and few.images.nbytes == 50 * 2**20 and few.labels.tolist() == [3] * 50


def test_a_full_disk_is_reported_before_anything_is_written(cache):
    with pytest.raises(ZooError, match=r"take 1048576\.0 GiB, too much for the memory.*no room for them \(.* free"):
        decoding.allocate_images((2**20, 2**15, 2**15, 1))
    assert list(cache.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
def test_a_killed_process_leaves_nothing(cache):
    code = (
        "import os, signal\n"
        "from training.data import decoding\n"
        "decoding.MEMORY_FRACTION = 0\n"
        "decoding.allocate_images((100, 100, 100, 3))[:] = 7\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], env={**os.environ, "ZOO_CACHE": str(cache)}, timeout=120)
    assert killed.returncode == -signal.SIGKILL and list(cache.iterdir()) == []


def test_a_run_on_memory_mapped_images_equals_one_in_memory(photos, cache, tmp_path, monkeypatch):
    """Also where they are never copied into the backend's memory."""
    monkeypatch.setattr(fused_steps, "RESIDENT_BYTES", 0)
    changes = {"data.name": photos, "data.validation": 0.2, "data.test": 0.2, "epochs": 1, "batch_size": 5}
    checked = recipe.load("perceptron-mnist", **changes)
    errors, weights = [], []
    for share in (0, 1):
        monkeypatch.setattr(decoding, "MEMORY_FRACTION", share)
        out = tmp_path / f"run{share}"
        errors.append(fit(checked, out, console=Console(quiet=True))["error_by_class"])
        weights.append(zoo.load(str(out / "best.keras")).get_weights())
    assert errors[0] == errors[1]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)
