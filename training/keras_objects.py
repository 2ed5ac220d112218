"""From a recipe's class_name and config to the Keras object, with errors that a person can act on."""

import inspect

import keras

import training.augment  # noqa: F401  registers its layers
import zoo.layers
import zoo.losses  # noqa: F401  registers its losses
from zoo import rules
from zoo.errors import ZooError
from zoo.schema import KerasObject


def loss(described):
    """Return the Keras loss of a `KerasObject`."""
    return _make(described, keras.losses.deserialize, "loss")


def rule(described):
    """Return the `zoo.rules.Rule` of a `KerasObject`."""
    return _make(described, rules.get, "rule")


def augmentation(described, seed):
    """Return the Keras layers of a list of `KerasObject`, each with a seed of its own that follows from `seed`."""
    return [
        _make(
            KerasObject(class_name=each.class_name, config={"seed": seed + 1 + number, **each.config}),
            _layer,
            "augmentation",
        )
        for number, each in enumerate(described)
    ]


def optimizer(described, steps):
    """Return the Keras optimizer of a `KerasObject`.

    Args:
        described: `KerasObject`. A schedule in it that has to know its length and is not told `decay_steps` gets the whole
            run, less its `warmup_steps`.
        steps: optimizer steps of the whole run.
    """
    config = dict(described.config)
    schedule = config.get("learning_rate")
    if isinstance(schedule, dict):
        settings = dict(schedule.get("config", {}))
        kind = getattr(keras.optimizers.schedules, schedule.get("class_name", ""), None)
        if kind is None or "decay_steps" in inspect.signature(kind).parameters:
            settings.setdefault("decay_steps", max(1, steps - settings.get("warmup_steps", 0)))
        described_schedule = KerasObject(class_name=schedule.get("class_name", ""), config=settings)
        made = _make(described_schedule, keras.optimizers.schedules.deserialize, "schedule")
        config["learning_rate"] = keras.saving.serialize_keras_object(made)
    return _make(KerasObject(class_name=described.class_name, config=config), keras.optimizers.deserialize, "optimizer")


def _layer(config):
    """Deserialize a layer of Keras, which is written without a package, or a registered one."""
    module = {} if ">" in config["class_name"] else {"module": "keras.layers"}
    return keras.layers.deserialize({**config, **module})


def _make(described, deserialize, what):
    """Deserialize, and turn Keras' several errors for wrong names and arguments into one."""
    try:
        made = deserialize({"class_name": described.class_name, "config": dict(described.config)})
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        # Keras wraps the reason, which is what helps, in a page about deserialization.
        reason = str(error).partition("Exception encountered:")[2] or str(error)
        reason = reason.strip().splitlines()[0]
        raise ZooError(f"{what} {described.class_name} with {described.config}: {reason}") from error
    if isinstance(made, str):  # Keras gives an unknown name without arguments back as it is
        raise ZooError(f"{what} {described.class_name}: Keras and the zoo know none of that name")
    return made
