"""From a recipe's class_name and config to the Keras object, with errors that a person can act on."""

import inspect
import re

import keras

import training.augmentation.layers
import training.schedules  # noqa: F401  both register what a recipe may name
import zoo.layers
import zoo.losses
import zoo.optimizers  # noqa: F401  likewise
from zoo import rules
from zoo.errors import ZooError, did_you_mean
from zoo.schema import KerasObject

# Layers of Keras that may not stand under [[augmentation]], and why.
REFUSED = {
    "AugMix": "it chooses with Python's random, once for the whole run, so that no seed decides and no checkpoint keeps it; "
    "RandAugment is like it",
    "CutMix": "it mixes labels with the pictures, and is shown the pictures alone",
    "MixUp": "it mixes labels with the pictures, and is shown the pictures alone",
    "RandomSaturation": "its pixels may fall below 0; training>ColourJitter with a saturation_factor keeps within 0-255",
    "RandomColorJitter": "its pixels may fall below 0; training>ColourJitter is the same within 0-255",
    "RandomCrop": "it cuts all pictures of a batch at the same place, and is shown them in the size that the net takes; "
    "training>RandomCrop cuts each out of a larger one, at a place of its own",
}
REFUSED_ON_JAX = {"RandomElasticTransform": "it smooths by an amount that JAX has to know before it is drawn"}
FLIPS = ("horizontal", "vertical", "horizontal_and_vertical")
# What the pictures are here, whatever a layer is told.
PICTURES = {"value_range": [0, 255], "data_format": "channels_last"}


def loss(described):
    """Return the Keras loss of a `KerasObject`."""
    return _make(described, keras.losses.deserialize, "loss")


def rule(described):
    """Return the `zoo.rules.Rule` of a `KerasObject`."""
    return _make(described, rules.get, "rule")


def augmentation(described, seed):
    """Return the Keras layers of a list of `KerasObject`, each with a seed of its own that follows from `seed`.

    Raises:
        ZooError: if a layer is none, or one that cannot distort raw pictures in training so that a resumed run goes on to
            the bit.
    """
    return [_distorting(each, seed + 1 + number) for number, each in enumerate(described)]


def _distorting(described, seed):
    """Return a layer of augmentation, unless it can be none."""
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
            f"augmentation {name}: it draws nothing at random, and the net would learn from other pictures than it is asked "
            "about later; what is done to each picture is preprocessing"
        )
    for key, value in PICTURES.items():
        if key in described.config and described.config[key] != value:
            raise ZooError(
                f"augmentation {name}: {key} = {described.config[key]}, but pictures are raw 0-255 pixels, channels last; "
                f"leave {key} out"
            )
    if name == "RandomFlip" and described.config.get("mode", FLIPS[0]) not in FLIPS:  # Keras would flip nothing
        raise ZooError(f"augmentation {name}: mode = '{described.config['mode']}' is none of {', '.join(FLIPS)}")
    config = {"seed": seed, **described.config}
    return _make(KerasObject(class_name=name, config=config), _layer, "augmentation")


def _class_of(name):
    """Return the class of a layer of Keras, or of a registered one, None where there is no such layer."""
    return keras.saving.get_registered_object(name) if ">" in name else getattr(keras.layers, name, None)


def optimizer(described, steps, epochs=1):
    """Return the Keras optimizer of a `KerasObject`.

    Args:
        described: `KerasObject`. A schedule in it, of the whole net or of a layer in `rates`, that has to know its length
            and is not told `decay_steps` gets the whole run, less its `warmup_steps`; one that counts epochs and is not
            told `steps_per_epoch` gets that.
        steps: optimizer steps of an epoch.
        epochs: of the whole run.
    """
    config = dict(described.config)
    if isinstance(config.get("learning_rate"), dict):
        config["learning_rate"] = _schedule(config["learning_rate"], steps, epochs)
    if isinstance(config.get("rates"), dict):
        config["rates"] = {
            layer: _schedule(rate, steps, epochs) if isinstance(rate, dict) else rate
            for layer, rate in config["rates"].items()
        }
    return _make(KerasObject(class_name=described.class_name, config=config), keras.optimizers.deserialize, "optimizer")


def _schedule(described, steps, epochs):
    """Return the configuration, as Keras writes it, of a schedule that knows how long it has."""
    name, settings = described.get("class_name", ""), dict(described.get("config", {}))
    kind = getattr(keras.optimizers.schedules, name, None) or keras.saving.get_registered_object(name)
    asked = inspect.signature(kind).parameters if kind else ()
    if "decay_steps" in asked:
        settings.setdefault("decay_steps", max(1, steps * epochs - settings.get("warmup_steps", 0)))
    if "steps_per_epoch" in asked:
        settings.setdefault("steps_per_epoch", steps)
    made = _make(KerasObject(class_name=name, config=settings), keras.optimizers.schedules.deserialize, "schedule")
    return keras.saving.serialize_keras_object(made)


def _layer(config):
    """Deserialize a layer of Keras, which is written without a package, or a registered one."""
    module = {} if ">" in config["class_name"] else {"module": "keras.layers"}
    return keras.layers.deserialize({**config, **module})


def _make(described, deserialize, what):
    """Deserialize, and turn Keras' several errors for wrong names and arguments into one."""
    try:
        made = deserialize({"class_name": described.class_name, "config": dict(described.config)})
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ZooError(f"{what} {described.class_name} with {described.config}: {reason(error)}") from error
    if isinstance(made, str):  # Keras gives an unknown name without arguments back as it is
        raise ZooError(f"{what} {described.class_name}: Keras and the zoo know none of that name")
    return made


def reason(error):
    """Return the line of an error of Keras that helps; Keras wraps it in a page about what it was doing."""
    words = str(error).rpartition("Exception encountered:")[2]
    if inside := re.search(r"\x1b\[1m(.*?)\x1b\[0m", words, re.DOTALL):
        words = inside[1]
    lines = re.sub(r"\{\{.*?\}\}", "", words).strip().splitlines() or [type(error).__name__]
    return lines[0]
