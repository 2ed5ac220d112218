"""The contact sheet of a recipe: seen.png and `zoo show --augmented`."""

import keras
import numpy as np
import pytest
from PIL import Image

from training.augmentation.layers import AffineDistortion, BatchShift, RandomCrop
from training.data import Samples
from training.report import contact_sheet
from zoo.errors import ZooError

RECIPE = """model = "lenet5-modern"
epochs = 1
batch_size = 4
seed = 3
[data]
name = "{data}"
validation = 0.2
[optimizer]
class_name = "SGD"
[[augmentation]]
class_name = "{layer}"
"""


@pytest.fixture(scope="module")
def samples():
    """Of three classes the second has two images, the others five."""
    generator = np.random.default_rng(0)
    return Samples(generator.integers(0, 256, (12, 28, 28, 1), "uint8"), np.repeat([0, 1, 2], [5, 2, 5]).astype("int32"))


def tile(path, row, column):
    """The tile at a row, counted from the last, and a column of a sheet."""
    step = contact_sheet.TILE + contact_sheet.GAP
    sheet_of = np.asarray(Image.open(path).convert("RGB"))
    bottom = len(sheet_of) - row * step
    return sheet_of[
        bottom - step : bottom - contact_sheet.GAP, 150 + column * step : 150 + column * step + contact_sheet.TILE
    ]


def enlarged(image):
    return np.repeat(image.repeat(4, axis=0).repeat(4, axis=1), 3, axis=-1)


def test_each_row_shows_an_image_as_read_in_evaluation_and_in_training(samples, tmp_path):
    layers = [RandomCrop(24, seed=1)]
    contact_sheet.draw(layers, samples, ["a", "b", "c"], (24, 24, 1), tmp_path / "seen.png", "title")
    following = np.stack(contact_sheet.augmented_batches(layers, samples.images[[0, 5, 7]]))
    for row, first in enumerate((7, 5, 0)):  # from below
        np.testing.assert_array_equal(tile(tmp_path / "seen.png", row, 0), enlarged(samples.images[first]))
        inner = np.s_[8:104, 8:104]  # 24 pixels of four, in a tile of 28
        evaluated = tile(tmp_path / "seen.png", row, 1)
        np.testing.assert_array_equal(evaluated[inner], enlarged(samples.images[first][2:26, 2:26]))
        assert (evaluated[:8] == contact_sheet.GRAY).all()
        for column, batch in enumerate(following):
            shown = tile(tmp_path / "seen.png", row, 2 + column)[inner]
            np.testing.assert_array_equal(shown, enlarged(batch[2 - row].astype("uint8")))


def test_eight_of_many_classes_are_drawn(tmp_path):
    many = Samples(np.zeros((20, 8, 8, 3), "uint8"), np.arange(20, dtype="int32"))
    contact_sheet.draw([], many, [str(each) for each in range(20)], (8, 8, 3), tmp_path / "seen.png", "title")
    height = Image.open(tmp_path / "seen.png").height
    assert 8 * (contact_sheet.TILE + contact_sheet.GAP) < height < 9 * (contact_sheet.TILE + contact_sheet.GAP)


def test_drawing_does_not_change_random_states(samples, tmp_path):
    layers = [AffineDistortion(seed=1), BatchShift(seed=2), keras.layers.RandAugment(seed=3)]
    keras.utils.set_random_seed(4)
    expected = keras.random.uniform((3,)), np.random.uniform(size=3)
    states = [np.asarray(variable).copy() for layer in layers for variable in layer.variables]
    keras.utils.set_random_seed(4)
    contact_sheet.draw(layers, samples, ["a", "b", "c"], (28, 28, 1), tmp_path / "seen.png", "title")
    for one, other in zip((keras.random.uniform((3,)), np.random.uniform(size=3)), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    for variable, before in zip([each for layer in layers for each in layer.variables], states, strict=True):
        np.testing.assert_array_equal(variable, before)


def test_drawn_augmentations_are_those_of_the_next_batches(samples):
    drawn = contact_sheet.augmented_batches([AffineDistortion(seed=1)], samples.images)
    layer = AffineDistortion(seed=1)
    for each in drawn:
        np.testing.assert_array_equal(each, layer(samples.images.astype("float32"), training=True))
    assert not np.array_equal(drawn[0], drawn[1])


@pytest.fixture
def folder(tmp_path):
    """Wide color images in two class folders."""
    generator = np.random.default_rng(0)
    for name in ("bolt", "nut"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(5):
            pixels = generator.integers(0, 256, (20, 40, 3), "uint8")
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


def recipe_of(folder, layer="training>BatchShift"):
    path = folder.parent / "mine.toml"
    path.write_text(RECIPE.format(data=folder.as_posix(), layer=layer), "utf-8")
    return path


def test_the_first_column_shows_the_files_of_a_folder(folder, tmp_path, zoo_in_process):
    recipe = recipe_of(folder)
    child = zoo_in_process("show", str(recipe), "--augmented", "--out", "sheet.png", cwd=tmp_path)
    printed = child.stdout
    assert child.returncode == 0 and "sheet.png" in printed and "mine.toml: BatchShift()" in printed
    first = tile(tmp_path / "sheet.png", 0, 0)
    wide = first[28:84]  # 40x20 twice enlarged, in the middle of its tile
    originals = [np.asarray(Image.open(path)) for path in sorted((folder / "nut").iterdir())]
    matches = [np.array_equal(wide[8:48, 16:96], each.repeat(2, axis=0).repeat(2, axis=1)) for each in originals]
    assert sum(matches) == 1
    assert (first[:20] == contact_sheet.GRAY).all()


def test_the_seed_changes_the_augmentation_and_a_run_directory_is_a_recipe(folder, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    recipe_of(folder).rename(run / "recipe.toml")
    for name, seed in (("a.png", None), ("b.png", 3), ("c.png", 4)):
        contact_sheet.show_augmented(str(run), str(folder), seed, tmp_path / name)
    images = [(tmp_path / name).read_bytes() for name in ("a.png", "b.png", "c.png")]
    assert images[0] == images[1] != images[2]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lenet5.mnist", "is a model; .* recipes are lenet5-mnist, lenet5-mnist-affine"),
        ("alexnet-owt", "is a model; .* it has no recipe"),
        ("lenet5-mnst", "did you mean 'lenet5-mnist'"),
        ("finetune", "does not specify its data"),
        (".", "not a run directory"),
    ],
)
def test_names_that_are_not_recipes_are_refused(name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZooError, match=words):
        contact_sheet.show_augmented(name, "", None, None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("layer", "setting"), [("RandomHue", "factor"), ("training>ColourJitter", "hue_factor")])
def test_layers_that_cannot_process_the_images_are_named(folder, tmp_path, layer, setting):
    recipe = recipe_of(folder, layer=layer)
    recipe.write_text(recipe.read_text("utf-8") + f"config = {{ {setting} = 0.1 }}\n", "utf-8")
    with pytest.raises(ZooError, match=rf"augmentation {layer} cannot process images of 28x28x1: .*channel"):
        contact_sheet.show_augmented(str(recipe), "", None, tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()
