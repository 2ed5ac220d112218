"""What a person is told to type."""

import os
import shlex

from .files import ENGINE, FOLDER


def told(script, *words, engine=ENGINE, cpu=False):
    """Return what to type for another script of this bundle, from the folder where the person is.

    Args:
        words: files of the bundle, such as "samples/0.png", and options.
        engine, cpu: as they were given to this script.
    """
    typed = ["python3", _from_here(script)]
    typed += [_from_here(word) if "/" in word else word for word in words]
    if cpu:
        typed.append("--cpu")
    elif os.path.abspath(engine) != ENGINE:
        typed += ["--engine", engine]
    return " ".join(map(shlex.quote, typed))


def _from_here(name):
    return os.path.relpath(os.path.join(FOLDER, name))
