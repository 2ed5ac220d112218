"""Lists of classes that several weights share, in the order of the classifier's outputs.

A line is the name of a class, such as `7`, or a WordNet id followed by the names of a class: `n01440764 tench, Tinca tinca`.
"""

import functools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib import resources

from zoo.errors import ZooError, did_you_mean

FEW = 50  # classes that a message lists; of more it states the number
LINE = re.compile(r"(?:(n\d{8}) )?(.+)")


def available() -> list[str]:
    """Return the names of the packaged lists, sorted."""
    files = resources.files("zoo.classes").iterdir()
    return sorted(file.name.removesuffix(".txt") for file in files if file.name.endswith(".txt"))


def check(name: str) -> None:
    """Check the name of a list.

    Raises:
        ValueError: if there is no such list; the message has the nearest names.
    """
    if name not in available():
        raise ValueError(
            f"no list of classes '{name}'{did_you_mean(name, available())} The lists are: {', '.join(available())}"
        )


def names(name: str) -> tuple[str, ...]:
    """Return the class names of a list, all different.

    The name of a class is the first of its line. If several classes share it, their ids follow in parentheses.
    """
    rows = _rows(name)
    first = [words.partition(",")[0] for _, words in rows]
    count = Counter(first)
    found = tuple(
        each if count[each] == 1 else f"{each} ({identity})" for each, (identity, _) in zip(first, rows, strict=True)
    )
    if len(set(found)) != len(found):
        raise ZooError(f"zoo/classes/{name}.txt has two lines for the same class")
    return found


def ids(name: str) -> tuple[str, ...] | None:
    """Return the WordNet ids of the classes of a list, such as n01440764; None if the list has names only."""
    found = tuple(identity for identity, _ in _rows(name))
    return None if None in found else found


def matching(class_names: list[str]) -> str | None:
    """Return the name of the list with exactly these class names, or None."""
    return next((name for name in available() if names(name) == tuple(class_names)), None)


def indices(names: Iterable[str], class_names: Sequence[str], class_ids: Sequence[str] | None = None) -> list[int]:
    """Return the index of each class of a data set among the classes of a classifier.

    Args:
        names: names or ids of the classes of the data set.
        class_names: names of the classes of the classifier, in the order of its outputs.
        class_ids: their ids, such as "n01440764", or None.

    Raises:
        ZooError: if a class is not one of the classifier's, with the nearest names.
    """
    index = {name: place for known in (class_ids or (), class_names) for place, name in enumerate(known)}
    for name in names:
        if name not in index:
            has = ", ".join(class_names) if len(class_names) <= FEW else f"{len(class_names):,} classes"
            raise ZooError(f"the data have a class '{name}' that the model lacks{did_you_mean(name, index)} It has {has}")
    return [index[name] for name in names]


@functools.cache
def _rows(name: str) -> list[tuple[str | None, str]]:
    """Return (id or None, names) for each line of a list."""
    text = resources.files("zoo.classes").joinpath(f"{name}.txt").read_text("utf-8")
    return [LINE.fullmatch(line).groups() for line in text.splitlines()]
