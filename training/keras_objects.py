"""From a recipe's class_name and config to the Keras object, with errors that a person can act on."""

import inspect

import keras

import training.augment
import training.schedules  # noqa: F401  both register what a recipe may name
import zoo.layers
import zoo.losses
import zoo.optimizers  # noqa: F401  likewise
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
        # Keras wraps the reason, which is what helps, in a page about deserialization.
        reason = str(error).partition("Exception encountered:")[2] or str(error)
        reason = reason.strip().splitlines()[0]
        raise ZooError(f"{what} {described.class_name} with {described.config}: {reason}") from error
    if isinstance(made, str):  # Keras gives an unknown name without arguments back as it is
        raise ZooError(f"{what} {described.class_name}: Keras and the zoo know none of that name")
    return made
