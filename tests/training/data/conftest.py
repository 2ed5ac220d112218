"""Folders of images with one subfolder per class."""

import numpy as np
import pytest
from PIL import Image

from image_files import write_noise


@pytest.fixture
def folder(tmp_path):
    """Two classes of three images each, with the pixels by path."""
    paths = [f"{name}/{index}.png" for name in ("cat", "dog") for index in range(3)]
    return tmp_path, {path: write_noise(tmp_path / path, number) for number, path in enumerate(paths)}


@pytest.fixture
def damaged(folder):
    """A text named .png and a JPEG cut in the middle among six good images."""
    place, _ = folder
    text, cut = place / "cat" / "text.png", place / "dog" / "cut.jpg"
    text.write_text("I am a text")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), "uint8")).save(cut)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    return place, text, cut
