"""The cards: one TOML file per model, checked against `zoo.schema.Card`.

Other packages can bring models too. Such a package has the folders of this one and names itself in the entry-point group
`zoo.cards`:

    mynets/models.py                   a builder, such as tiny(classes=10), and the layers that it needs
    mynets/cards/tiny.toml             the card, with builder = "mynets.models:tiny"
    mynets/pretrained/tiny.a.h5        a weight file that the card names

    [project.entry-points."zoo.cards"]
    mynets = "mynets"

`zoo list` imports the package `mynets`, so its `__init__.py` must not import Keras.
"""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import entry_points

from zoo.errors import ZooError
from zoo.files import read_toml

REQUIRED = {"name", "title", "year", "parameters", "summary"}
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")  # a dot separates the name of an architecture from that of its weights


@dataclass(frozen=True)
class Source:
    """A package with cards.

    Attributes:
        package: importable name, such as "mynets".
        distribution: name under which pip knows it, such as "my-nets".
    """

    package: str
    distribution: str

    def cards(self) -> Iterator[tuple[str, dict]]:
        """Yield (description for messages, card as a dict) for each card.

        Raises:
            ZooError: if the package cannot be imported or has no cards, or if a card is not valid TOML or lacks a key.
        """
        own = self.package == "zoo"
        try:
            folder = resources.files(self.package).joinpath("cards")
            files = sorted((each for each in folder.iterdir() if each.name.endswith(".toml")), key=lambda each: each.name)
        except ImportError as error:
            raise ZooError(
                f"{self.distribution} has models for the zoo in the package {self.package}, which cannot be imported "
                f"({error}); fix or remove it: pip uninstall {self.distribution}"
            ) from error
        except OSError as error:
            raise ZooError(
                f"{self.distribution} has no folder {self.package}/cards; fix or remove it: "
                f"pip uninstall {self.distribution}"
            ) from error
        for file in files:
            source = f"card {file.name}" if own else f"card {file.name} of {self.distribution}"
            try:
                card = read_toml(file.read_text("utf-8"), source)
            except UnicodeDecodeError as error:
                raise ZooError(f"{source} is not UTF-8: {error}") from error
            if missing := REQUIRED - set(card):
                raise ZooError(f"{source}: {', '.join(sorted(missing))} missing")
            if not isinstance(card["name"], str) or not NAME.fullmatch(card["name"]):
                raise ZooError(f"{source}: name is {card['name']!r}; use lower-case letters, digits, - and _")
            if type(card["year"]) is not int:
                raise ZooError(f"{source}: year is {card['year']!r}, not a whole number")
            yield source, card


ZOO = Source("zoo", "history-zoo")


@functools.cache
def raw_cards() -> dict[str, dict]:
    """Return the cards of all packages by name, oldest first, as their TOML files have them; not validated.

    Raises:
        ZooError: if a card cannot be read, or if two cards have the same name.
    """
    cards = [card for card, _ in _found().values()]
    return {card["name"]: card for card in sorted(cards, key=lambda card: (card["year"], card["name"]))}


def source_of(name: str) -> Source:
    """Return the package that brings the card of a name."""
    return _found()[name][1] if name in _found() else ZOO


@functools.cache
def _found() -> dict[str, tuple[dict, Source]]:
    """Return (card, its package) by name."""
    others = {point.value: Source(point.value, point.dist.name) for point in entry_points(group="zoo.cards")}
    found, described = {}, {}
    for source in (ZOO, *(others[package] for package in sorted(others))):
        for description, card in source.cards():
            name = card["name"]
            if name in found:
                raise ZooError(
                    f"{description} has the name '{name}', which {described[name]} has already; rename it, or remove the "
                    f"package: pip uninstall {source.distribution}"
                )
            found[name], described[name] = (card, source), description
    return found
