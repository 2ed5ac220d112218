"""Training of the nearest-neighbor classifier, compared with scikit-learn."""

import keras
import numpy as np
import pytest

import training.engine.trainer as trainers
import training.evaluation.evaluate
import zoo
from training import recipe
from training.data import Samples
from training.engine import fused_steps
from zoo import ZooError, registry, rules


def kinds():
    return [trainers.Trainer] + [fused_steps.TensorFlowResidentTrainer] * (keras.backend.backend() == "tensorflow")


@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize("epochs", [1, 2])
def test_a_run_memorizes_every_image_once(kind, epochs):
    """Including the smaller last batch; in a second epoch the memory is full and does not change."""
    from sklearn.neighbors import KNeighborsClassifier

    generator = np.random.default_rng(0)
    images, labels = generator.integers(0, 256, (60, 28, 28, 1), "uint8"), (np.arange(60) % 10).astype("int32")
    known, asked = Samples(images[:43], labels[:43]), Samples(images[43:], labels[43:])
    net = zoo.build("nearest-neighbor", capacity=43)
    classifier = registry.wrap(net, zoo.card("nearest-neighbor"), range(10))
    trainer = kind(classifier, (), known.images, known.labels, 8, trainers.TrainerOptions(rule=rules.Memorize()))
    trainer.prepare(None, zoo.losses.MulticlassHinge())
    history = trainer.fit(
        trainer.train_dataset(1, 0), steps_per_epoch=trainer.steps_per_epoch, epochs=epochs, shuffle=False, verbose=0
    ).history
    assert history["accuracy"] == [1.0] * epochs
    assert int(net.layers[-1].filled()) == 43
    found = training.evaluation.evaluate.score(classifier, asked).predictions
    reference = KNeighborsClassifier(1).fit(known.images.reshape(43, -1).astype(float), known.labels)
    assert (found == reference.predict(asked.images.reshape(17, -1).astype(float))).all()


def test_more_images_than_capacity_are_refused_before_the_run(tmp_path, digits):
    chosen = recipe.load("nearest-neighbor-mnist", **{"data.name": str(digits), "data.test": 100, "options.capacity": 1000})
    with pytest.raises(ZooError, match=r"1,697 images .* 1,000 of its 1,000 .* options.capacity=1697"):
        training.fit(chosen, tmp_path / "run")


@pytest.mark.parametrize("change", [{"epochs": 2}, {"data.repeat": 2}], ids=str)
def test_nothing_is_memorized_twice(change, tmp_path, digits):
    chosen = recipe.load("nearest-neighbor-mnist", **{"data.name": str(digits), "data.test": 297, **change})
    with pytest.raises(ZooError, match=r"3,000 presentations of 1,500 images.* epochs = 1 and data\.repeat = 1"):
        training.fit(chosen, tmp_path / "run")


def test_a_run_on_scanned_digits(tmp_path, digits):
    """Three neighbors reach an error of 1.0 % on these digits."""
    from rich.console import Console

    chosen = recipe.load("nearest-neighbor-mnist-k3", **{"data.name": str(digits), "data.test": 300})
    metrics = training.fit(chosen, tmp_path / "run", console=Console(quiet=True))
    assert metrics["pictures"] == 300 and metrics["test_error"] < 3
    again = zoo.load(tmp_path / "run" / "best.keras")
    assert (
        int(again.net.layers[-1].filled()) == again.net.layers[-1].capacity == 1497
    )  # exactly the number of training images
    assert (tmp_path / "run" / "best.keras").stat().st_size < 6e6


@pytest.mark.parametrize(
    ("name", "k", "deskew"), [("", 1, False), ("-k3", 3, False), ("-k5", 5, False), ("-deskewed", 1, True)]
)
def test_recipes(name, k, deskew):
    chosen = recipe.load(f"nearest-neighbor-mnist{name}")
    card = zoo.card(chosen.model)
    preprocessing = chosen.preprocessing or card.preprocessing
    assert chosen.options["k"] == k and (preprocessing.deskew, preprocessing.shift) == (deskew, -128)
    assert chosen.optimizer is None and chosen.rule is None and chosen.epochs == 1


@pytest.mark.slow("classifies all of MNIST")
@pytest.mark.mnist
@pytest.mark.parametrize(("deskew", "errors"), [(False, {1: 309, 3: 283, 5: 307}), (True, {1: 165, 3: 150, 5: 148})])
def test_mnist(deskew, errors):
    """Wrong of 10,000 with 1, 3 and 5 neighbors, of which the five are looked for once."""
    import tensorflow_datasets as tfds

    (known, labels), (asked, truth) = (
        tfds.as_numpy(tfds.load("mnist", split=part, batch_size=-1, as_supervised=True)) for part in ("train", "test")
    )
    net = zoo.build("nearest-neighbor")
    about = zoo.card("nearest-neighbor")
    about = about.model_copy(update={"preprocessing": about.preprocessing.model_copy(update={"deskew": deskew})})
    classifier = registry.wrap(net, about, range(10))
    for start in range(0, 60000, 1000):
        rows = slice(start, start + 1000)
        rules.Memorize().train_on_batch(net, classifier.preprocessing(known[rows]), labels[rows])
    layer = net.layers[-1]
    wrong = dict.fromkeys(errors, 0)
    for start in range(0, 10000, 1000):
        rows = slice(start, start + 1000)
        nearest = layer.nearest(keras.ops.reshape(classifier.preprocessing(asked[rows]), (-1, 784)), 5)
        for k in errors:
            answers = keras.ops.convert_to_numpy(layer.vote(nearest[:, :k])).argmax(axis=1)
            wrong[k] += int((answers != truth[rows]).sum())
    assert wrong == errors
    few = slice(0, 200)
    scores = classifier.predict_on_batch(asked[few])
    np.testing.assert_array_equal(
        scores,
        keras.ops.convert_to_numpy(
            layer.vote(layer.nearest(keras.ops.reshape(classifier.preprocessing(asked[few]), (-1, 784)), 1))
        ),
    )
