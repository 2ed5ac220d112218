"""Another package brings models: a card, a builder with a layer of its own, and a weight file."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import zoo
from zoo import cards, registry

MODELS = """
import keras

@keras.saving.register_keras_serializable("mynets")
class Halve(keras.layers.Layer):
    def call(self, x):
        return x / 2

def tiny(classes=3):
    image = keras.Input((4, 4, 1), name="image")
    x = keras.layers.Flatten(name="flatten")(Halve(name="halve")(image))
    return keras.Model(image, keras.layers.Dense(classes, name="scores")(x), name="tiny")
"""

CARD = """
name = "{name}"
title = "A tiny net"
year = 1970
authors = ["Somebody"]
summary = "One layer."
builder = "{builder}"
parameters = 51
connections = 51

[paper]
title = "None"
venue = "1970"

[picture]
height = 4
width = 4
channels = 1

[loss]
class_name = "zoo>MulticlassHinge"

[weights.a]
file = "tiny.a.weights.h5"
sha256 = "{sha256}"
size = {size}
licence = "CC0"
classes = ["x", "y", "z"]
recipe = "none"

[[weights.a.measured]]
result = "test error"
values = [1.0]
dataset = "none"
recipe = "none"
seeds = [1]
device = "none"
date = "2026-01-01"
command = "none"
"""

LOAD = """
import json, sys, numpy as np, zoo
classifier = zoo.load("tiny.a")
classifier.save("tiny.keras")
scores = classifier(np.full((1, 4, 4, 1), 2, "uint8")).numpy()
print(json.dumps({"classes": classifier.class_names, "weights": classifier.weights_name, "scores": scores.tolist()}))
"""


def install(folder, package="mynets", name="tiny", builder="mynets.models:tiny", weights=b"none", models=MODELS):
    """Write a package with its metadata to a folder, as pip installs it, and return an environment that has it."""
    home, metadata = folder / package, folder / f"{package}_dist-1.0.dist-info"
    for each in (home / "cards", home / "pretrained", metadata):
        each.mkdir(parents=True)
    (home / "__init__.py").touch()
    (home / "models.py").write_text(models)
    digest = hashlib.sha256(weights).hexdigest()
    card = CARD.format(name=name, builder=builder, sha256=digest, size=len(weights))
    (home / "cards" / "tiny.toml").write_text(card)
    (home / "pretrained" / "tiny.a.weights.h5").write_bytes(weights)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}-dist\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[zoo.cards]\nmine = {package}\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """(bytes of a weight file, kernel, bias)."""
    import keras

    image = keras.Input((4, 4, 1))
    x = keras.layers.Flatten(name="flatten")(keras.layers.Identity(name="halve")(image))
    net = keras.Model(image, keras.layers.Dense(3, name="scores", bias_initializer="ones")(x))
    path = tmp_path_factory.mktemp("weights") / "tiny.weights.h5"
    net.save_weights(path)
    return path.read_bytes(), *net.get_layer("scores").get_weights()


def test_its_models_are_listed_and_load(zoo_command, tmp_path, weights):
    content, kernel, bias = weights
    environment = install(tmp_path / "site", weights=content)
    listed = json.loads(zoo_command("list", "--json", env=environment).stdout)
    assert [row["name"] for row in listed if row["name"] not in zoo.list_models()] == ["tiny"]
    assert [row["year"] for row in listed] == sorted(row["year"] for row in listed)
    assert {**next(row for row in listed if row["name"] == "tiny"), "summary": ""} == {
        **{"name": "tiny", "title": "A tiny net", "year": 1970, "parameters": 51, "weights": ["tiny.a"], "summary": ""}
    }
    child = subprocess.run([sys.executable, "-c", LOAD], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    answer = json.loads(child.stdout)
    assert (answer["classes"], answer["weights"]) == (["x", "y", "z"], "tiny.a")
    np.testing.assert_allclose(answer["scores"], kernel.sum(axis=0, keepdims=True) + bias, rtol=1e-5)
    for words in (["tiny.a"], ["tiny.keras"]):  # the file has a layer of the package, which a new process must know
        child = zoo_command("info", *words, "--json", env=environment, cwd=tmp_path)
        assert child.returncode == 0, child.stderr
        assert json.loads(child.stdout)["trainable_parameters"] == 51


def test_listing_does_not_import_keras_or_the_builder(tmp_path):
    environment = install(tmp_path, models="raise SystemExit('imported')")
    code = "import sys, zoo; zoo.list_models(); print('tiny' in zoo.list_models(), 'keras' in sys.modules)"
    child = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert child.stdout == "True False\n", child.stderr


def test_damaged_weight_file(zoo_command, tmp_path):
    """The message names the package to install again."""
    environment = install(tmp_path)
    (tmp_path / "mynets" / "pretrained" / "tiny.a.weights.h5").write_bytes(b"other")
    child = zoo_command("info", "tiny.a", env=environment)
    assert child.returncode == 2 and len(child.stderr.splitlines()) == 1
    assert child.stderr.endswith("fix: python -m pip install --force-reinstall --no-deps mynets-dist\n")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"name": "lenet5"}, "card tiny.toml of mynets-dist has the name 'lenet5', which card lenet5.toml has already; "),
        ({"name": "Tiny.net"}, "card tiny.toml of mynets-dist: name is 'Tiny.net'; use lower-case letters"),
    ],
    ids=["collision", "dot"],
)
def test_refused_names(change, message, zoo_command, tmp_path):
    child = zoo_command("list", env=install(tmp_path, **change))
    assert child.returncode == 2 and child.stdout == "" and len(child.stderr.splitlines()) == 1
    assert message in child.stderr


@pytest.mark.parametrize(
    "old, new, message",
    [
        (b"Somebody", b"Andr\xe9", "card tiny.toml of mynets-dist is not UTF-8: "),
        (b"tiny.a.weights.h5", b"/etc/passwd", "card tiny.toml of mynets-dist: 'weights.a.file' is '/etc/passwd': "),
        (b"sha256", b"md5", "card tiny.toml of mynets-dist: unknown key 'weights.a.md5'"),
    ],
    ids=["encoding", "path", "key"],
)
def test_wrong_cards(old, new, message, zoo_command, tmp_path):
    """The message names the package."""
    environment = install(tmp_path)
    path = tmp_path / "mynets" / "cards" / "tiny.toml"
    path.write_bytes(path.read_bytes().replace(old, new))
    child = zoo_command("info", "tiny", env=environment)
    assert child.returncode == 2 and len(child.stderr.splitlines()) == 1
    assert message in child.stderr


def test_packages_whose_cards_collide(zoo_command, tmp_path):
    install(tmp_path)
    child = zoo_command("list", env=install(tmp_path, package="other"))
    assert child.returncode == 2
    assert (
        "card tiny.toml of other-dist has the name 'tiny', which card tiny.toml of mynets-dist has already" in child.stderr
    )
    assert "pip uninstall other-dist" in child.stderr


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"builder": "mynets.modls:tiny"},
            "tiny: the module of its builder mynets.modls:tiny cannot be imported: No module",
        ),
        ({"builder": "mynets.models:tyny"}, "tiny: its builder mynets.models:tyny does not exist; did you mean 'tiny'?"),
        ({"models": "import no_such_module"}, "cannot be imported: No module named 'no_such_module'"),
    ],
    ids=["module", "function", "import"],
)
def test_builders_that_cannot_be_imported(change, message, zoo_command, tmp_path):
    environment = install(tmp_path, **change)
    assert zoo_command("list", env=environment).returncode == 0
    zoo.load("linear").save(tmp_path / "linear.keras")  # whose layers may be those of the package
    for model in ("tiny", tmp_path / "linear.keras"):
        child = zoo_command("info", model, env=environment)
        assert child.returncode == 2 and message in child.stderr and len(child.stderr.splitlines()) == 1
        assert child.stderr.endswith("; fix or remove its package: pip uninstall mynets-dist\n")


def test_packages_that_cannot_be_imported(zoo_command, tmp_path):
    environment = install(tmp_path)
    (tmp_path / "mynets" / "__init__.py").write_text("import no_such_module")
    child = zoo_command("list", env=environment)
    assert child.returncode == 2 and len(child.stderr.splitlines()) == 1
    assert "mynets-dist has models for the zoo in the package mynets, which cannot be imported" in child.stderr
    assert "pip uninstall mynets-dist" in child.stderr


def test_own_cards_are_of_the_zoo():
    assert {cards.source_of(name) for name in registry.list_models()} == {cards.ZOO}
