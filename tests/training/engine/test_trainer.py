import itertools

import keras
import numpy as np
import pytest

import zoo
from training.augmentation.layers import AffineDistortion, BatchShift, RandomCrop
from training.data import MemmapSubset
from training.engine import fused_steps as resident
from training.engine import trainer as trainers
from training.engine.freezing import GradualUnfreezing
from zoo.losses import MulticlassHinge
from zoo.optimizers import MomentumWithDecay

RESIDENT = resident.JaxResidentTrainer if keras.backend.backend() == "jax" else resident.TensorFlowResidentTrainer
ROWS, BATCH, EPOCHS, SEED = 23, 8, 3, 5  # 23 = 8 + 8 + 7: the last batch is smaller


@pytest.fixture(scope="module")
def samples():
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (ROWS, 28, 28, 1), "uint8"), generator.integers(0, 10, ROWS).astype("int32")


def train(kind, name, samples, optimizer, loss, start=None, augmentation=(), epochs=EPOCHS):  # noqa: PLR0913
    """Train a new classifier; return it with the history of Keras' fit."""
    classifier = zoo.load(name)
    if start:
        classifier.set_weights(start)
    trainer = kind(classifier, augmentation, *samples, BATCH)
    trainer.prepare(optimizer, loss)
    history = trainer.fit(
        trainer.train_dataset(SEED, 0), steps_per_epoch=trainer.steps_per_epoch, epochs=epochs, shuffle=False, verbose=0
    )
    return classifier, history.history


def same(first, second, **tolerance):
    for one, two in zip(first, second, strict=True):
        np.testing.assert_allclose(one, two, **tolerance)


# The last two are large enough for XLA: it compiles the whole step of one, and the optimizer of the other.
@pytest.mark.parametrize("name", ["lenet5", "lenet5-modern", "mlp", "lenet-caffe"])
def test_an_epoch_in_one_graph_computes_what_keras_fit_computes_step_by_step(name, samples):
    start = zoo.load(name).get_weights()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made = [
        train(kind, name, samples, keras.optimizers.SGD(3e-3, momentum=0.9, weight_decay=0.1), loss, start)
        for kind in (trainers.Trainer, RESIDENT)
    ]
    (plain, plain_history), (resident, resident_history) = made
    same(resident.get_weights(), plain.get_weights(), rtol=1e-5, atol=2e-6)
    assert max(np.abs(new - old).max() for new, old in zip(resident.get_weights(), start, strict=True)) > 1e-3
    # In the reported loss the last batch counts as a full one if it is padded, and by its rows otherwise.
    counted = np.array([BATCH, BATCH, ROWS - 2 * BATCH])
    assert resident_history["loss"] == pytest.approx(plain_history["loss"], rel=0.1) and counted.sum() == ROWS


def test_an_epoch_in_one_graph_is_stochastic_gradient_descent_on_the_hinge_loss(samples):
    rate = 0.01
    classifier, history = train(RESIDENT, "linear", samples, keras.optimizers.SGD(rate), MulticlassHinge(), epochs=2)
    images, labels = samples
    flat = images.reshape(ROWS, -1) * np.float64(1 / 255)
    weights, bias, losses = np.zeros((784, 10)), np.zeros(10), []
    for epoch in range(2):
        order, means, counted = np.random.default_rng([SEED, epoch]).permutation(ROWS), [], []
        for first in range(0, ROWS, BATCH):
            batch = order[first : first + BATCH]
            gradient_weights, gradient_bias, total = np.zeros_like(weights), np.zeros_like(bias), 0.0
            for row in batch:
                scores = flat[row] @ weights + bias
                for wrong in set(range(10)) - {labels[row]}:
                    lack = scores[wrong] - scores[labels[row]] + 1
                    total += max(0.0, lack)
                    if lack > 0:
                        for index, sign in ((wrong, 1), (labels[row], -1)):
                            gradient_weights[:, index] += sign * flat[row] / len(batch)
                            gradient_bias[index] += sign / len(batch)
            weights -= rate * gradient_weights
            bias -= rate * gradient_bias
            means.append(total / len(batch))
            # A padded last batch counts as a full one in the reported loss.
            counted.append(BATCH if RESIDENT is resident.JaxResidentTrainer else len(batch))
        losses.append(np.average(means, weights=counted))
    same(classifier.get_weights(), [weights, bias], atol=1e-5)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-4)


def test_the_odd_last_batch_is_used(samples):
    images, labels = samples
    last = trainers.Trainer(zoo.load("linear"), (), *samples, BATCH).order(SEED, 0)[-1]
    other = labels.copy()
    other[last] = (other[last] + 1) % 10
    trained = [
        train(RESIDENT, "linear", (images, each), keras.optimizers.SGD(0.1), MulticlassHinge(), epochs=1)[0]
        for each in (labels, other)
    ]
    differences = [np.abs(one - two).max() for one, two in zip(*(each.get_weights() for each in trained), strict=True)]
    assert min(differences) > 1e-3


def test_orders_are_permutations_that_depend_on_seed_and_epoch(samples):
    trainer = trainers.Trainer(zoo.load("linear"), (), *samples, BATCH)
    epochs = [trainer.order(1, epoch) for epoch in range(4)]
    for order in epochs:
        assert sorted(order) == list(range(ROWS))
    assert len({tuple(order) for order in epochs}) == 4
    assert tuple(trainer.order(2, 0)) != tuple(epochs[0])


def test_both_trainers_get_the_same_batches_and_a_resumed_run_gets_the_rest(samples):
    step_by_step = trainers.Trainer(zoo.load("linear"), (), *samples, BATCH)
    in_graph = RESIDENT(zoo.load("linear"), (), *samples, BATCH)
    images, labels = samples
    for steps, elements in ((3, ((2, 0, 3), (3, 0, 3))), (2, ((2, 0, 2), (2, 2, 3), (3, 0, 2)))):
        in_graph.steps_per_element = steps
        for fed, (epoch, first, last) in zip(in_graph.train_dataset(1, 2), elements, strict=False):
            np.testing.assert_array_equal(weighty(fed), step_by_step.order(1, epoch)[first * BATCH : last * BATCH])
    in_graph.steps_per_element = 1
    whole = [[np.asarray(part) for part in batch] for batch in itertools.islice(step_by_step.train_dataset(1, 2, 1), 3)]
    for fed, (given, answers, weights) in zip(itertools.islice(in_graph.train_dataset(1, 2, 1), 3), whole, strict=True):
        rows = weighty(fed)
        assert len(given) == BATCH  # the last one is padded with rows of weight 0
        np.testing.assert_array_equal(given[: len(rows)], images[rows])
        np.testing.assert_array_equal(answers[: len(rows)], labels[rows])
        np.testing.assert_allclose(weights, [BATCH / len(rows)] * len(rows) + [0] * (BATCH - len(rows)))
        if RESIDENT is resident.JaxResidentTrainer:
            np.testing.assert_array_equal(fed[1], [weights])


def weighty(fed):
    """Return the rows with a weight of a dataset element of a resident trainer."""
    if keras.backend.backend() == "tensorflow":
        return np.asarray(fed)
    rows, weights = fed
    return rows[weights > 0]


def test_steps(samples):
    for rows, steps in ((23, 3), (24, 3), (16, 2), (3, 1)):
        trainer = trainers.Trainer(zoo.load("linear"), (), samples[0][:rows], samples[1][:rows], BATCH)
        assert trainer.steps == steps


@pytest.mark.parametrize("kind", [trainers.Trainer, RESIDENT])
def test_augmentation_is_applied_in_training_only(kind, samples):
    images, labels = samples
    classifier = zoo.load("lenet5-modern")
    augmented = kind(classifier, [AffineDistortion(translation=8.0, seed=1)], *samples, BATCH)
    bare = kind(classifier, [], *samples, BATCH)
    expected = classifier.predict(images, verbose=0)
    np.testing.assert_allclose(augmented.predict(images, verbose=0), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(augmented(images), expected, rtol=1e-5, atol=1e-5)
    assert np.abs(np.asarray(augmented(images, training=True)) - expected).max() > 0.01
    for trainer in (augmented, bare):
        trainer.prepare(keras.optimizers.SGD(0.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    measured = [trainer.evaluate(images, labels, verbose=0, return_dict=True) for trainer in (augmented, bare)]
    assert measured[0] == pytest.approx(measured[1])


def test_training_uses_the_augmented_images(samples):
    """With the same seed the first step is the step on images that the layer augmented before."""
    images, labels = samples
    layer = BatchShift(pixels=4, seed=9)
    first = trainers.Trainer(zoo.load("linear"), (), *samples, ROWS).order(SEED, 0)
    moved = np.asarray(BatchShift(pixels=4, seed=9)(images[first].astype("float32"), training=True)).astype("uint8")
    assert not np.array_equal(moved, images[first])
    trained = []
    for given, augmentation in (((images, labels), [layer]), ((moved, labels[first]), [])):
        classifier = zoo.load("linear")
        trainer = RESIDENT(classifier, augmentation, *given, ROWS)
        trainer.prepare(keras.optimizers.SGD(0.1), MulticlassHinge())
        trainer.fit(trainer.train_dataset(SEED, 0), steps_per_epoch=1, epochs=1, verbose=0)
        trained.append(classifier.get_weights())
    same(*trained, atol=1e-6)


@pytest.mark.parametrize("kind", [trainers.Trainer, RESIDENT])
def test_outside_of_training_larger_images_are_center_cropped(kind, samples):
    """Also when the trainer is called as a model, as Keras does before the first epoch on JAX."""
    images, labels = samples
    larger = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=255)
    classifier = zoo.load("lenet5-modern")
    trainer = kind(classifier, [RandomCrop(28, seed=1)], larger, labels, BATCH)
    expected = classifier.predict_on_batch(images)
    for given in (trainer(larger), trainer(images)):
        np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5)
    shown = trainer.validation_dataset(larger, labels)
    shown = np.concatenate([np.asarray(each) for each, _ in shown])
    np.testing.assert_array_equal(shown, images)


@pytest.mark.parametrize("kind", [trainers.Trainer, RESIDENT])
def test_prepare_draws_no_random_numbers(kind, samples):
    images, labels = samples
    larger = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    layers = [RandomCrop(28, seed=1), keras.layers.RandomFlip("horizontal", seed=2)]
    trainer = kind(zoo.load("linear"), layers, larger, labels, BATCH)
    before = [np.asarray(variable) for layer in layers for variable in layer.variables]
    trainer.prepare(keras.optimizers.SGD(0.1), MulticlassHinge())
    after = [np.asarray(variable) for layer in layers for variable in layer.variables]
    assert len(before) == 2
    same(after, before, rtol=0)
    trainer.fit(trainer.train_dataset(SEED, 0), steps_per_epoch=trainer.steps_per_epoch, epochs=1, verbose=0)
    for layer, state in zip(layers, before, strict=True):
        assert not np.array_equal(layer.variables[0], state)


@pytest.mark.parametrize("kind", [trainers.Trainer, RESIDENT])
def test_pretrained_layers_are_frozen_and_then_updated_at_a_share_of_the_rate(kind, samples):
    """The same as learning rates per layer that are 0 at first and then a share of the others'."""
    start = zoo.load("lenet5-modern").get_weights()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    late = {"class_name": "PiecewiseConstantDecay", "config": {"boundaries": [3], "values": [0.0, 0.01]}}
    trained = []
    for rates, unfreezing in (
        ({}, GradualUnfreezing(["scores"], frozen_steps=4, update_scale=0.2)),
        (dict.fromkeys(("c1", "c3", "f5", "f6"), late), None),
    ):
        classifier = zoo.load("lenet5-modern")
        classifier.set_weights(start)
        trainer = kind(classifier, (), *samples, BATCH)
        optimizer = MomentumWithDecay(0.05, momentum=0.0, weight_decay=0.0, bias_rate=1.0, rates=rates)
        trainer.prepare(optimizer, loss, unfreezing=unfreezing)
        trainer.fit(
            trainer.train_dataset(SEED, 0), steps_per_epoch=trainer.steps_per_epoch, epochs=EPOCHS, shuffle=False, verbose=0
        )
        trained.append(classifier.get_weights())
    same(*trained, rtol=1e-5, atol=1e-6)
    assert all(np.abs(new - old).max() > 1e-5 for new, old in zip(trained[0], start, strict=True))


def test_balanced_sampling_shows_all_classes_equally_often():
    labels = np.repeat([0, 1, 2], [40, 7, 3])
    trainer = trainers.Trainer(
        zoo.load("linear"), (), np.zeros((50, 28, 28, 1), "uint8"), labels, 8, trainers.TrainerOptions(balance=True)
    )
    for epoch in range(3):
        order = trainer.order(SEED, epoch)
        assert len(order) == 50
        assert max(np.bincount(labels[order])) - min(np.bincount(labels[order])) <= 1
        shown = np.bincount(order, minlength=50)
        for rare in (1, 2):  # all images of rare classes are shown, with counts that differ by at most one
            assert np.ptp(shown[labels == rare]) <= 1 <= shown[labels == rare].min()
        assert shown[labels == 0].max() == 1
    assert not np.array_equal(trainer.order(SEED, 0), trainer.order(SEED, 1))


def test_the_augmentation_is_not_saved(tmp_path, samples):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    augmentation = [AffineDistortion(seed=1), BatchShift(seed=2)]
    classifier, _ = train(RESIDENT, "lenet5", samples, keras.optimizers.SGD(0.01), loss, augmentation=augmentation, epochs=1)
    classifier.save(tmp_path / "trained.keras")
    loaded = zoo.load(tmp_path / "trained.keras")
    for model in (classifier, loaded):
        kinds = {type(layer) for layer in model._flatten_layers()}
        assert not kinds & {AffineDistortion, BatchShift}
    assert [weight.shape for weight in loaded.weights] == [weight.shape for weight in zoo.load("lenet5").weights]
    np.testing.assert_allclose(loaded.predict(samples[0], verbose=0), classifier.predict(samples[0], verbose=0), rtol=1e-5)


def test_data_that_fit_in_memory_are_resident(monkeypatch, samples):
    assert type(resident.make(zoo.load("linear"), (), *samples, BATCH)) is RESIDENT
    monkeypatch.setattr(resident, "RESIDENT_BYTES", samples[0].nbytes - 1)
    assert type(resident.make(zoo.load("linear"), (), *samples, BATCH)) is trainers.Trainer


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="needs JAX; test_training_on_jax runs it")
def test_on_jax_models_that_a_loop_slows_down_are_trained_one_step_at_a_time(samples):
    from zoo import rules

    layers = [keras.layers.RandomTranslation(0.1, 0.1)]
    assert not layers[0].supports_jit
    assert type(resident.make(zoo.load("lenet5-modern"), (), *samples, BATCH)) is trainers.Trainer
    assert type(resident.make(zoo.load("linear"), layers, *samples, BATCH)) is trainers.Trainer
    rule = rules.AlphaLMS(0.1)
    assert (
        type(resident.make(zoo.load("linear"), (), *samples, BATCH, trainers.TrainerOptions(rule=rule))) is trainers.Trainer
    )


def test_memory_mapped_images_are_copied_to_the_device(samples, tmp_path):
    images, labels = samples
    np.save(tmp_path / "images.npy", images)
    chosen = MemmapSubset(np.load(tmp_path / "images.npy", mmap_mode="r"), np.arange(ROWS)[::-1])
    start = zoo.load("linear").get_weights()
    trained = []
    for given in ((chosen, labels[::-1]), (images[::-1], labels[::-1])):
        assert type(resident.make(zoo.load("linear"), (), *given, BATCH)) is RESIDENT
        trained.append(
            train(RESIDENT, "linear", given, keras.optimizers.SGD(0.1), MulticlassHinge(), start)[0].get_weights()
        )
    same(*trained, rtol=0)
