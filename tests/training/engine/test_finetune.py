import json
import re
import shutil

import keras
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import training
import zoo
from training import recipe
from zoo import registry
from zoo.errors import ZooError

QUIET = Console(quiet=True)
ZERO = {"optimizer.config.learning_rate": 0.0, "optimizer.config.weight_decay": 0.0, "epochs": 1}


def finetune(model, folder, out, **changes):
    return training.finetune(model, folder, out, console=QUIET, **changes)


@pytest.fixture(scope="module")
def three(digits, tmp_path_factory):
    """Three of the digits, thirty scans each, with class names that no model of the zoo has."""
    folder = tmp_path_factory.mktemp("three")
    for digit, name in (("3", "drei"), ("5", "fünf"), ("8", "acht")):
        (folder / name).mkdir()
        for path in sorted((digits / digit).iterdir())[:30]:
            shutil.copy(path, folder / name)
    return folder


def write_shades(folder, dark="dark", bright="bright"):
    for name, low, high in ((dark, 0, 100), (bright, 156, 256)):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            pixels = np.random.default_rng(number).integers(low, high, (28, 28), "uint8")
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def shade_reader(path, names):
    """Save a linear classifier of bright and dark images, with its classes in a given order."""
    classifier = zoo.load("linear", classes=names)
    sign = np.array([1.0 if name == "bright" else -1.0 for name in names])
    classifier.set_weights([np.tile(sign / 784, (784, 1)), -0.5 * sign])
    classifier.save(path)
    return path


def test_with_the_same_classes_all_layers_are_fine_tuned(digits, tmp_path):
    metrics = finetune("lenet5.mnist", digits, tmp_path / "run", epochs=3)
    assert metrics["part"] == "test" and metrics["pictures"] == pytest.approx(0.15 * 1797, abs=1)
    assert 10 < metrics["accuracy_before"] < metrics["accuracy"]
    assert metrics["accuracy"] > 90
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == metrics
    loaded = zoo.load(tmp_path / "run" / "best.keras")
    assert loaded.class_names == list("0123456789") and loaded.card == "lenet5"


@pytest.mark.parametrize("names", [("bright", "dark"), ("dark", "bright")])
def test_classes_are_matched_by_name_in_any_order(names, tmp_path):
    folder = write_shades(tmp_path / "shades")
    metrics = finetune(shade_reader(tmp_path / "shade.keras", names), folder, tmp_path / "run", **ZERO)
    assert metrics["accuracy_before"] == metrics["accuracy"] == 100
    loaded = zoo.load(tmp_path / "run" / "best.keras")
    assert loaded.class_names == list(names)
    white = np.full((1, 28, 28, 1), 255, "uint8")
    assert loaded.class_names[int(loaded.predict(white, verbose=0).argmax())] == "bright"


def mlp_of_two_sizes():
    """A multi-layer perceptron with other sizes than its card."""
    options = {"hidden": [20, 10]}
    return registry.wrap(zoo.build("mlp", **options), zoo.card("mlp"), range(10), options=options)


@pytest.mark.parametrize(
    ("model", "head"), [("lenet5", "f6"), ("lenet5-modern", "scores"), ("mark1.letters", "response"), ("mlp", "output")]
)
def test_new_classes_get_a_new_head_above_the_pretrained_layers(model, head, three, tmp_path):
    """Sizes and fixed wiring are kept; the layer trained for the targets of the old classes is new."""
    keras.utils.set_random_seed(77)  # not the seed of the recipe
    before = mlp_of_two_sizes() if model == "mlp" else zoo.load(model)
    before.save(tmp_path / "before.keras")
    metrics = finetune(tmp_path / "before.keras", three, tmp_path / "run", **ZERO)  # with rate 0 the weights stay
    assert metrics["accuracy_before"] is None
    after = zoo.load(tmp_path / "run" / "best.keras")
    assert after.class_names == ["acht", "drei", "fünf"]
    assert after.predict(np.zeros((2, *after.input_image_shape), "uint8"), verbose=0).shape == (2, 3)
    for layer in (layer for layer in before.net.layers if layer.weights):
        kernel, old = (net.get_layer(layer.name).get_weights()[0] for net in (after.net, before.net))
        assert np.array_equal(kernel, old) == (layer.name != head)


def test_as_many_new_classes_as_old_ones_get_a_new_head_too(digits, tmp_path):
    folder = tmp_path / "letters"
    for digit in "0123456789":
        (folder / f"letter{digit}").mkdir(parents=True)
        for path in sorted((digits / digit).iterdir())[:10]:
            shutil.copy(path, folder / f"letter{digit}")
    keras.utils.set_random_seed(8)  # not the seed of the run, which initializes the new head
    before = zoo.load("lenet5-modern")
    before.save(tmp_path / "before.keras")
    metrics = finetune(tmp_path / "before.keras", folder, tmp_path / "run", **ZERO)
    assert metrics["accuracy_before"] is None
    after = zoo.load(tmp_path / "run" / "best.keras").net
    np.testing.assert_array_equal(after.get_layer("f6").get_weights()[0], before.net.get_layer("f6").get_weights()[0])
    assert not np.array_equal(after.get_layer("scores").get_weights()[0], before.net.get_layer("scores").get_weights()[0])


def test_new_classes_are_learned_and_the_same_seed_gives_the_same_weights(three, tmp_path):
    zoo.load("lenet5-modern").save(tmp_path / "before.keras")
    metrics, weights = [], []
    for name in ("one", "two"):
        metrics.append(finetune(tmp_path / "before.keras", three, tmp_path / name, epochs=6))
        weights.append(zoo.load(tmp_path / name / "best.keras").get_weights())
    assert metrics[0]["accuracy"] > 60  # a third is chance
    for one, two in zip(*weights, strict=True):
        assert one.tobytes() == two.tobytes()


def test_pretrained_lenet5_learns_three_new_classes(three, tmp_path):
    metrics = finetune("lenet5.mnist", three, tmp_path / "run", epochs=8)
    assert metrics["accuracy_before"] is None and metrics["accuracy"] >= 85
    assert zoo.load(tmp_path / "run" / "best.keras").class_names == ["acht", "drei", "fünf"]


def test_a_model_with_a_learning_rule_is_refused_with_a_command_that_works(three, tmp_path, zoo_in_process):
    with pytest.raises(ZooError, match="madaline is trained by a learning rule, MadalineI") as caught:
        finetune("madaline.mnist", three, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    command = (
        str(caught.value).partition("zoo train ")[2].replace("FOLDER", str(three)).replace("DIR", str(tmp_path / "run"))
    )
    done = zoo_in_process("train", *command.split(), "--set", "epochs=1")
    assert done.returncode == 0, done.stderr
    assert zoo.load(tmp_path / "run" / "best.keras").class_names == ["acht", "drei", "fünf"]


def test_one_class_is_refused(digits, tmp_path):
    shutil.copytree(digits / "3", tmp_path / "one" / "drei")
    with pytest.raises(ZooError, match="one class, 'drei'; a classifier needs two"):
        finetune("linear", tmp_path / "one", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_unreadable_images_are_listed_in_the_metrics_or_refused(tmp_path):
    folder = write_shades(tmp_path / "shades")
    (folder / "dark" / "text.png").write_text("I am a text")
    with pytest.raises(ZooError, match=r"text\.png"):
        finetune("linear", folder, tmp_path / "run", strict=True)
    assert not (tmp_path / "run").exists()
    metrics = finetune("linear", folder, tmp_path / "run", epochs=1)
    (problem,) = metrics["left_out"]
    assert str(folder / "dark" / "text.png") in problem
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["left_out"] == [problem]


def test_the_recipe_of_the_run_is_saved(tmp_path):
    folder = write_shades(tmp_path / "shades")
    model = shade_reader(tmp_path / "shade.keras", ("bright", "dark"))
    finetune(model, folder, tmp_path / "run", epochs=2, seed=5)
    kept = recipe.load(tmp_path / "run" / "recipe.toml")
    assert (kept.model, kept.data.name, kept.epochs, kept.seed) == (str(model), str(folder), 2, 5)


def test_the_command_saves_a_classifier_and_prints_the_next_command(zoo_in_process, tmp_path):
    folder = write_shades(tmp_path / "shades")
    (folder / "dark" / "text.png").write_text("I am a text")
    model = shade_reader(tmp_path / "shade.keras", ("bright", "dark"))
    words = ("finetune", model, "--data", folder, "--out", "run", "--set", "epochs=1")
    done = zoo_in_process(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "accuracy before fine-tuning: 100.00 %" in done.stdout and "text.png" in done.stdout
    assert "was better" not in done.stdout
    assert "next: zoo export run/best.keras --to onnx --out run/best.onnx" in done.stdout
    assert zoo.load(tmp_path / "run" / "best.keras").class_names == ["bright", "dark"]
    again = zoo_in_process(*words, cwd=tmp_path)
    assert again.returncode == 2 and "zoo: run is not empty" in again.stderr and "Traceback" not in again.stderr


def test_the_command_reports_a_model_that_was_better_before(zoo_in_process, tmp_path):
    """The classes of the training images are swapped, those of the test images are not."""
    write_shades(tmp_path / "shades" / "train", dark="bright", bright="dark")
    write_shades(tmp_path / "shades" / "test")
    model = shade_reader(tmp_path / "shade.keras", ("bright", "dark"))
    done = zoo_in_process("finetune", model, "--data", "shades", "--out", "run", "--set", "epochs=3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{model} was better on these images before fine-tuning" in done.stdout
    setting = re.search(r"try --set (\S+)", done.stdout)[1]
    assert setting.endswith("initial_learning_rate=0.0001")  # a tenth of the recipe's
    assert recipe.load("finetune", model="linear", **{"data.name": "x"}, **dict([recipe.parse_setting(setting)]))
