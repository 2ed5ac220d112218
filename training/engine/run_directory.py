"""The run directory: all files of a run. One process at a time writes to it.

recipe.toml     the resolved recipe
split.csv       the split of each image, if images have names
seen.png        augmented training images
history.csv     loss and error of each epoch
logs/           the same for TensorBoard
best.keras      the classifier of the epoch with the smallest validation error
last.npz        the last checkpoint, for --resume
metrics.json    the result, with device, versions and date
predictions.csv the prediction for each image
report.html     the report, and its figures: curves.png, confusion.png, mistakes.png
"""

import contextlib
import os
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import tomli_w

from training.recipe import differences
from zoo.errors import ZooError
from zoo.files import PART, atomic

if TYPE_CHECKING:
    from training.recipe import Recipe


@contextlib.contextmanager
def opened(out: Path | str, recipe: "Recipe", resume: bool) -> Iterator[Path]:
    """Create a run directory with its recipe.toml, or check that its run can be resumed; lock it meanwhile.

    Args:
        out: the directory.
        recipe: `training.recipe.Recipe`.
        resume: resume the run in the directory.

    Yields:
        Path of the directory.

    Raises:
        ZooError: if it contains a run already, or none to resume, or one of another recipe, or another process trains in it.
    """
    out = Path(out)
    check(out, resume)
    written = tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))
    recipe_file = out / "recipe.toml"
    if resume and (changed := _differences(recipe_file, written)):
        raise ZooError(
            f"{out} contains a run of another recipe: {changed}; resume with the same recipe and "
            f"settings, or continue from its weights: zoo finetune {out / 'best.keras'}"
        )
    out.mkdir(parents=True, exist_ok=True)
    with _locked(out):
        if not resume:
            with atomic(recipe_file) as temporary:
                temporary.write_text(written, "utf-8")
        for partial in out.glob(f"{PART}*"):  # only now: a refused directory is not changed
            partial.unlink(missing_ok=True)
        yield out


def check(out: Path, resume: bool) -> None:
    """Raise `ZooError` if a directory cannot be used for a run.

    Args:
        out: the directory.
        resume: resume the run in the directory. Otherwise the directory must not exist, or contain no files to keep.
    """
    if out.is_dir():
        with _locked(out):
            pass
    if resume:
        if not (out / "recipe.toml").is_file():
            raise ZooError(f"{out} contains no run to resume; remove --resume to start one")
    elif out.exists() and (not out.is_dir() or not _is_unstarted(out)):
        raise ZooError(f"{out} is not empty; resume its run with --resume, or give another directory with --out")


def _differences(recipe_file, written):
    """Return a description of the values that differ between a recipe.toml and TOML text, "" if none differ."""
    try:
        there, here = tomllib.loads(recipe_file.read_text("utf-8")), tomllib.loads(written)
    except tomllib.TOMLDecodeError as error:
        return f"{recipe_file} is damaged ({error})"
    changed = sorted(differences(there, here).items())
    return ", ".join(f"{key} is {old} in the run and {new} now" for key, (old, new) in changed)


def _is_unstarted(out):
    """Return whether a directory has only the files of a run that failed or was killed before its first checkpoint.

    A recipe.toml that a user wrote, with comments or another layout, is not such a file.
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
def scratch() -> Iterator[Path]:
    """Yield a temporary directory for a process that does not write the run directory."""
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def _locked(out):
    """Lock a directory, so that no second process trains in it. The system unlocks it when this process ends.

    Systems without such locks, such as Windows and some network file systems, do not lock it.
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
                    f"another process trains in {out}; wait for it, or give another directory with --out"
                ) from error
        yield
    finally:
        os.close(handle)
