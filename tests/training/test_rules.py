"""Training with a learning rule instead of an optimizer."""

import keras
import numpy as np
import pytest
from rich.console import Console

import training
import zoo
from training import recipe
from training.engine import fused_steps
from training.engine import trainer as trainers
from zoo import ZooError, rules

ROWS, BATCH, SEED, RATE = 23, 8, 5, 0.01


@keras.saving.register_keras_serializable("test")
class Delta(rules.Rule):
    """Gradient descent on half the squared error to one-hot targets, written as a learning rule."""

    def train_on_batch(self, net, x, labels):
        layer = net.layers[-1]
        flat = keras.ops.reshape(x, (-1, layer.kernel.shape[0]))
        scores = net(x)
        error = keras.ops.one_hot(keras.ops.cast(labels, "int32"), 10) - scores
        step = RATE / keras.ops.cast(keras.ops.shape(x)[0], "float32")
        layer.kernel.assign_add(step * keras.ops.matmul(keras.ops.transpose(flat), error))
        layer.bias.assign_add(step * keras.ops.sum(error, axis=0))
        return scores


@keras.saving.register_keras_serializable("test")
class HalfSquare(keras.losses.Loss):
    def call(self, y_true, y_pred):
        target = keras.ops.one_hot(keras.ops.reshape(keras.ops.cast(y_true, "int32"), (-1,)), 10)
        return keras.ops.sum(keras.ops.square(target - y_pred), axis=-1) / 2


def train(kind, rule, repeat=1, epochs=2):
    generator = np.random.default_rng(0)
    images, labels = (
        generator.integers(0, 256, (ROWS, 28, 28, 1), "uint8"),
        generator.integers(0, 10, ROWS).astype("int32"),
    )
    classifier = zoo.load("linear")
    trainer = kind(classifier, (), images, labels, BATCH, trainers.TrainerOptions(repeat, rule))
    trainer.prepare(None if rule else keras.optimizers.SGD(RATE), HalfSquare())
    history = trainer.fit(
        trainer.train_dataset(SEED, 0), steps_per_epoch=trainer.steps_per_epoch, epochs=epochs, shuffle=False, verbose=0
    ).history
    return classifier.get_weights(), [history["loss"], history["accuracy"]]


def kinds():
    return [trainers.Trainer] + [fused_steps.TensorFlowResidentTrainer] * (keras.backend.backend() == "tensorflow")


@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize("repeat", [1, 3])
def test_a_learning_rule_replaces_the_optimizer(kind, repeat):
    """The same step, by a rule and by a gradient, gives the same weights and, in one graph, the same history.

    A step at a time only batches of a gradient have one size, and of these the last counts as a full one in the history.
    """
    by_rule, by_gradient = train(kind, Delta(), repeat), train(kind, None, repeat)
    for one, two in zip(by_rule[0], by_gradient[0], strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
        assert np.abs(one).max() > 1e-3
    np.testing.assert_allclose(
        by_rule[1], by_gradient[1], rtol=1e-5 if kind is fused_steps.TensorFlowResidentTrainer else 0.1
    )


def test_repeat_shows_every_row_equally_often_in_every_epoch():
    images, labels = np.zeros((ROWS, 28, 28, 1), "uint8"), np.zeros(ROWS, "int32")
    trainer = trainers.Trainer(zoo.load("linear"), (), images, labels, BATCH, trainers.TrainerOptions(3))
    order = trainer.order(1, 0)
    assert (trainer.images_per_epoch, trainer.steps) == (69, 9)
    for start in (0, ROWS, 2 * ROWS):  # all rows, each time in another order
        assert sorted(order[start : start + ROWS]) == list(range(ROWS))
    assert tuple(order[:ROWS]) != tuple(order[ROWS : 2 * ROWS])


RECIPE = """
model = "linear"
epochs = 3
batch_size = 32
seed = 3
[data]
name = "FOLDER"
validation = 0
test = 0.2
[rule]
class_name = "test>Delta"
"""


def run(text, digits, tmp_path):
    path = tmp_path / "rule.toml"
    path.write_text(text.replace("FOLDER", str(digits)))
    return training.fit(recipe.load(path), tmp_path / "run", console=Console(quiet=True))


def test_a_recipe_with_a_rule_and_without_validation_keeps_the_last_epoch(digits, tmp_path):
    metrics = run(RECIPE, digits, tmp_path)
    assert metrics["best_epoch"] == 3 and "validation_error" not in metrics
    assert metrics["part"] == "test" and metrics["test_error"] < 40
    assert "val_error" not in (tmp_path / "run" / "history.csv").read_text().splitlines()[0]
    assert {"best.keras", "last.npz", "curves.png"} <= {path.name for path in (tmp_path / "run").iterdir()}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('[rule]\nclass_name = "test>Delta"', "", "no .optimizer., and its card has no learning rule"),
        ("test>Delta", "test>Dleta", "rule test>Dleta"),
        ("test>Delta", "zoo>MulticlassHinge", "no rule is named zoo>MulticlassHinge"),
        ("[rule]", "[options]\nclasses = 3\n[rule]", r"options\.classes: linear has the classes of its data, here 10"),
        ("[rule]", "[options]\ninput_shape = 3\n[rule]", r"linear cannot be built with .'input_shape': 3.: "),
        ("test = 0.2", "test = 0", "no test split, and data.validation and data.test are 0"),
    ],
)
def test_invalid_recipes_are_refused_before_anything_is_written(old, new, message, digits, tmp_path):
    with pytest.raises(ZooError, match=message):
        run(RECIPE.replace(old, new), digits, tmp_path)
    assert {path.name for path in (tmp_path / "run").iterdir()} <= {"recipe.toml"}


class InterruptedAfterAnEpoch(Console):
    """A console that raises KeyboardInterrupt when the first epoch is printed."""

    def print(self, *words, **options):
        if words and str(words[0]).startswith("epoch"):
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("neocognitron-glyphs", {"data.repeat": 12}),
        ("madaline2-mnist", {"data.name": "FOLDER", "data.test": 0.2, "data.validation": 0.2, "batch_size": 32}),
    ],
    ids=["SeedCells", "MadalineII"],
)
def test_an_interrupted_run_with_a_rule_ends_bit_identical(name, changes, digits, tmp_path):
    """Checkpoint and best weights are compared."""
    changes = {key: str(digits) if value == "FOLDER" else value for key, value in changes.items()}

    def train(out, resume=False, console=None):
        console = console or Console(quiet=True)
        training.fit(recipe.load(name, epochs=3, **changes), tmp_path / out, resume=resume, console=console)

    def left(out):
        with np.load(tmp_path / out / "last.npz") as stored:
            state = [stored[key] for key in stored.files if key != "notes"]
        return [*state, *zoo.load(tmp_path / out / "best.keras").get_weights()]

    train("whole")
    with pytest.raises(KeyboardInterrupt):
        train("parts", console=InterruptedAfterAnEpoch(quiet=True))
    assert len((tmp_path / "parts" / "history.csv").read_text().splitlines()) == 2  # the header and one epoch
    before = left("parts")
    train("parts", resume=True)
    after, expected = left("parts"), left("whole")
    assert any(one.tobytes() != two.tobytes() for one, two in zip(before, after, strict=True))
    for one, two in zip(after, expected, strict=True):
        assert one.tobytes() == two.tobytes()


def test_a_loss_that_does_not_fit_is_reported_with_the_rule(digits, tmp_path):
    """And not with an optimizer, which the recipe does not have."""
    with pytest.raises(ZooError, match="loss binary_crossentropy or rule Delta do not fit linear"):
        run(RECIPE + '[loss]\nclass_name = "BinaryCrossentropy"\n', digits, tmp_path)


def test_options_picture_and_preprocessing_of_a_recipe_replace_those_of_the_card(digits, tmp_path):
    text = RECIPE + "[options]\ninput_shape = [8, 8, 1]\n[picture]\nheight = 8\nwidth = 8\nchannels = 1\n"
    metrics = run(text + "[preprocessing]\nscale = 0.01\n", digits, tmp_path)
    classifier = zoo.load(tmp_path / "run" / "best.keras")
    assert classifier.input_image_shape == (8, 8, 1) and classifier.preprocessing.scale == 0.01
    assert classifier.net.count_params() == 650 and metrics["pictures"] == 360
