"""Samples and sources: names, digests, fingerprints, and labels that index the classes of a classifier."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from image_files import GRAY
from training import data
from training.data import Samples, Source
from zoo.errors import ZooError


def test_the_fingerprint_changes_with_pixels_labels_and_class_names_only(folder):
    place, pixels = folder
    source = data.load(str(place), GRAY)
    assert data.load(str(place), GRAY).fingerprint() == source.fingerprint()
    seen = {source.fingerprint()}
    path = place / "cat" / "0.png"
    changed = pixels["cat/0.png"][..., 0].copy()
    changed[2, 3] ^= 1
    Image.fromarray(changed).save(path)
    seen.add(data.load(str(place), GRAY).fingerprint())
    before = data.load(str(place), GRAY)
    samples = before.splits["all"]
    other = Samples(samples.images, samples.labels[::-1].copy())
    seen.add(Source(before.class_names, {"all": other}).fingerprint())
    (place / "cat").rename(place / "cow")
    seen.add(data.load(str(place), GRAY).fingerprint())
    assert len(seen) == 4


def test_labels_are_aligned_with_the_classes_of_a_classifier(folder):
    place, _ = folder
    source = data.load(str(place), GRAY).align_labels(["dog", "bird", "cat"])
    assert source.class_names == ("dog", "bird", "cat")
    assert source.splits["all"].labels.tolist() == [2, 2, 2, 0, 0, 0]
    with pytest.raises(ZooError, match="class 'cat' that the model lacks; did you mean 'cats'"):
        data.load(str(place), GRAY).align_labels(["dog", "cats"])


def test_names_and_digests_stay_with_their_images(damaged):
    place, _, _ = damaged
    source = data.load(str(place), GRAY)
    whole = source.splits["all"]
    assert source.root == place and whole.names.tolist() == [
        f"{name}/{row}.png" for name in ("cat", "dog") for row in range(3)
    ]
    for samples in (whole[[4, 1]], whole[::2], source.align_labels(["dog", "cat"]).splits["all"]):
        for name, image, digest in zip(samples.names, samples.images, samples.digests, strict=True):
            assert image.tobytes() == np.asarray(Image.open(place / name)).tobytes()
            assert digest.tobytes() == hashlib.sha256(image.tobytes()).digest()


def test_the_fingerprint_is_the_same_with_and_without_digests(folder):
    place, _ = folder
    source = data.load(str(place), GRAY)
    samples = source.splits["all"]
    other_form = Samples(np.asfortranarray(samples.images), samples.labels.astype(">i8"))
    assert Source(source.class_names, {"all": other_form}).fingerprint() == source.fingerprint()
