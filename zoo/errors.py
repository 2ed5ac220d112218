"""What goes wrong for a reason that the user can mend; the message says all, so the command prints it alone."""

import difflib


class ZooError(Exception):
    """What was asked cannot be done as asked: a wrong name, an unreadable file, a recipe with an unknown key."""

    exit_code = 2


class CheckFailed(ZooError):
    """The work was done and its result is not good enough: a file that does not compute what its model computes."""

    exit_code = 1


def printable(text):
    """Return a text as it is, or escaped where a terminal or a font could stumble over it: a stranger's file may have any
    names in it."""
    return text if text.isprintable() else ascii(text)[1:-1]


def did_you_mean(word, choices):
    """Return "; did you mean 'a' or 'b'?" for the choices nearest to a word, or "." where none is near: a sentence's end."""
    near = difflib.get_close_matches(word, list(choices), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(choice) for choice in near)}?" if near else "."
