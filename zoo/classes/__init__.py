"""Lists of classes that data sets of the world share, in the order that nets trained on them answer in.

A line of a list is an id and the class's names: `n01440764 tench, Tinca tinca`.
"""

import functools
from collections import Counter
from importlib import resources

from zoo.errors import ZooError, did_you_mean


def available():
    """Return the names of the packaged lists."""
    files = resources.files("zoo.classes").iterdir()
    return sorted(file.name.removesuffix(".txt") for file in files if file.name.endswith(".txt"))


def check(name):
    """Raise `ValueError` if there is no such list, with the nearest."""
    if name not in available():
        raise ValueError(f"no list of classes '{name}'{did_you_mean(name, available())} There are: {', '.join(available())}")


def names(name):
    """Return one name a class, no two alike: the first of the line, with the id behind it where two classes share it."""
    rows = _rows(name)
    first = [words.partition(",")[0] for _, words in rows]
    count = Counter(first)
    found = tuple(
        each if count[each] == 1 else f"{each} ({identity})" for each, (identity, _) in zip(first, rows, strict=True)
    )
    if len(set(found)) != len(found):
        raise ZooError(f"zoo/classes/{name}.txt has two lines that name the same class")
    return found


def ids(name):
    """Return one id a class, such as n01440764."""
    return tuple(identity for identity, _ in _rows(name))


@functools.cache
def _rows(name):
    text = resources.files("zoo.classes").joinpath(f"{name}.txt").read_text("utf-8")
    return [tuple(line.split(" ", 1)) for line in text.splitlines()]
