"""Download a weight file: resume an interrupted download, wait for other processes, and check the hash."""

import contextlib
import errno
import hashlib
import http.client
import os
import secrets
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from zoo.errors import ZooError
from zoo.files import PART

if TYPE_CHECKING:
    from zoo.schema import Weights

CHUNK = 2**20  # bytes


def has_digest(path: Path, digest: str) -> bool:
    """Return whether a file has a hash, the hex sha256 or sha1."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm(digest)).hexdigest() == digest


def algorithm(digest: str) -> str:
    """Return the name of the hash algorithm, by the number of hex digits."""
    return {40: "sha1"}.get(len(digest), "sha256")


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[Path]:
    """Yield the path of the partial download of a file, which no other process writes meanwhile.

    If another process has locked it, wait until that process is done. The system releases the lock of a killed process.
    Without file locks, as on Windows and some network file systems, each process gets its own path and nothing is resumed.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _partial(path)
        file = _locked(partial)
        if file is None:
            partial = partial.with_name(f"{partial.name}-{secrets.token_hex(8)}")
            partial.touch()
            try:
                yield partial
            finally:
                partial.unlink(missing_ok=True)
            return
        try:
            yield partial
        finally:
            if _is_at(partial, file) and not partial.stat().st_size:
                partial.unlink()
            file.close()
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS) or error.filename == str(path):
            error.filename = error.filename or str(path)
            raise
        raise ZooError(f"cannot write to {path.parent}; set ZOO_CACHE to a folder that you can write to") from error


def _partial(path: Path) -> Path:
    """Return the path of the partial download of a file."""
    return path.with_name(f"{PART}{path.name}")


def _locked(path: Path) -> IO | None:
    """Open a file, created if need be, and lock it; wait while another process has it. Return None without file locks."""
    try:
        import fcntl
    except ImportError:
        return None
    while True:
        file = path.open("ab")
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for another process that downloads {path.name.removeprefix(PART)}", file=sys.stderr)
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            file.close()
            return None
        except BaseException:
            file.close()
            raise
        if _is_at(path, file):
            return file
        file.close()  # the other process has finished and moved or deleted the file


def _is_at(path: Path, file: IO) -> bool:
    """Return whether an open file is still the one at its path."""
    return path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())


def fetch(name: str, weights: "Weights", path: Path, partial: Path, show_progress: bool) -> None:
    """Download the rest of a partial file, at most as many bytes as the card states, and check its hash.

    Args:
        name: `arch.tag`, for messages.
        weights: the entry of the card, with URL, size and hash.
        path: final path, for messages; the caller moves the file there.
        partial: the partial file, as `exclusive` yields it.
        show_progress: show a progress bar.

    Raises:
        ZooError: if the connection is lost, in which case the partial file stays and can be resumed; if the server sends
            another file, in which case the partial file is emptied.
    """
    try:
        _receive(name, weights, partial, show_progress)
    except (_Lost, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        saved = partial.stat().st_size if partial == _partial(path) else 0
        again = f"{saved:,} bytes are saved: run the same command again to resume, or " if saved else ""
        raise ZooError(
            f"{name} could not be downloaded from {weights.url} ({reason}); {again}download it by other means to {path}"
        ) from error
    except _Refused as error:
        partial.write_bytes(b"")
        raise ZooError(f"{weights.url} {error}; nothing was saved") from error
    if not has_digest(partial, weights.digest):
        partial.write_bytes(b"")
        raise ZooError(
            f"{weights.url} sent a file whose {algorithm(weights.digest)} is not that of the card; nothing was saved, "
            "try again"
        )


class _Lost(Exception):
    """The network failed. Replaces the many subclasses of OSError, which a full disk raises too."""


class _Refused(Exception):
    """The answer of the server cannot be the file of the card."""


def _receive(name: str, weights: "Weights", partial: Path, show_progress: bool) -> None:
    """Append the missing bytes to a partial file; start over if the server does not support ranges."""
    saved = partial.stat().st_size
    if saved > weights.bound:
        partial.write_bytes(b"")
        saved = 0
    if saved == weights.size:
        return
    answer = _request(weights.url, saved)
    if answer is None:
        return
    with answer, partial.open("r+b") as file:
        if answer.status == 206 and not answer.headers.get("Content-Range", "").startswith(f"bytes {saved}-"):
            raise _Refused(f"sends another range than the one from byte {saved:,}")
        received = saved if answer.status == 206 else 0
        file.truncate(received)
        file.seek(received)
        total = None if answer.length is None else received + answer.length
        if total is not None and total < (weights.size or 0):
            raise _Refused(f"sends {total:,} bytes, but the card states {weights.size:,}")
        with _progress(f"downloading {name}", received, weights.size or total, show_progress) as advance:
            while received != total and (chunk := _read_available(answer)):
                received += len(chunk)
                if received > weights.bound:
                    raise _Refused(f"sends more than the {weights.bound:,} bytes that the card states")
                file.write(chunk)
                advance(len(chunk))
        os.fsync(file.fileno())
        if received < (total or weights.size or 0):
            raise http.client.HTTPException(f"the connection was lost after {received:,} bytes")


def _request(url: str, saved: int) -> http.client.HTTPResponse | None:
    """Request a file from byte `saved` on. Return None if the server has no more bytes than these."""
    headers = {"User-Agent": "zoo", **({"Range": f"bytes={saved}-"} if saved else {})}
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30)
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{saved}":
            return None
        if error.code == 416:
            raise _Refused(f"has no bytes after the {saved:,} that were saved, and those are incomplete") from error
        raise _Lost(f"{error.code} {error.reason}") from error
    except OSError as error:  # URLError, TimeoutError, TLS and socket errors
        raise _Lost(getattr(error, "reason", None) or error) from error


@contextlib.contextmanager
def _progress(description: str, completed: int, total: int | None, show: bool) -> Iterator:
    """Show a progress bar, on a terminal only, and yield a function that advances it."""
    from rich.progress import Progress

    from zoo import console

    bar = console.progress(*Progress.get_default_columns())
    bar.disable = bar.disable or not show
    with bar, console.counting(bar, description, total) as advance:
        advance(completed)
        yield advance


def _read_available(answer: http.client.HTTPResponse) -> bytes:
    """Return the bytes that have arrived, at most a chunk. They are saved even if the connection breaks afterwards."""
    try:
        return answer.read1(CHUNK)
    except OSError as error:
        raise _Lost(error) from error
