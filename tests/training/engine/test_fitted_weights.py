"""Weights that consist of training data: a small model is trained, published, and fitted again on first use."""

import contextlib
import functools
import io
import json
import re
import shlex
import shutil
import subprocess

import keras
import numpy as np
import pytest
from rich.console import Console

import training
import training.evaluation.evaluate
import zoo
from training import publish, recipe
from training.data import Samples
from training.data.synthetic import ef
from training.engine import fitted_weights
from zoo import ZooError, registry
from zoo import weights as store
from zoo.files import read_toml, sha256

CARD = """
name = "memory"
title = "A small memory"
year = 1967
authors = ["A"]
summary = "Learns by heart."
builder = "zoo.models.nearest_neighbor:nearest_neighbor"
parameters = 0
connections = 0

[paper]
title = "A paper"
venue = "1967"

[picture]
height = 20
width = 20
channels = 1

[loss]
class_name = "zoo>MulticlassHinge"

[rule]
class_name = "zoo>Memorise"
"""

RECIPE = """
model = "memory"
epochs = 1
batch_size = 7
seed = 1

[data]
name = "drawn:ef"
validation = 0

[options]
input_shape = [20, 20, 1]
"""


def use(patch, text):
    """Add a card to those of the zoo."""
    cards = {**registry.raw_cards(), "memory": read_toml(text, "memory")}
    patch.setattr(registry, "raw_cards", lambda: cards)
    patch.setattr(registry, "_card", functools.cache(registry._card.__wrapped__))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The card after publishing a run, and the recipe's file."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "cards").mkdir()
    (folder / "cards" / "memory.toml").write_text(CARD)
    (folder / "recipe.toml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        use(patch, CARD)
        patch.setattr(publish, "HOME", folder)
        training.fit(str(folder / "recipe.toml"), folder / "run", console=Console(quiet=True))
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            publish.publish("memory.ef", str(folder / "recipe.toml"), [folder / "run"], fitted=True)
    assert re.search(r": # Measured: \d+\.\d\d % test error, seed 1;$", printed.getvalue())
    assert not (folder / "pretrained").exists()
    return (folder / "cards" / "memory.toml").read_text(), folder / "recipe.toml"


@pytest.fixture
def cache(published, tmp_path, monkeypatch):
    """An empty cache, and the published card."""
    use(monkeypatch, published[0])
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    return tmp_path / "weights"


def files(cache):
    return sorted(path for path in cache.rglob("*"))


def test_the_first_use_fits_the_weights_and_the_second_loads_them(cache, capsys):
    classifier = zoo.load("memory.ef")
    assert capsys.readouterr().err == "memory.ef: its weights are the data; fitting them to drawn:ef, once\n"
    train = ef.make(classifier.image_spec).splits["train"]
    memory = keras.ops.convert_to_numpy(classifier.net.layers[-1].memory)
    np.testing.assert_array_equal(memory.T, train.images.reshape(60, 400))  # in the order of the data set
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files(cache)}
    assert [path.name.partition(".weights")[2] for path in before] == [".h5", ".h5.sha256"]
    assert zoo.load("memory.ef").fingerprint() == classifier.fingerprint()
    assert capsys.readouterr().err == ""
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files(cache)} == before


def test_the_card_has_the_published_values(cache, published):
    about = zoo.card("memory").weights["ef"]
    assert about.fitted and about.options == {"capacity": 60, "input_shape": [20, 20, 1]}
    assert about.size == 4 * (400 * 60 + 60 + 2 * 60)
    evaluation, _ = training.evaluation.evaluate.evaluate(zoo.load("memory.ef"), "drawn:ef")
    assert about.measured[0].values == (round(evaluation.error, 4),)
    assert about.sha256 == fitted_weights.fingerprint(
        fitted_weights.load_data(recipe.load(str(published[1]))).splits["train"]
    )


def test_failing_publish_changes_no_file(published, tmp_path, monkeypatch):
    """The weights are saved before the error of the card is known. Without the error, the card describes the file."""
    use(monkeypatch, CARD)
    monkeypatch.setattr(publish, "HOME", tmp_path / "home")
    card, weights = tmp_path / "home" / "cards" / "memory.toml", tmp_path / "home" / "pretrained" / "memory.ef.weights.h5"
    card.parent.mkdir(parents=True)
    weights.parent.mkdir()
    card.write_text(CARD)
    shutil.copytree(published[1].parent / "run", tmp_path / "run")
    metrics = tmp_path / "run" / "metrics.json"
    content = json.loads(metrics.read_text())
    metrics.write_text(json.dumps({**content, "date": 1967}))
    with pytest.raises(ZooError, match=r"memory\.toml: 'measured\.0\.date' is 1967"):
        publish.publish("memory.ef", str(published[1]), [tmp_path / "run"])
    assert files(tmp_path / "home") == [card.parent, card, weights.parent] and card.read_text() == CARD
    metrics.write_text(json.dumps(content))
    publish.publish("memory.ef", str(published[1]), [tmp_path / "run"])
    assert files(tmp_path / "home") == [card.parent, card, weights.parent, weights]
    assert read_toml(card.read_text(), "memory")["weights"]["ef"]["sha256"] == sha256(weights)


def test_the_fingerprint_depends_on_images_and_labels_but_not_their_layout():
    images, labels = np.arange(24, dtype="uint8").reshape(2, 3, 4, 1), np.array([1, 0])
    same = fitted_weights.fingerprint(Samples(images, labels.astype("int32")))
    assert same == fitted_weights.fingerprint(Samples(np.asfortranarray(images), labels.astype(">i8")))
    assert same != fitted_weights.fingerprint(Samples(images, 1 - labels))
    assert same != fitted_weights.fingerprint(Samples(images[::-1], labels))


@pytest.mark.parametrize("harm", ["cut", "flipped", "empty"])
def test_a_damaged_file_is_refused_with_the_command_that_removes_it(cache, harm):
    right = zoo.load("memory.ef").fingerprint()
    path, _ = files(cache)
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    path.write_bytes({"cut": content[:middle], "flipped": flipped, "empty": b""}[harm])
    with pytest.raises(ZooError, match=r"the weights memory\.ef at .* are damaged: .* fix: rm ") as caught:
        zoo.load("memory.ef")
    subprocess.run(shlex.split(str(caught.value).partition("fix: ")[2]), check=True)
    assert files(cache) == []
    assert zoo.load("memory.ef").fingerprint() == right


def test_a_partial_file_of_a_killed_process_is_replaced(cache, capsys):
    right = zoo.load("memory.ef").fingerprint()
    path, seal = files(cache)
    seal.unlink()
    path.write_bytes(path.read_bytes()[:1000])
    capsys.readouterr()
    assert zoo.load("memory.ef").fingerprint() == right
    assert "fitting them" in capsys.readouterr().err and files(cache) == [path, seal]


def test_other_data_are_refused_before_anything_is_written(cache, published, tmp_path, monkeypatch):
    other = tmp_path / "other.toml"
    other.write_text(RECIPE.replace("drawn:ef", "drawn:square-circle"))
    use(monkeypatch, published[0].replace(str(published[1]), str(other)))
    with pytest.raises(ZooError, match=r"the drawn:square-circle is not the one of the card of memory\.ef: the sha256"):
        zoo.load("memory.ef")
    assert not cache.exists()


@pytest.mark.mnist
def test_mnist_has_the_fingerprint_of_the_card(monkeypatch):
    for tag, about in zoo.card("nearest-neighbor").weights.items():
        source = fitted_weights.load_data(recipe.load(about.recipe))
        assert fitted_weights.fingerprint(source.splits["train"]) == about.sha256, tag


@pytest.mark.mnist
def test_another_mnist_is_refused_with_its_folder(tmp_path):
    about = zoo.card("nearest-neighbor").weights["mnist"].model_copy(update={"sha256": "0" * 64})
    with pytest.raises(ZooError, match=r"the mnist in /.* is not the one of the card of nearest-neighbor\.mnist"):
        fitted_weights.fit_weights("nearest-neighbor.mnist", about, tmp_path / "a.weights.h5")
    assert list(tmp_path.iterdir()) == []


def test_without_a_package_that_can_fit_weights(cache, monkeypatch):
    monkeypatch.setattr(store, "entry_points", lambda **_: [])
    with pytest.raises(
        ZooError, match=r"memory\.ef must be fitted to its training data, and no installed package can fit weights"
    ):
        zoo.load("memory.ef")
    assert not cache.exists()
