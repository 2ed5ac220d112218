"""Sets of augmentation layers that go by a name, for who wants none of the choosing: augmentations.toml."""

from importlib import resources

from zoo.errors import ZooError, did_you_mean
from zoo.files import read_toml

NONE = "none"


def names():
    """Return the names that `get` takes."""
    return [NONE, *_sets()]


def get(name):
    """Return a set as a recipe's [[augmentation]]: a list of dicts with class_name and config; of "none" an empty one.

    Raises:
        ZooError: if there is no such set; with the nearest name.
    """
    if name not in names():
        raise ZooError(f"no augmentation '{name}'{did_you_mean(name, names())} There are {', '.join(names())}")
    return _sets().get(name, [])


def described(layers):
    """Return a recipe's [[augmentation]], a list of dicts, in words: the layers with their amounts, or "" for none."""
    return ", ".join(
        f"{each['class_name'].rpartition('>')[2]}({', '.join(f'{key}={value}' for key, value in each['config'].items())})"
        for each in layers
    )


def named(layers):
    """Return a recipe's [[augmentation]] by the name of the set that it is, in words where it is none of them."""
    return next((name for name in names() if get(name) == layers), described(layers))


def _sets():
    text = resources.files("training.augmentation").joinpath("presets.toml").read_text("utf-8")
    return read_toml(text, "augmentations.toml")
