"""Named sets of augmentation layers; they are defined in presets.toml."""

from importlib import resources

from zoo.errors import ZooError, did_you_mean
from zoo.files import read_toml

NONE = "none"


def names() -> list[str]:
    """Return the names of the presets."""
    return [NONE, *_presets()]


def get(name: str) -> list[dict]:
    """Return the layers of a preset, as the [[augmentation]] tables of a recipe: dicts with class_name and config.

    Raises:
        ZooError: if there is no such preset; it suggests the nearest name.
    """
    if name not in names():
        raise ZooError(f"no augmentation '{name}'{did_you_mean(name, names())} Expected {', '.join(names())}")
    return _presets().get(name, [])


def describe(layers: list[dict]) -> str:
    """Return the layers and their arguments as text, or "" if there are none.

    Args:
        layers: the [[augmentation]] tables of a recipe.
    """
    return ", ".join(
        f"{layer['class_name'].rpartition('>')[2]}({', '.join(f'{key}={value}' for key, value in layer['config'].items())})"
        for layer in layers
    )


def preset_name(layers: list[dict]) -> str:
    """Return the name of the preset with these layers, or their description if there is none.

    Args:
        layers: the [[augmentation]] tables of a recipe.
    """
    return next((name for name in names() if get(name) == layers), describe(layers))


def _presets():
    text = resources.files("training.augmentation").joinpath("presets.toml").read_text("utf-8")
    return read_toml(text, "presets.toml")
