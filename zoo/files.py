"""Files that are there whole or not at all."""

import contextlib
import hashlib
import os
import secrets
from pathlib import Path


@contextlib.contextmanager
def atomic(path):
    """Yield a temporary path beside `path`; on leaving, sync it and give it the final name, on an error remove it.

    The temporary path has the same ending, as some writers choose the format by it. Several processes may write the same
    file: each has its own temporary one and the last to finish wins.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".part-{secrets.token_hex(8)}-{path.name}"
    try:
        temporary.touch(exist_ok=False)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path):
    """Return the hex sha256 of a file's content, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder():
    """Return the folder of what can be fetched or computed again: $ZOO_CACHE, else the user's cache of this platform."""
    import platformdirs

    return Path(os.environ.get("ZOO_CACHE") or platformdirs.user_cache_path("zoo", appauthor=False))
