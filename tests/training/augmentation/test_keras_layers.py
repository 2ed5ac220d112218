"""Keras' layers as augmentation: those that a recipe may name, each in a trainer, and those that it may not.

`test_training_on_jax` runs this file and others once more, on JAX.
"""

import random

import keras
import numpy as np
import pytest

from training import keras_objects
from training.augmentation import presets
from training.engine import checkpoint, fused_steps
from training.report.contact_sheet import augmented_batches
from zoo.classifier import Classifier
from zoo.errors import ZooError
from zoo.preprocessing import Preprocessing
from zoo.schema import KerasObject

SIZE = 16
ON_JAX = keras.backend.backend() == "jax"


def named(name, **config):
    return KerasObject(class_name=name, config=config)


# In groups, as a trainer for each layer would take minutes.
SUPPORTED = {
    "places": [
        named("RandomFlip", mode="horizontal"),
        named("RandomTranslation", height_factor=0.1, width_factor=0.1),
        named("RandomZoom", height_factor=0.2),
        named("RandomRotation", factor=0.1),
        named("RandomShear", x_factor=0.2, y_factor=0.2),
        named("RandomPerspective"),
    ],
    "colors": [
        named("RandomBrightness", factor=0.2),
        named("RandomContrast", factor=0.3),
        named("RandomHue", factor=0.2),
        named("RandomColorDegeneration", factor=0.5),
        named("RandomGrayscale", factor=0.3),
        named("RandomInvert", factor=0.5),
        named("RandomPosterization", factor=4),
        named("Solarization", addition_factor=0.3, threshold_factor=0.3),
    ],
    "pixels": [named("RandomSharpness", factor=0.5), named("RandomGaussianBlur"), named("RandomErasing")],
    "elastic": [named("RandomElasticTransform")],
    "many": [named("RandAugment")],
    "ours": [
        named("training>AffineDistortion"),
        named("training>BatchShift"),
        named("training>ColourJitter", brightness_factor=0.2, contrast_factor=0.3, saturation_factor=[0.2, 0.8]),
        named("training>PCAColour"),
    ],
}
if ON_JAX:
    del SUPPORTED["elastic"], SUPPORTED["many"]  # the one is refused, the other takes XLA half a minute
    del SUPPORTED["places"][4:]  # are like those before, and take it long
EACH = [described for group in SUPPORTED.values() for described in group]
if ON_JAX:  # where each would be compiled operation by operation
    EACH = [SUPPORTED["places"][0], *SUPPORTED["ours"]]


@pytest.fixture(scope="module")
def samples():
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (12, SIZE, SIZE, 3), "uint8"), np.arange(12, dtype="int32") % 3


def made(described, samples):
    """A trainer with augmentation layers and always the same initial weights."""
    keras.utils.set_random_seed(1)
    image = keras.Input((SIZE, SIZE, 3))
    net = keras.Model(image, keras.layers.Dense(3, name="scores")(keras.layers.Flatten()(image)), name="tiny")
    image = {"height": SIZE, "width": SIZE, "channels": 3, "resize": "stretch"}
    classifier = Classifier(net, Preprocessing(1 / 255), image, ("a", "b", "c"), "linear")
    layers = keras_objects.augmentation(described, seed=3)
    for layer in layers:
        if hasattr(layer, "adapt"):
            layer.adapt(samples[0])
    trainer = fused_steps.make(classifier, layers, *samples, 4)
    trainer.prepare(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True), 2)
    return trainer


def run(trainer, epoch):
    feed = trainer.train_dataset(5, epoch)
    trainer.fit(feed, steps_per_epoch=trainer.steps_per_epoch, epochs=1, shuffle=False, verbose=0)


def state(trainer):
    return [*trainer.variables, *trainer.optimizer.variables]


@pytest.mark.parametrize("group", SUPPORTED)
def test_a_resumed_run_is_bit_identical_and_the_layers_are_not_exported(group, samples, tmp_path):
    described = SUPPORTED[group]
    trainer = made(described, samples)
    run(trainer, 0)
    checkpoint.save(tmp_path / "last.npz", state(trainer), {})
    between = [keras.ops.convert_to_numpy(variable).copy() for variable in trainer.variables]
    run(trainer, 1)
    moved = [
        variable.path for variable, old in zip(trainer.variables, between, strict=True) if not np.array_equal(variable, old)
    ]
    assert sum("seed_generator" in path for path in moved) >= len(described)  # each layer has drawn, and from a variable
    assert "scores/kernel" in moved

    random.seed(99)  # whatever draws from outside of the checkpoint draws other numbers now
    np.random.seed(98)
    resumed = made(described, samples)
    checkpoint.restore(tmp_path / "last.npz", state(resumed))
    keras.utils.set_random_seed(97)
    run(resumed, 1)
    for one, other in zip(state(resumed), state(trainer), strict=True):
        np.testing.assert_array_equal(one, other)

    trainer.classifier.save(tmp_path / "best.keras")
    leaving = keras.models.load_model(tmp_path / "best.keras")
    kinds = {type(layer) for layer in leaving._flatten_layers()}
    assert not kinds & {type(layer) for layer in trainer.augmentation}
    assert not any(kind.__module__.startswith("training") for kind in kinds)
    assert len(leaving.weights) == 2


@pytest.mark.parametrize("described", EACH, ids=lambda each: each.class_name)
def test_seeds_change_the_result_and_pixels_stay_in_range(described, samples):
    images, _ = samples
    seeds = []
    for seed in (3, 3, 8):
        layers = keras_objects.augmentation([described], seed)
        if hasattr(layers[0], "adapt"):
            layers[0].adapt(images)
        seeds.append(np.stack(augmented_batches(layers, images, count=3)))
    first, again, other = seeds
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (3, *images.shape) and np.isfinite(first).all()
    if described.class_name != "training>PCAColour":  # the paper adds without a limit
        assert first.min() >= -1e-3 and first.max() <= 255 + 1e-3


@pytest.mark.parametrize(
    ("described", "words"),
    [
        (named("AugMix"), "Python's random"),
        (named("MixUp"), "mixes labels"),
        (named("CutMix"), "mixes labels"),
        (named("RandomCrop", height=8, width=8), "training>RandomCrop cuts"),
        (named("RandomSaturation", factor=0.5), "training>ColourJitter"),
        (named("RandomColorJitter"), "training>ColourJitter"),
        (named("Equalization"), "draws nothing at random"),
        (named("Resizing", height=8, width=8), "draws nothing at random"),
        (
            named("RandomBrightness", factor=0.2, value_range=[0, 1]),
            r"value_range = \[0, 1\], but images are raw 0-255",
        ),
        (named("RandomFlip", data_format="channels_first"), "channels_first, but"),
        (named("RandomFlop"), "know no layer of that name; did you mean 'RandomFlip'"),
        (named("training>RandomCorp", size=8), "did you mean 'training>RandomCrop'"),
        (named("RandomFlip", mode="sideways"), "none of horizontal, vertical, horizontal_and_vertical"),
    ],
    ids=lambda each: getattr(each, "class_name", None),
)
def test_unsuitable_layers_are_refused_by_name(described, words):
    with pytest.raises(ZooError, match=words) as error:
        keras_objects.augmentation([described], seed=1)
    assert described.class_name in str(error.value)


def test_flipped_and_unflipped_images_are_equally_frequent(samples):
    images, _ = samples
    (layer,) = keras_objects.augmentation([named("RandomFlip", mode="horizontal")], seed=1)
    mirrored = [
        [np.array_equal(image, plain[:, ::-1]) for image, plain in zip(batch, images, strict=True)]
        for batch in augmented_batches([layer], images, count=40)
    ]
    kept = [
        [np.array_equal(image, plain) for image, plain in zip(batch, images, strict=True)]
        for batch in augmented_batches([layer], images, count=40)
    ]
    assert (np.array(mirrored) ^ np.array(kept)).all()
    assert abs(np.mean(mirrored) - 0.5) < 4 * 0.5 / np.sqrt(np.size(mirrored))


@pytest.mark.parametrize("name", presets.names())
def test_presets_change_images_and_light_does_not_mirror(name, samples):
    images, _ = samples
    described = [KerasObject(**each) for each in presets.get(name)]
    made = augmented_batches(keras_objects.augmentation(described, seed=1), images, count=1)
    assert bool(made) == (name != "none")
    assert all(batch.shape == images.shape and not np.array_equal(batch, images) for batch in made)
    assert ("RandomFlip" in {each.class_name for each in described}) == (name == "photos")


def test_an_unknown_preset_is_refused_with_a_suggestion():
    with pytest.raises(ZooError, match="no augmentation 'fotos'; did you mean 'photos'"):
        presets.get("fotos")
