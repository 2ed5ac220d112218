"""The command `zoo`: finds the commands that the installed packages bring, and loads only the one that is called."""

import contextlib
import errno
import importlib
import importlib.util
import os
import signal
import sys
from importlib.metadata import entry_points, version
from typing import Annotated

import typer
from typer.core import TyperGroup
from typer.main import get_command

from zoo import registry
from zoo.errors import ZooError, did_you_mean, printable

DISTRIBUTION = "history-zoo"

REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EFBIG, errno.EDQUOT), "; make room and give the command again, or write elsewhere"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "; write to a folder of yours, for most commands with --out"),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR), "; check the path"),
}


# Keras imports them where they are installed, for parts that no command uses; each start would wait a second for that.
IDLE_IN_KERAS = ("sklearn", "matplotlib")


class LazyGroup(TyperGroup):
    """A group of the commands in the entry-point group "zoo.commands"."""

    def list_commands(self, ctx):
        return sorted({point.name for point in entry_points(group="zoo.commands")})

    def get_command(self, ctx, name):
        found = list(entry_points(group="zoo.commands", name=name))
        if not found:
            return None
        app = typer.Typer(add_completion=False)
        app.command(name, no_args_is_help=False)(found[0].load())
        return get_command(app)

    def resolve_command(self, ctx, args):
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


def start_keras(name=None, also=()):
    """Import Keras for a command: quietly, and only once the name that it is asked for is known to be right.

    TensorFlow prints lines about GPUs that are not there before any log level counts; only its import is silenced, and what
    fails in it still raises.

    Args:
        name: of the model, or None.
        also: packages that the command is about to import, too, where they are installed.
    """
    if name is not None and registry.is_path(name):
        registry.check_file(name)
    elif name is not None:
        registry.card(name)
    # TensorFlow leaves oneDNN off on processors without VNNI, and its own convolutions take three times as long there.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    kept = os.dup(2)
    # Ctrl-C within an import may be swallowed by the module that it hits; nothing is written yet, so it may simply end us.
    on_interrupt = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        with _hidden(IDLE_IN_KERAS):
            importlib.import_module("keras")
            for package in filter(importlib.util.find_spec, also):
                importlib.import_module(package)
    finally:
        signal.signal(signal.SIGINT, on_interrupt)
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def _hidden(packages):
    """Within it, packages that are not imported yet seem not to be installed."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def main():
    """Run the command line; end with 0, 1 (the answer is no, or the machine failed) or 2 (what was asked cannot be)."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # others can use the GPU, too
    with reporting_errors():
        get_command(app).main(prog_name="zoo")


@contextlib.contextmanager
def reporting_errors():
    """Within it, an error that the user can mend is told in words and ends the process with the exit code of its kind."""
    try:
        yield
    except ZooError as error:
        _end(error, error.exit_code)
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        _end(f"{error.strerror or error}{place}{REMEDIES.get(error.errno, '')}", 1)


def _end(message, code):
    lines = map(printable, f"zoo: {message}".split("\n"))
    print(*lines, sep="\n", file=sys.stderr)
    sys.exit(code)
