"""Bars for a person at a terminal, on the standard error; what a program reads stays clean."""

import contextlib

from rich.console import Console
from rich.progress import Progress


def bars():
    """Return `rich.progress.Progress`, whose bars go when they are done."""
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


@contextlib.contextmanager
def counting(bars, what, total):
    """Yield a function that moves a bar on by so many.

    Args:
        bars: `rich.progress.Progress`.
        what: is done, in words.
        total: number of what is counted, or None.
    """
    task = bars.add_task(what, total=total)
    try:
        yield lambda count=1: bars.advance(task, count)
    finally:
        bars.remove_task(task)
