"""Files that are there whole or not at all."""

import contextlib
import hashlib
import os
import secrets
import tomllib
from pathlib import Path

from zoo.errors import ZooError

PART = ".part-"  # begins the name of what is still being written


@contextlib.contextmanager
def atomic(path):
    """Yield a temporary path beside `path`; on leaving, sync it and give it the final name, on an error remove it.

    The temporary path has the same ending, as some writers choose the format by it. Several processes may write the same
    file: each has its own temporary one and the last to finish wins.
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
        # Many writers leave the file out of the error, and nobody knows the temporary one.
        if error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder):
    """Sync a folder, where the system can, so that a new name in it outlives a power cut."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_toml(text, source):
    """Return TOML text as a dict; raises `ZooError`, with `source`, if it is none."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ZooError(f"{source} is not valid TOML: {error}") from error


def sha256(path):
    """Return the hex sha256 of a file's content, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder():
    """Return the folder of what can be fetched or computed again: $ZOO_CACHE, else the user's cache of this platform."""
    import platformdirs

    return Path(os.environ.get("ZOO_CACHE") or platformdirs.user_cache_path("zoo", appauthor=False))


def data_folder():
    """Return the folder in which TensorFlow Datasets keeps prepared data: $TFDS_DATA_DIR, else one in the user's home."""
    return Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
