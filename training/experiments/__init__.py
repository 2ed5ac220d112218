"""What is re-obtained but is not one training run: success rates over many starts, responses by shift, starting weights.

An experiment is a module here with a function `run(out, seeds)`: it prints its table, measured beside published, draws its
figure into the folder `out` and returns the numbers.
"""

import ast
import importlib
import pkgutil
from pathlib import Path

from zoo.errors import ZooError, did_you_mean


def names():
    """Return the names of all experiments, sorted."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def summary(name):
    """Return the first line of an experiment's docstring, without importing it."""
    source = Path(__path__[0], f"{name.replace('-', '_')}.py").read_text("utf-8")
    return ast.get_docstring(ast.parse(source)).splitlines()[0]


def check(name):
    """Raise `ZooError` if there is no experiment of that name."""
    if name not in names():
        raise ZooError(f"no experiment '{name}'{did_you_mean(name, names())} There are {', '.join(names())}")


def load(name):
    """Return the module of an experiment.

    Raises:
        ZooError: if there is none of that name.
    """
    check(name)
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
