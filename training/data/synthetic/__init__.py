"""Synthetic data sets: letters drawn from fonts, squares and circles, and the truth tables of 1986.

Each data set is a module with a function `make(image_spec)` that returns a `training.data.samples.Source`, always the same.
Its name in recipes and commands is "drawn:" followed by the name of the module.
"""

import importlib
import pkgutil

from training.data.samples import Source
from zoo.errors import ZooError, did_you_mean

PREFIX = "drawn:"


def names() -> list[str]:
    """Return the sorted names of all synthetic data sets. Modules whose name begins with "_" are shared code."""
    modules = [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
    return sorted(PREFIX + name.replace("_", "-") for name in modules)


def load(name: str, image_spec: dict) -> Source:
    """Draw a data set.

    Args:
        name: such as "drawn:letters".
        image_spec: height, width, channels and resize, as in the [picture] table of a card.

    Returns:
        `training.data.samples.Source`.

    Raises:
        ZooError: if there is no such data set, or it has images of another size.
    """
    if name not in names():
        raise ZooError(f"no data set '{name}'{did_you_mean(name, names())} Synthetic data sets: {', '.join(names())}")
    module = importlib.import_module(f"{__name__}.{name.removeprefix(PREFIX).replace('-', '_')}")
    return module.make(image_spec)
