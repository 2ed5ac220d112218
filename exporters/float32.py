"""Models with a policy of half precision, rebuilt to compute in float32 with the same weights.

Runtimes round half precision in other ways than Keras does, so a file of the half-precision graph would not compute what the
model computes. `zoo quantize` and the bundles for boards make float16 of a float32 file.
"""

from typing import Any

import keras

from zoo.classifier import Classifier
from zoo.errors import ZooError

POLICIES = ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16")


def policy_of(model: keras.Model) -> str | None:
    """Return the name of the first policy of half precision in a model, or None."""
    return next((name for each in model._flatten_layers() if (name := each.dtype_policy.name) in POLICIES), None)


def in_float32(model: keras.Model) -> keras.Model:
    """Return a copy of a model that computes in float32, with the same weights.

    Raises:
        ZooError: if the model cannot be copied.
    """
    if isinstance(model, Classifier):
        config = {"class_names": model.class_names, "class_ids": model.class_ids, "card": model.card}
        config |= {"weights": model.weights_name, "options": model.options, "name": model.name}
        return Classifier(in_float32(model.net), _copy(model.preprocessing), model.image_spec, **config)
    try:
        copy = keras.models.clone_model(model, clone_function=_copy)
        copy.set_weights([keras.ops.convert_to_numpy(keras.ops.cast(each, "float32")) for each in model.weights])
        return copy
    except Exception as error:  # whatever a layer of the user raises
        advice = "build it under keras.config.set_dtype_policy('float32'), load its weights and export that model"
        reason = f"computes in {policy_of(model)} and cannot be rebuilt in float32 ({type(error).__name__})"
        raise ZooError(f"{model.name} {reason}; {advice}") from error


def _copy(layer):
    """Return a layer of the same configuration that computes in float32."""
    if isinstance(layer, keras.layers.InputLayer):
        return layer
    return type(layer).from_config(_without_half(layer.get_config()))


def _without_half(config: Any) -> Any:
    """Return a configuration, also of layers within it, with float32 in place of each policy of half precision."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy" and config["config"].get("name") in POLICIES:
            return "float32"
        return {
            key: "float32" if key == "dtype" and value in POLICIES else _without_half(value) for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return type(config)(_without_half(each) for each in config)
    return config
