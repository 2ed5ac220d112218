"""The training figures of the Mark I: always the same, with shapes that the tests check."""

import numpy as np
import pytest
from scipy import ndimage

from training.data import synthetic
from zoo.errors import ZooError

RETINA = {"height": 20, "width": 20, "channels": 1, "resize": "pad"}
CLASSES = {"letters": tuple("ABCDEFGH"), "square-circle": ("square", "circle"), "ef": ("E", "F")}


@pytest.fixture(scope="module", params=CLASSES)
def named(request):
    return request.param, synthetic.load(f"drawn:{request.param}", RETINA)


def rows(samples):
    return {image.tobytes() for image in samples.images}


def test_source(named):
    name, source = named
    assert source.class_names == CLASSES[name]
    for samples in source.splits.values():
        assert samples.images.dtype == np.uint8 and samples.images.shape == (len(samples), 20, 20, 1)
        assert samples.labels.dtype == np.int32
        counts = np.bincount(samples.labels, minlength=len(source.class_names))
        assert counts.min() == counts.max() > 0
        assert (samples.images.max(axis=(1, 2, 3)) > 127).all()  # a photocell sees something of each
        assert (samples.images == 0).mean() > 0.5  # white on black


def test_the_same_every_time(named):
    name, source = named
    assert synthetic.load(f"drawn:{name}", RETINA).fingerprint() == source.fingerprint()


@pytest.mark.parametrize("name", CLASSES)
def test_another_size_is_refused(name):
    with pytest.raises(ZooError, match="images of 20x20x1; requested 28x28x1"):
        synthetic.load(f"drawn:{name}", {**RETINA, "height": 28, "width": 28})


def parts_of(name):
    return synthetic.load(f"drawn:{name}", RETINA).splits


def test_test_letters_are_not_training_letters():
    splits = parts_of("letters")
    sizes = {split: len(samples) for split, samples in splits.items()}
    assert sizes == {"train": 3200, "validation": 400, "test": 800}
    assert len(rows(splits["train"]) | rows(splits["validation"]) | rows(splits["test"])) == sum(sizes.values())


def test_each_letter_has_25_positions():
    """Five by five, each a pixel from the next; all but the place is the same."""
    samples = parts_of("letters")["test"]
    boxes = {}
    for image, label in zip(samples.images[..., 0], samples.labels, strict=True):
        down, right = (int(np.flatnonzero(image.any(axis=axis))[0]) for axis in (1, 0))
        assert image[[0, -1]].any() + image[:, [0, -1]].any() <= 2
        boxes.setdefault((label, np.trim_zeros(image).tobytes()), set()).add((down, right))
    assert len(boxes) == 8 * 4
    for places in boxes.values():
        least = min(places)
        assert {(down - least[0], right - least[1]) for down, right in places} == {
            (i, j) for i in range(5) for j in range(5)
        }


def test_letters_have_the_holes_of_their_class():
    """A and D have one, B has two, the others none; thin strokes of few fonts may leak."""
    expected = {"A": 1, "B": 2, "D": 1}
    for samples in parts_of("letters").values():
        right = []
        for image, label in zip(samples.images[::25, ..., 0], samples.labels[::25], strict=True):
            holes = ndimage.label(np.pad(image < 30, 1, constant_values=True))[1] - 1
            right.append(holes == expected.get("ABCDEFGH"[label], 0))
        assert np.mean(right) > 0.9


def test_squares_and_circles():
    """A square fills its box; a circle fills π/4 of it. Both are 12 to 14 pixels wide, in pixels that are on or off."""
    for samples in parts_of("square-circle").values():
        on = samples.images[..., 0] > 0
        assert set(np.unique(samples.images)) == {0, 255}
        height, width = on.any(axis=2).sum(axis=1), on.any(axis=1).sum(axis=1)
        assert set(np.unique([height, width])) <= {11, 12, 13, 14} and np.abs(height - width).max() <= 1
        filled = on.sum(axis=(1, 2)) / (height * width)
        assert (filled[samples.labels == 0] == 1).all()
        assert np.abs(filled[samples.labels == 1] - np.pi / 4).max() < 0.15
        # Anywhere on the retina, and wholly on it.
        for axis in (1, 2):
            first = on.any(axis=3 - axis).argmax(axis=1)
            assert set(np.unique(first)) >= {0, 1, 2, 3, 4, 5, 6, 7}


def test_e_and_f_are_tested_at_other_positions():
    splits = parts_of("ef")
    assert {split: len(samples) for split, samples in splits.items()} == {"train": 60, "test": 94}
    assert not rows(splits["train"]) & rows(splits["test"])
    for samples in splits.values():
        e, f = (samples.images[samples.labels == label, ..., 0] > 0 for label in (0, 1))
        assert (e.sum(axis=(1, 2)) == 72).all()
        # An E without the rest of its lowest bar is the F at the same place.
        assert (f <= e).all() and ((e & ~f).sum(axis=(1, 2)) == 16).all()
