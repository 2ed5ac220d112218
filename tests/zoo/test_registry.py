"""The contract of every model, and errors for wrong names, cards and files."""

import functools
import gc
import hashlib
import io
import subprocess
import sys
import zipfile
from importlib import resources

import keras
import numpy as np
import pytest

import exports
import zoo
import zoo.losses
from zoo import initializers, registry, schema
from zoo.analysis import arithmetic
from zoo.classifier import Classifier
from zoo.files import read_toml
from zoo.layers import Deskew
from zoo.preprocessing import Preprocessing

ARCHITECTURES = zoo.list_models()


def weights_of(name):
    """The entry of the weights `arch.tag` in their card."""
    arch, _, tag = name.partition(".")
    return zoo.card(arch).weights[tag]


def parameters(names, slow=()):
    """Parameters of these names.

    Weights with a URL are left out, because they need a network (see test_weights.py). Fitted weights need their data set.
    """
    for name in names:
        weights = weights_of(name) if "." in name else None
        marks = []
        if weights and weights.fitted:
            marks.append(pytest.mark.mnist)
        if name.startswith("nearest-neighbor.mnist-"):
            marks.append(pytest.mark.slow("loads one more memory of 190 MB"))
        if name in slow:
            marks.append(pytest.mark.slow("loads a relative of AlexNet at full size"))
        if not (weights and weights.url):
            yield pytest.param(name, marks=marks)


PRETRAINED = [*parameters(zoo.list_models(pretrained=True))]
LOADED = [*parameters(ARCHITECTURES), *PRETRAINED]
LOADED_AND_RELATIVES_SLOWLY = [*parameters(ARCHITECTURES, slow=exports.RELATIVES), *PRETRAINED]
PACKAGED = [name for name in zoo.list_models(pretrained=True) if weights_of(name).file]


@functools.lru_cache(2)
def classifier(name):
    """One classifier per name, which tests must not change. Only the last two are kept, to save memory."""
    keras.utils.set_random_seed(8)
    return zoo.load(name)


def raw(model, count=3):
    """Random raw images for a classifier."""
    shape = (count, *model.input_image_shape)
    return np.random.default_rng(9).integers(0, 256, size=shape, dtype="uint8")


def scores(model, images):
    return keras.ops.convert_to_numpy(model(images))


# All models.


def test_names():
    assert {"linear", "lenet5", "lenet5-modern"} <= set(ARCHITECTURES)
    years = [zoo.card(name).year for name in ARCHITECTURES]
    assert years == sorted(years)
    assert len({name.lower() for name in ARCHITECTURES}) == len(ARCHITECTURES)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_card_file(name):
    """A card is in a file of its name and fits the schema."""
    text = resources.files("zoo.cards").joinpath(f"{name}.toml").read_text("utf-8")
    assert schema.validate(read_toml(text, name), schema.Card, name) == zoo.card(name)
    assert zoo.card(name).name == name


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_counts_of_the_card(name):
    with initializers.starting_from_zero():
        totals = arithmetic.totals(arithmetic.table(zoo.build(name)))
    card = zoo.card(name)
    for key, counted in (("parameters", totals["trainable_parameters"]), ("connections", totals["connections"])):
        stated = getattr(card, key)
        assert counted == stated, (
            f"zoo/cards/{name}.toml has {key} = {stated:_}, and the net has {counted:_}; `zoo info {name}` lists the layers"
        )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_loss_of_the_card(name):
    """It can be created, and is smaller for the right label than for a wrong one."""
    card = zoo.card(name)
    loss = keras.losses.deserialize(card.loss.model_dump())
    good, bad = (float(loss(np.array([label]), -10.0 * (1 - np.eye(3, dtype="float32")[:1]))) for label in (0, 1))
    assert np.isfinite([good, bad]).all() and good < bad


@pytest.mark.parametrize("name", LOADED)
def test_recipes_of_the_card(name):
    """Each recipe or experiment of a measured result exists."""
    card = zoo.card(name)
    named = [each.recipe for each in card.measured]
    for weights in card.weights.values():
        named += [*filter(None, [weights.recipe]), *(each.recipe for each in weights.measured)]
    for recipe in named:
        experiment = resources.files("training.experiments").joinpath(f"{recipe.replace('-', '_')}.py")
        assert resources.files("training.recipes").joinpath(f"{recipe}.toml").is_file() or experiment.is_file(), recipe


@pytest.mark.parametrize("name", LOADED)
def test_takes_raw_images(name):
    """A batch of any size, uint8 or float 0-255, gives one finite score per class."""
    model = classifier(name)
    images = raw(model)
    found = scores(model, images)
    assert found.shape == (3, len(model.class_names)) and found.dtype == "float32"
    assert np.isfinite(found).all()
    np.testing.assert_allclose(scores(model, images.astype("float32")), found, rtol=1e-6)
    np.testing.assert_allclose(scores(model, images[1:2]), found[1:2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LOADED_AND_RELATIVES_SLOWLY)
def test_without_preprocessing(name):
    """The net alone gives the same scores for images that NumPy preprocesses with the numbers of the card."""
    model = classifier(name)
    keras.utils.set_random_seed(8)
    bare = zoo.load(name, preprocessing=False)
    assert not isinstance(bare, Classifier)
    card = zoo.card(name)
    weights = card.weights.get(name.partition(".")[2])
    how = (weights and weights.preprocessing) or card.preprocessing
    border = (how.padding, how.padding)
    images = keras.ops.convert_to_numpy(Deskew()(raw(model).astype("float32"))) if how.deskew else raw(model)
    images = np.pad(images.astype("float64"), ((0, 0), border, border, (0, 0))) * how.scale + how.shift
    np.testing.assert_allclose(scores(bare, images.astype("float32")), scores(model, raw(model)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LOADED_AND_RELATIVES_SLOWLY)
def test_saved_and_loaded(name, tmp_path):
    """One file holds the weights, the preprocessing, the class names and the origin."""
    model = classifier(name)
    model.save(tmp_path / "mine.keras")
    loaded = zoo.load(tmp_path / "mine.keras")
    np.testing.assert_array_equal(scores(loaded, raw(model)), scores(model, raw(model)))
    for what in ("class_names", "image_spec", "card", "weights_name", "name", "input_image_shape"):
        assert getattr(loaded, what) == getattr(model, what)
    assert loaded.fingerprint() == model.fingerprint()
    del loaded
    gc.collect()  # loading takes five times the memory of the weights, which are 190 MB for nearest-neighbor.mnist
    bare = zoo.load(tmp_path / "mine.keras", preprocessing=False)
    assert bare.input_shape == model.net.input_shape


def test_loaded_in_a_fresh_process(tmp_path):
    """A process that never built the models loads their files."""
    expected = []
    for name in ARCHITECTURES:
        model = exports.load(name)
        model.save(tmp_path / f"{name}.keras")
        expected.append(model.fingerprint())
    code = "import sys, zoo\nfor path in sys.argv[1:]: print(zoo.load(path).fingerprint())"
    command = [sys.executable, "-c", code, *(str(tmp_path / f"{name}.keras") for name in ARCHITECTURES)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert child.stdout.split() == expected, child.stderr


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_own_classes(name):
    with initializers.starting_from_zero():
        model = zoo.load(name, classes=["cat", "dog", "frog"])
    assert model.class_names == ["cat", "dog", "frog"]
    assert scores(model, raw(model)).shape == (3, 3)


def test_fingerprint_changes_with_a_weight():
    model = zoo.load("linear")
    before = model.fingerprint()
    kernel, bias = model.get_weights()
    kernel[300, 4] += 1e-3
    model.set_weights([kernel, bias])
    assert model.fingerprint() != before


def test_class_names_must_fit():
    with pytest.raises(ValueError, match="linear has 10 outputs"):
        registry.wrap(zoo.build("linear"), zoo.card("linear"), ["a", "b"])


# Pretrained weights.


@pytest.mark.parametrize("name", PACKAGED)
def test_pretrained_file(name):
    """The packaged file has the size and hash of the card."""
    about = weights_of(name)
    content = resources.files("zoo.pretrained").joinpath(about.file).read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (about.size, about.sha256)


@pytest.mark.parametrize("name", PRETRAINED)
def test_pretrained(name):
    """Its class names are those of the card, and its weights differ from random ones."""
    model = classifier(name)
    about = weights_of(name)
    assert model.class_names == list(about.class_names)
    assert model.weights_name == name and model.card == name.partition(".")[0]
    assert model.fingerprint() == zoo.load(name).fingerprint() != zoo.load(model.card).fingerprint()


# Names.


@pytest.mark.parametrize("give", [zoo.card, zoo.build, zoo.load], ids=lambda function: function.__name__)
def test_wrong_names(give):
    """The error names the nearest right names; none of them is used instead."""
    for name in ARCHITECTURES:
        wrong = name + name[-1]
        with pytest.raises(zoo.ZooError, match=f"no model '{wrong}'; did you mean .*'{name}'"):
            give(wrong)
    with pytest.raises(zoo.ZooError, match="no model 'lenet-5'; did you mean 'lenet5'"):
        give("lenet-5")
    for name in ("LENET5", "", "zzzzzz"):
        with pytest.raises(zoo.ZooError, match=f"no model '{name}'.*`zoo list` shows all"):
            give(name)


@pytest.mark.parametrize("give", [zoo.card, zoo.load], ids=lambda function: function.__name__)
def test_wrong_tag(give):
    with pytest.raises(zoo.ZooError, match=r"no model 'lenet5\.mnits'; did you mean"):
        give("lenet5.mnits")


def test_build_takes_no_weights():
    with pytest.raises(zoo.ZooError, match=r"build\(\) makes random weights and takes 'lenet5'"):
        zoo.build("lenet5.mnist")


def test_unknown_option():
    with pytest.raises(zoo.ZooError, match=r"linear has no option 'clases'; did you mean 'classes'.*input_shape"):
        zoo.build("linear", clases=3)


# Cards.


CARD = f"""
name = "net"
title = "A net"
year = 1998
authors = ["A", "B"]
summary = "One."
builder = "zoo.models.lenet:lenet5"
parameters = 2
connections = 3

[paper]
title = "A paper"
venue = "1998"

[picture]
height = 28
width = 20
channels = 1

[loss]
class_name = "zoo>MulticlassHinge"

[weights.mnist]
file = "net.mnist.weights.h5"
sha256 = "{"0" * 64}"
size = 10
licence = "CC0"
classes = ["a", "b"]
recipe = "none"

[[weights.mnist.measured]]
result = "test error"
values = [1.0, 2.0]
dataset = "mnist"
recipe = "none"
seeds = [1, 2]
device = "none"
date = "2026-01-01"
command = "none"
"""


def test_right_card():
    card = schema.validate(read_toml(CARD, "card"), schema.Card, "card")
    assert (card.picture.height, card.picture.width, card.picture.resize) == (28, 20, "pad")
    (measured,) = card.weights["mnist"].measured
    assert (measured.mean, measured.spread) == (1.5, pytest.approx(0.5**0.5))


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("summary", "sumary", "unknown key 'sumary'; did you mean 'summary'"),
        ("summary", "sumary", "'summary' is missing"),
        ("height", "heigth", r"unknown key 'picture\.heigth'; did you mean 'height'"),
        ("licence", "license", r"unknown key 'weights\.mnist\.license'; did you mean 'licence'"),
        ("device", "devise", r"unknown key 'weights\.mnist\.measured\.0\.devise'; did you mean 'device'"),
        ("channels = 1", "channels = 2", r"'picture\.channels' is 2"),
        ("year = 1998", 'year = "long ago"', "'year' is 'long ago'"),
        ("zoo.models.lenet:lenet5", "lenet5", "'builder' is 'lenet5'"),
        ("[1, 2]", "[1]", "2 values for 1 seeds"),
        ("file =", 'url = "http://localhost/x.h5"\nfile =', "one of file .* url, and fitted"),
        ("0" * 64, "0" * 63, r"'weights\.mnist\.sha256'"),
        ("size = 10", "size = 0", r"'weights\.mnist\.size' is 0"),
        ('"net.mnist', '"../net.mnist', r"'weights\.mnist\.file' is '\.\./net\.mnist\.weights\.h5': string should match"),
        ("[weights.mnist]", '[weights."a/b"]', r"'a/b': string should match"),
        ("year = 1998", "year = ", "not valid TOML"),
    ],
)
def test_wrong_card(old, new, message):
    """The message names the card, the key, and the nearest right one."""
    assert CARD.count(old) == 1
    with pytest.raises(zoo.ZooError, match=f"^net.toml.*{message}"):
        schema.validate(read_toml(CARD.replace(old, new), "net.toml"), schema.Card, "net.toml")


# Files.


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The bytes of a good .keras file."""
    path = tmp_path_factory.mktemp("saved") / "good.keras"
    classifier("linear").save(path)
    return path.read_bytes()


def refused(path, match):
    """The error is a ZooError of one line that names the file."""
    with pytest.raises(zoo.ZooError, match=match) as caught:
        zoo.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_no_file(tmp_path):
    refused(tmp_path / "none.keras", "no file")
    (tmp_path / "folder.keras").mkdir()
    refused(tmp_path / "folder.keras", "no file")


@pytest.mark.parametrize("content", [b"", b"This is no model.\n" * 100], ids=["empty", "text"])
def test_file_of_something_else(tmp_path, content):
    (tmp_path / "a.keras").write_bytes(content)
    refused(tmp_path / "a.keras", "is not a .keras file")


def test_truncated_file(saved, tmp_path):
    for part in (0.01, 0.5, 0.99):
        (tmp_path / "a.keras").write_bytes(saved[: int(len(saved) * part)])
        refused(tmp_path / "a.keras", "is not a .keras file")
    (tmp_path / "a.keras").write_bytes(saved[-len(saved) // 2 :])
    refused(tmp_path / "a.keras", "cannot be loaded|is not a .keras file")


def test_flipped_bit(saved, tmp_path):
    """Wherever the bit is, the file is refused or still has the same weights."""
    path = tmp_path / "a.keras"
    directory = zipfile.ZipFile(io.BytesIO(saved)).start_dir
    places = [*range(0, directory, directory // 40), *range(directory, len(saved), 3)]
    outcomes = set()
    for place in places:
        path.write_bytes(saved[:place] + bytes([saved[place] ^ 1]) + saved[place + 1 :])
        try:
            assert zoo.load(path).fingerprint() == classifier("linear").fingerprint()
            outcomes.add("the same")
        except zoo.ZooError as error:
            assert str(path) in str(error)
            outcomes.add("refused")
    assert outcomes == {"the same", "refused"}


def test_flipped_bit_in_the_weights(saved, tmp_path):
    """The file is refused."""
    kernel = classifier("linear").get_weights()[0]
    assert not kernel.any()
    archive = zipfile.ZipFile(io.BytesIO(saved))
    entry = next(entry for entry in archive.infolist() if entry.filename.startswith("model.weights"))
    assert entry.compress_type == zipfile.ZIP_STORED
    for part in (0.2, 0.5, 0.8):
        place = entry.header_offset + int(entry.file_size * part)
        (tmp_path / "a.keras").write_bytes(saved[:place] + bytes([saved[place] ^ 64]) + saved[place + 1 :])
        refused(tmp_path / "a.keras", "CRC")


def test_file_that_claims_to_be_huge(saved, tmp_path):
    """A file of a few KiB that claims three entries of 4 GiB is refused before anything is unpacked."""
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(3):
            archive.writestr(f"{number}.h5", b"small")
        for entry in archive.filelist:
            entry.file_size = 4 * 2**30
    assert path.stat().st_size < 2000
    refused(path, f"claims to unpack to {12 * 2**30:,} bytes")


def test_archive_without_a_model(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("notes.txt", "no model")
    refused(tmp_path / "a.keras", "cannot be loaded")


def test_file_of_another_keras_model(tmp_path):
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "a.keras")
    refused(tmp_path / "a.keras", "holds a Sequential, not a zoo classifier.*`zoo finetune` writes one")


def test_file_with_code_is_refused(tmp_path):
    """A Lambda layer has Python code that would be executed."""
    net = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Lambda(lambda x: x[:, :2])])
    image_spec = {"height": 2, "width": 2, "channels": 1, "resize": "pad"}
    Classifier(net, Preprocessing(), image_spec, ["a", "b"], "linear").save(tmp_path / "a.keras")
    refused(tmp_path / "a.keras", "cannot be loaded")
