"""Keras objects from the class_name and config of a recipe, with errors that name the mistake."""

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

import keras

import training.augmentation.layers
import training.schedules  # noqa: F401  both register objects that a recipe can name
import zoo.layers
import zoo.losses
import zoo.optimizers  # noqa: F401  likewise
from zoo import rules
from zoo.errors import ZooError, did_you_mean
from zoo.schema import KerasObject

# Layers of Keras that cannot be used under [[augmentation]], and why.
REFUSED = {
    "AugMix": "it draws from Python's random once for the whole run, which neither the seed nor a checkpoint controls; "
    "use RandAugment",
    "CutMix": "it mixes labels with the images, and augmentation gets images only",
    "MixUp": "it mixes labels with the images, and augmentation gets images only",
    "RandomSaturation": "its pixels can be below 0; training>ColourJitter with a saturation_factor stays within 0-255",
    "RandomColorJitter": "its pixels can be below 0; use training>ColourJitter, which is the same but stays within 0-255",
    "RandomCrop": "it crops all images of a batch at the same place, and gets them in the size that the model takes; "
    "training>RandomCrop cuts each out of a larger image, at a place of its own",
}
REFUSED_ON_JAX = {"RandomElasticTransform": "it draws the size of its smoothing kernel, which JAX must know in advance"}
FLIPS = ("horizontal", "vertical", "horizontal_and_vertical")
# The format of the images, which the config of a layer cannot change.
IMAGE_FORMAT = {"value_range": [0, 255], "data_format": "channels_last"}


def loss(described: KerasObject) -> keras.losses.Loss:
    """Return the Keras loss of a `KerasObject`."""
    return _make(described, keras.losses.deserialize, "loss")


def rule(described: KerasObject) -> rules.Rule:
    """Return the `zoo.rules.Rule` of a `KerasObject`."""
    return _make(described, rules.get, "rule")


def augmentation(described: Iterable[KerasObject], seed: int) -> list[keras.layers.Layer]:
    """Return the Keras layers of an augmentation.

    Args:
        described: `KerasObject` of each layer.
        seed: random seed of the run. Each layer gets a seed derived from it.

    Raises:
        ZooError: if a layer does not exist, or cannot augment raw images such that a resumed run is bit-identical.
    """
    return [_augmentation_layer(each, seed + 1 + number) for number, each in enumerate(described)]


def _augmentation_layer(described, seed):
    """Return a layer of an augmentation. Raise `ZooError` if it cannot be one."""
    name, kind = described.class_name, _class_of(described.class_name)
    refused = REFUSED | (REFUSED_ON_JAX if keras.backend.backend() == "jax" else {})
    if name in refused:
        raise ZooError(f"augmentation {name}: {refused[name]}")
    if kind is None:
        ours = [each for each in keras.saving.get_custom_objects() if each.startswith("training>")]
        near = did_you_mean(name, [*ours, *dir(keras.layers)])
        raise ZooError(f"augmentation {name}: Keras and the zoo know no layer of that name{near}")
    if "seed" not in inspect.signature(kind).parameters:
        raise ZooError(
            f"augmentation {name}: it draws nothing at random, so the model would be trained on other images than it is "
            "evaluated on; a step for every image is preprocessing"
        )
    for key, value in IMAGE_FORMAT.items():
        if key in described.config and described.config[key] != value:
            raise ZooError(
                f"augmentation {name}: {key} = {described.config[key]}, but images are raw 0-255 pixels, channels last; "
                f"remove {key}"
            )
    if name == "RandomFlip" and described.config.get("mode", FLIPS[0]) not in FLIPS:  # Keras would flip nothing
        raise ZooError(f"augmentation {name}: mode = '{described.config['mode']}' is none of {', '.join(FLIPS)}")
    config = {"seed": seed, **described.config}
    return _make(KerasObject(class_name=name, config=config), _layer, "augmentation")


def _class_of(name):
    """Return the class of a Keras layer or a registered layer, or None if there is no such layer."""
    return keras.saving.get_registered_object(name) if ">" in name else getattr(keras.layers, name, None)


def optimizer(described: KerasObject, steps: int, epochs: int = 1) -> keras.optimizers.Optimizer:
    """Return the Keras optimizer of a `KerasObject`.

    Its schedules, of the whole model or of a layer in `rates`, get the length of the run: the default of `decay_steps` is
    the number of steps of the run without `warmup_steps`, and that of `steps_per_epoch` is `steps`.

    Args:
        described: `KerasObject`.
        steps: optimizer steps per epoch.
        epochs: number of epochs of the run.
    """
    config = dict(described.config)
    if isinstance(config.get("learning_rate"), dict):
        config["learning_rate"] = _schedule(config["learning_rate"], steps, epochs)
    if isinstance(config.get("rates"), dict):
        config["rates"] = {
            layer: _schedule(rate, steps, epochs) if isinstance(rate, dict) else rate
            for layer, rate in config["rates"].items()
        }
    return _make(described, lambda each: keras.optimizers.deserialize({**each, "config": config}), "optimizer")


def _schedule(described, steps, epochs):
    """Return a schedule, with the length of the run as its default length."""
    name, settings = described.get("class_name", ""), dict(described.get("config", {}))
    kind = getattr(keras.optimizers.schedules, name, None) or keras.saving.get_registered_object(name)
    accepted = inspect.signature(kind).parameters if kind else ()
    if "decay_steps" in accepted:
        settings.setdefault("decay_steps", max(1, steps * epochs - settings.get("warmup_steps", 0)))
    if "steps_per_epoch" in accepted:
        settings.setdefault("steps_per_epoch", steps)
    return _make(KerasObject(class_name=name, config=settings), keras.optimizers.schedules.deserialize, "schedule")


def _layer(config):
    """Deserialize a Keras layer, whose class_name has no package, or a registered layer."""
    module = {} if ">" in config["class_name"] else {"module": "keras.layers"}
    return keras.layers.deserialize({**config, **module})


def _make(described: KerasObject, deserialize: Callable[[dict], Any], kind: str) -> Any:
    """Deserialize an object. Raise `ZooError` for the several errors of Keras for wrong names and arguments."""
    try:
        made = deserialize({"class_name": described.class_name, "config": dict(described.config)})
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ZooError(f"{kind} {described.class_name} with {described.config}: {reason(error)}") from error
    if isinstance(made, str):  # Keras returns an unknown name without arguments unchanged
        raise ZooError(f"{kind} {described.class_name}: Keras and the zoo know none of that name")
    return made


def reason(error: Exception) -> str:
    """Return the line of a Keras error that names the reason. Keras wraps it in a page of context."""
    words = str(error).rpartition("Exception encountered:")[2]
    if inside := re.search(r"\x1b\[1m(.*?)\x1b\[0m", words, re.DOTALL):
        words = inside[1]
    lines = re.sub(r"\{\{.*?\}\}", "", words).strip().splitlines() or [type(error).__name__]
    return lines[0]
