"""Class lists, and class ids in classifiers, data sets and exported files."""

import numpy as np
import pytest

import zoo
from exporters import source
from exporters.onnx import convert, metadata
from training.data import Samples, Source
from zoo import classes, registry


def test_imagenet():
    """A thousand different names, sorted by id, with known classes at their usual indices."""
    names, ids = classes.names("imagenet1k"), classes.ids("imagenet1k")
    assert len(names) == len(ids) == len(set(names)) == len(set(ids)) == 1000
    assert list(ids) == sorted(ids)
    known = {0: "tench", 134: "crane (n02012849)", 207: "golden retriever", 281: "tabby", 517: "crane (n03126707)"}
    known |= {638: "maillot (n03710637)", 639: "maillot (n03710721)", 999: "toilet tissue"}
    assert {place: names[place] for place in known} == known
    assert (ids[0], ids[207], ids[999]) == ("n01440764", "n02099601", "n15075141")


# All weights that were measured on MNIST.
DIGITS = {
    f"{name}.{tag}"
    for name in zoo.list_models()
    for tag, weights in zoo.card(name).weights.items()
    if "mnist" in {each.dataset for each in weights.measured}
}


@pytest.mark.parametrize("name", sorted(DIGITS))
def test_weights_for_digits(name):
    """Their classes are the digits in order, without ids."""
    weights = zoo.card(name).weights[name.partition(".")[2]]
    assert weights.class_names == tuple("0123456789") and weights.class_ids is None


def test_the_digits_are_one_list():
    """The weights for MNIST, and no others, use it; no card lists the names of the digits itself."""
    assert len(DIGITS) >= 24
    cards = {name: zoo.card(name) for name in zoo.list_models()}
    pretrained = {f"{name}.{tag}": weights for name, card in cards.items() for tag, weights in card.weights.items()}
    assert {name for name, weights in pretrained.items() if weights.classes == "digits"} == DIGITS
    assert tuple("0123456789") not in [weights.classes for weights in pretrained.values()]


def test_list_with_given_names():
    assert classes.matching(list("0123456789")) == "digits"
    assert classes.matching(list(classes.names("imagenet1k"))) == "imagenet1k"
    assert classes.matching(list("0123456798")) is None


def test_indices():
    assert classes.indices(["b", "a", "b"], ["a", "b"]) == [1, 0, 1]
    assert classes.indices(["n2", "a"], ["a", "b"], ["n1", "n2"]) == [1, 0]
    with pytest.raises(zoo.ZooError, match=r"a class 'n2' that the model lacks.* It has a, b$"):
        classes.indices(["n2"], ["a", "b"])


@pytest.fixture
def linear():
    """A classifier of two classes with ids."""
    card = zoo.card("linear")
    return registry.wrap(zoo.build("linear", classes=2), card, ["tench", "goldfish"], class_ids=("n1", "n2"))


def test_ids_are_saved(linear, tmp_path):
    linear.save(tmp_path / "x.keras")
    assert zoo.load(tmp_path / "x.keras").class_ids == ["n1", "n2"]


def test_files_without_ids(linear):
    config = linear.get_config()
    del config["class_ids"]
    assert type(linear).from_config(config).class_ids is None
    assert zoo.load("linear").class_ids is None


def test_ids_must_fit():
    with pytest.raises(ValueError, match="Expected class_ids for each of 2 classes"):
        registry.wrap(zoo.build("linear", classes=2), zoo.card("linear"), ["a", "b"], class_ids=["n1"])


def test_ids_are_exported(linear):
    """Without ids, the metadata have no such key."""
    for classifier, expected in ((linear, ["n1", "n2"]), (zoo.load("linear"), None)):
        about = metadata.find(convert.convert(source.find(classifier)))
        assert about.get("class_ids") == expected and ("class_ids" in about) == bool(expected)


def test_folders_named_by_an_id(linear):
    """Class folders may be named by id or by name, also within one data set."""
    images = np.arange(3, dtype="uint8").reshape(3, 1, 1, 1)
    source = Source(("goldfish", "n1", "n2"), {"all": Samples(images, np.array([0, 1, 2], "int32"))})
    moved = source.align_labels(linear.class_names, linear.class_ids)
    assert moved.class_names == ("tench", "goldfish")
    assert moved.splits["all"].labels.tolist() == [1, 0, 1]
    with pytest.raises(zoo.ZooError, match=r"a class 'n1' that the model lacks.*It has tench, goldfish"):
        source.align_labels(linear.class_names)


def test_unknown_class_among_many():
    """The message names the nearest class, not all."""
    source = Source(("gold fish",), {"all": Samples(np.zeros((1, 1, 1, 1), "uint8"), np.zeros(1, "int32"))})
    with pytest.raises(zoo.ZooError, match=r"did you mean 'goldfish'.* It has 1,000 classes") as caught:
        source.align_labels(classes.names("imagenet1k"), classes.ids("imagenet1k"))
    assert len(str(caught.value)) < 200
