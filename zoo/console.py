"""Options, progress bars and notes that the commands share.

Rich is imported inside functions, because `zoo list` starts faster without it.
"""

import contextlib
import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.errors import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with an error on unreadable images instead of skipping them.")]
Model = Annotated[str, typer.Argument(metavar="NAME-or-FILE", help="A model such as lenet5.mnist, or a .keras file.")]


def option_groups(**groups: type) -> Callable:
    """Return a decorator that replaces parameters of a command by the options that dataclasses declare.

    Commands that share options, or that pass many on, take one frozen dataclass of them. Each field is annotated as a
    parameter of a Typer command is; the command line shows one option for each field.

    Args:
        **groups: dataclass for each parameter of the function that receives one.

    Example:

        @dataclass(frozen=True)
        class RunOptions:
            devices: Annotated[int | None, typer.Option(min=1, help="Number of GPUs.")] = None

        @option_groups(run=RunOptions)
        def train(recipe: str, run: RunOptions): ...
    """

    def decorate(function):
        parameters = []
        for name, parameter in inspect.signature(function).parameters.items():
            if name not in groups:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
                continue
            for field in dataclasses.fields(groups[name]):
                default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
                kind = inspect.Parameter.KEYWORD_ONLY
                parameters.append(inspect.Parameter(field.name, kind, default=default, annotation=field.type))

        @functools.wraps(function)
        def command(**given):
            for name, group in groups.items():
                given[name] = group(**{field.name: given.pop(field.name) for field in dataclasses.fields(group)})
            return function(**given)

        command.__signature__ = inspect.Signature(parameters)
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return decorate


def stderr() -> "Console":
    """Return a Rich console on the standard error, so that the standard output holds results only."""
    from rich.console import Console

    return Console(stderr=True)


def progress(*columns, console: "Console | None" = None) -> "Progress":
    """Return a progress bar that shows count, rate and time left, on a terminal only, and disappears when it is done.

    Args:
        *columns: Rich columns in place of the default ones.
        console: Rich console. Default: the standard error.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task):
            return Text(f"{task.speed:,.0f}/s" if task.speed else "")

    console = console or stderr()
    columns = columns or (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@contextlib.contextmanager
def counting(bar: "Progress", description: str, total: int | None) -> Iterator[Callable[..., None]]:
    """Add a task to a progress bar and yield a function that advances it by a count (default 1).

    Args:
        bar: what `progress` returned.
        description: shown before the bar.
        total: number of items, or None if unknown.
    """
    task = bar.add_task(description, total=total)
    try:
        yield lambda count=1: bar.advance(task, count)
    finally:
        bar.remove_task(task)


def track(items: Iterable, description: str, total: int | None = None) -> Iterator:
    """Yield the items of an iterable and show a progress bar meanwhile.

    Args:
        items: the iterable.
        description: shown before the bar.
        total: number of items. Default: `len(items)`.
    """
    with progress() as bar, counting(bar, description, len(items) if total is None else total) as advance:
        for item in items:
            yield item
            advance()


def print_skipped(problems: list[str]) -> None:
    """Print messages about images that a command skipped."""
    from zoo import images

    for line in images.listed(problems, "skipped: "):
        print(printable(line))


def note_random_weights(name: str) -> bool:
    """Print a note on the standard error if a name is an architecture without weights; return whether it is."""
    from zoo import cards

    random = name in cards.raw_cards()
    if random:
        print(f"note: {name} has random weights; `zoo list` shows the pretrained ones", file=sys.stderr)
    return random
