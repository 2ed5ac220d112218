"""A run folder: it holds all of a run, at every moment, and one process at a time works in it.

recipe.toml     the recipe as it was resolved
split.csv       which picture is in which part, where pictures have names
seen.png        what the net is shown
history.csv     loss and error of each epoch
logs/           the same for TensorBoard
best.keras      the classifier of the epoch that was best on validation
last.npz        the state of the last checkpoint, for --resume
metrics.json    the result, and what it was measured with
predictions.csv the answer to each picture
report.html     all of it on a page, and its pictures: curves.png, confusion.png, mistakes.png
"""

import contextlib
import os
import tempfile
import tomllib
from pathlib import Path

import tomli_w

from zoo.errors import ZooError
from zoo.files import PART, atomic


@contextlib.contextmanager
def opened(out, recipe, resume):
    """Make a run folder and write the recipe into it, or check that a run can go on in it; have it alone meanwhile.

    Args:
        out: the folder.
        recipe: `training.recipe.Recipe`.
        resume: go on in it.

    Yields:
        Path of the folder.

    Raises:
        ZooError: if it holds a run already, or none to resume, or one of another recipe, or if a process works in it.
    """
    out = Path(out)
    check(out, resume)
    written = tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))
    kept = out / "recipe.toml"
    if resume and kept.read_text("utf-8") != written:
        raise ZooError(
            f"{out} holds a run of another recipe: {_differences(kept, written)}; resume with the same recipe and settings, "
            f"or begin from what it has learned: zoo finetune {out / 'best.keras'}"
        )
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        if not resume:
            with atomic(kept) as temporary:
                temporary.write_text(written, "utf-8")
        for half_written in out.glob(f"{PART}*"):  # only now: a folder that is refused is not touched
            half_written.unlink(missing_ok=True)
        yield out


def check(out, resume):
    """Raise `ZooError` if a folder holds no run to go on with, or, for a new one, anything to keep; or if one is at work."""
    if out.is_dir():
        with _alone(out):
            pass
    if resume:
        if not (out / "recipe.toml").is_file():
            raise ZooError(f"{out} holds no run to resume; leave out --resume to start one")
    elif out.exists() and (not out.is_dir() or not _is_left_over(out)):
        raise ZooError(f"{out} is not empty; go on there with --resume, or name another folder with --out")


def _differences(kept, written):
    """Return in words which values of a recipe.toml are others than those of TOML text."""

    def flat(table, path=""):
        for key, value in table.items():
            if isinstance(value, dict):
                yield from flat(value, f"{path}{key}.")
            else:
                yield f"{path}{key}", value

    try:
        there, here = dict(flat(tomllib.loads(kept.read_text("utf-8")))), dict(flat(tomllib.loads(written)))
    except tomllib.TOMLDecodeError as error:
        return f"{kept} is damaged ({error})"
    nothing = object()
    return ", ".join(
        f"{key} is {there.get(key, 'not given')} there and {here.get(key, 'not given')} here"
        for key in sorted({*there, *here})
        if there.get(key, nothing) != here.get(key, nothing)
    )


def _is_left_over(out):
    """Tell what a run leaves that could not begin, or that was killed while it wrote: it is no run to keep.

    A recipe that somebody wrote, with words of their own, is to be kept.
    """
    names = {path.name for path in out.iterdir() if not path.name.startswith(PART)}
    if not names:
        return True
    if "recipe.toml" not in names or names - {"recipe.toml", "logs", "split.csv", "seen.png"}:
        return False
    text = (out / "recipe.toml").read_text("utf-8", "replace")
    try:
        return tomli_w.dumps(tomllib.loads(text)) == text
    except tomllib.TOMLDecodeError:
        return False


@contextlib.contextmanager
def scratch():
    """Yield a folder for a process that takes part in a run and does not keep it; it is removed on leaving."""
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def _alone(out):
    """Hold a folder, so that no second process trains in it. The system frees it when this one ends, however it ends.

    Where the system has no such locks, as Windows and some network file systems, nothing is held.
    """
    try:
        import fcntl

        handle = os.open(out, os.O_RDONLY)
    except (ImportError, PermissionError):
        yield
        return
    try:
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ZooError(
                    f"another process trains in {out} now; wait for it, or name another folder with --out"
                ) from error
        yield
    finally:
        os.close(handle)
