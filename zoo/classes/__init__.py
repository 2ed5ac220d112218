"""Lists of classes that several weights share, in the order of the classifier's outputs.

A line is the name of a class, such as `7`, or a WordNet id followed by the names of a class: `n01440764 tench, Tinca tinca`.
"""

import functools
import re
from collections import Counter
from importlib import resources

from zoo.errors import ZooError, did_you_mean

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


@functools.cache
def _rows(name: str) -> list[tuple[str | None, str]]:
    """Return (id or None, names) for each line of a list."""
    text = resources.files("zoo.classes").joinpath(f"{name}.txt").read_text("utf-8")
    return [LINE.fullmatch(line).groups() for line in text.splitlines()]
