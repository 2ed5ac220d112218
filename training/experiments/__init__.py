"""Experiments that reproduce published results beyond one training run, such as success rates over many random seeds.

An experiment is a module with a function `run(out, seeds)`. It prints a table of measured and published values, writes
result.json and a figure to the folder `out`, and returns the values.
"""

import ast
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from zoo.errors import ZooError, did_you_mean


def names() -> list[str]:
    """Return the names of all experiments, sorted."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def summary(name: str) -> str:
    """Return the first line of the docstring of an experiment, without importing it."""
    source = Path(__path__[0], f"{name.replace('-', '_')}.py").read_text("utf-8")
    return ast.get_docstring(ast.parse(source)).splitlines()[0]


def check(name: str) -> None:
    """Raise `ZooError` if there is no experiment with this name."""
    if name not in names():
        raise ZooError(f"no experiment '{name}'{did_you_mean(name, names())} Expected {', '.join(names())}")


def load(name: str) -> ModuleType:
    """Return the module of an experiment.

    Raises:
        ZooError: if there is no experiment with this name.
    """
    check(name)
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
