"""Data that are drawn instead of collected: letters from fonts, figures, the truth tables of 1986.

A data set is a module here with a function `make(picture)` that returns a `training.data.Source`; the same one every time.
In recipes and commands its name is "drawn:" and the module's.
"""

import importlib
import pkgutil

from zoo.errors import ZooError, did_you_mean

PREFIX = "drawn:"


def names():
    """Return the names of all drawn data sets, sorted; a module that begins with "_" is what several share."""
    modules = [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
    return sorted(PREFIX + name.replace("_", "-") for name in modules)


def load(name, picture):
    """Draw a data set.

    Args:
        name: such as "drawn:letters".
        picture: dict of height, width, channels and resize, as a card's [picture].

    Returns:
        `training.data.Source`.

    Raises:
        ZooError: if there is no such data set, or it is not drawn in this size.
    """
    if name not in names():
        raise ZooError(f"no data set '{name}'{did_you_mean(name, names())} Drawn are {', '.join(names())}")
    module = importlib.import_module(f"{__name__}.{name.removeprefix(PREFIX).replace('-', '_')}")
    return module.make(picture)
