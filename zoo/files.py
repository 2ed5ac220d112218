"""Atomic writes, TOML, hashes, and the folders of the cache and of data sets."""

import contextlib
import hashlib
import os
import secrets
import tomllib
from collections.abc import Iterator
from pathlib import Path

from zoo.errors import ZooError

PART = ".part-"  # prefix of the name of an incomplete file


@contextlib.contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file completely or not at all.

    Yields a temporary path in the same folder. On success it is synced to disk and renamed to `path`, on an error removed.
    The temporary path has the same suffix, because some writers choose the format by it. Several processes may write the
    same file: each has its own temporary file, and the last one to finish wins.

    Args:
        path: the file to write. Its folder is created.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{PART}{secrets.token_hex(8)}-{path.name}"
    try:
        temporary.touch(exist_ok=False)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        # Errors of many writers name no file or the temporary one, which means nothing to the user.
        if error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Sync a folder, if the system can, so that the new name of a file survives a power failure."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_toml(text: str, source: str) -> dict:
    """Parse TOML.

    Args:
        text: the TOML.
        source: where it comes from, for the message.

    Raises:
        ZooError: if it is not valid TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ZooError(f"{source} is not valid TOML: {error}") from error


def sha256(path: str | os.PathLike) -> str:
    """Return the hex sha256 of a file, read in chunks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Return the folder for files that can be downloaded or computed again: $ZOO_CACHE or the platform's user cache."""
    import platformdirs

    return Path(os.environ.get("ZOO_CACHE") or platformdirs.user_cache_path("zoo", appauthor=False))


def data_folder() -> Path:
    """Return the folder with the prepared data sets of TensorFlow Datasets: $TFDS_DATA_DIR or ~/tensorflow_datasets."""
    return Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
