"""Errors that the user can fix. Commands print their message without a traceback."""

import difflib
from collections.abc import Iterable


class ZooError(Exception):
    """The request is invalid: a wrong name, an unreadable file, a recipe with an unknown key."""

    exit_code = 2


class CheckFailed(ZooError):
    """The work was done, but its result failed a check, such as an exported file with other outputs than its model."""

    exit_code = 1


def printable(text: str) -> str:
    """Return a text, escaped if it has unprintable characters. Names in untrusted files may contain control sequences."""
    return text if text.isprintable() else ascii(text)[1:-1]


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return "; did you mean 'a' or 'b'?" with the choices nearest to a word, or "." if none is near, to end a sentence."""
    near = difflib.get_close_matches(word, list(choices), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(choice) for choice in near)}?" if near else "."
