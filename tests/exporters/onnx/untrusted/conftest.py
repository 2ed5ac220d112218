"""A folder with traps, and a user's model with an export whose metadata can be changed."""

import json
import os

import numpy as np
import pytest

import exporters
import zoo
from exporters.onnx import files, metadata


@pytest.fixture
def folder(tmp_path):
    """Yield a folder with traps; the test fails if anything in or around it changes."""
    (tmp_path / "secret").write_bytes(bytes(16))
    inside = tmp_path / "inside"
    (inside / "inner").mkdir(parents=True)
    (inside / "data").write_bytes(np.arange(4, dtype="float32").tobytes())
    (inside / "link").symlink_to("../secret")
    (inside / "circle").symlink_to("circle")
    os.link(tmp_path / "secret", inside / "hard")
    os.mkfifo(inside / "pipe")
    before = listing(tmp_path)
    yield inside
    (inside / "model.onnx").unlink()
    assert listing(tmp_path) == before


def listing(folder):
    """Return all paths below a folder with their sizes and modification times."""
    paths = [path for path in folder.rglob("*") if path.name != "model.onnx"]
    facts = [(path.lstat().st_size, path.lstat().st_mtime_ns) for path in paths if not path.is_dir()]
    return sorted(paths), sorted(facts)


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """Return a folder with a model, mine.keras, and its export, mine.onnx."""
    folder = tmp_path_factory.mktemp("mine")
    classifier = zoo.load("linear", classes=["kitten", "dog", "fish"])
    generator = np.random.default_rng(0)
    classifier.set_weights([generator.normal(size=weight.shape) for weight in classifier.get_weights()])
    classifier.save(folder / "mine.keras")
    exporters.to_onnx(folder / "mine.keras", folder / "mine.onnx")
    return folder


@pytest.fixture(scope="module")
def with_metadata(mine):
    """Return a function: metadata entries to change -> path of a copy of mine.onnx with them."""

    def change(**entries):
        model = files.load(mine / "mine.onnx")
        model.metadata_props["zoo"] = json.dumps({**metadata.find(model), **entries})
        files.save(model, mine / "changed.onnx")
        return mine / "changed.onnx"

    return change
