"""The command `zoo`: find the commands of all installed packages, and import only the one that is called."""

import contextlib
import errno
import importlib
import importlib.util
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points, version
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command

from zoo import registry
from zoo.errors import ZooError, did_you_mean, printable

DISTRIBUTION = "history-zoo"

REMEDIES = {  # appended to the messages of system errors
    **dict.fromkeys((errno.ENOSPC, errno.EFBIG, errno.EDQUOT), "; free some space, or write to another disk"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "; write to a folder of your own, most commands take --out"),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR), "; check the path"),
}

# Keras imports these packages if they are installed, for parts that no command uses. That takes a second per start.
UNUSED_BY_KERAS = ("sklearn", "matplotlib")


class LazyGroup(TyperGroup):
    """A command group of the entry points in the group `zoo.commands`, each imported when it is called."""

    def list_commands(self, ctx: typer.Context) -> list[str]:
        return sorted({point.name for point in entry_points(group="zoo.commands")})

    def get_command(self, ctx: typer.Context, name: str) -> Any:
        found = list(entry_points(group="zoo.commands", name=name))
        if not found:
            return None
        app = typer.Typer(add_completion=False)
        app.command(name, no_args_is_help=False)(found[0].load())
        return get_command(app)

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> tuple:
        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(ctx):
            ctx.fail(f"no command '{name}'{did_you_mean(name, self.list_commands(ctx))} See zoo --help")
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=LazyGroup, add_completion=False, no_args_is_help=True, rich_markup_mode="markdown")


def _print_version(asked: bool) -> None:
    if asked:
        print(version(DISTRIBUTION))
        raise typer.Exit


@app.callback()
def zoo(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """The neural networks that made history: load, train, fine-tune, export, verify.

    Start with `zoo list`, then `zoo info lenet5`.
    """


def start_keras(name: str | None = None, also: Iterable[str] = ()) -> None:
    """Import Keras for a command, without its log lines, after a check of the model's name.

    TensorFlow logs missing GPUs before any log level applies, so the standard error is discarded during the import.
    Exceptions of the import are raised as usual.

    Args:
        name: name or path of the model, or None.
        also: other packages that the command will import; those that are installed are imported here, too.

    Raises:
        ZooError: if there is no such model or file.
    """
    if name is not None and registry.is_path(name):
        registry.check_file(name)
    elif name is not None:
        registry.card(name)
    # TensorFlow disables oneDNN on processors without VNNI, and its own convolutions take three times as long there.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    stderr = os.dup(2)
    # A module may swallow the KeyboardInterrupt during its import. Nothing is written yet: let Ctrl-C end the process.
    on_interrupt = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        with _hidden(UNUSED_BY_KERAS):
            importlib.import_module("keras")
            for package in filter(importlib.util.find_spec, also):
                importlib.import_module(package)
    finally:
        signal.signal(signal.SIGINT, on_interrupt)
        os.dup2(stderr, 2)
        os.close(stderr)


@contextlib.contextmanager
def _hidden(packages: Iterable[str]) -> Iterator[None]:
    """In this context, packages that are not imported yet appear not to be installed."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def main() -> None:
    """Run the command line. Exit codes: 0 success, 1 failed check or system error, 2 invalid request."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # leaves memory of the GPU to other processes
    with reporting_errors():
        get_command(app).main(prog_name="zoo")


@contextlib.contextmanager
def reporting_errors() -> Iterator[None]:
    """In this context, print an error that the user can fix as one message, and exit with its exit code."""
    try:
        yield
    except ZooError as error:
        _exit(error, error.exit_code)
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        _exit(f"{error.strerror or error}{place}{REMEDIES.get(error.errno, '')}", 1)


def _exit(message: object, code: int) -> NoReturn:
    lines = map(printable, f"zoo: {message}".split("\n"))
    print(*lines, sep="\n", file=sys.stderr)
    sys.exit(code)
