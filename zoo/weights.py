"""The weight store: a packaged file, else the cache, else the published address; nothing is used unchecked.

Weights that are the data themselves, a nearest neighbour's, have neither file nor address: the package that registers for it
in the entry-point group `zoo.weights` makes them, once, into the cache. Foreign ones are fetched and converted, once.
"""

import contextlib
import errno
import hashlib
import http.client
import os
import secrets
import shlex
import sys
import urllib.parse
import urllib.request
from importlib import resources
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np

from zoo.errors import ZooError
from zoo.files import PART, atomic, cache_folder, sha256

PIECE = 2**20
CONVERSION = 1  # counted up when files are converted otherwise, so that what was made before is not used


def find(name, weights, show_progress=True, convert=None):
    """Return the path of a checked weight file, fetching it first where it has an address.

    $ZOO_CACHE moves the cache, which may be read-only once it holds the file; with $ZOO_OFFLINE set nothing is fetched. What
    was fetched of a file that did not arrive whole is kept, and the next call goes on there.

    Args:
        name: `arch.tag`, for messages and for the name in the cache.
        weights: `zoo.schema.Weights`.
        show_progress: draw a bar while fetching.
        convert: function of a checked foreign file and the path of the HDF5 file to write; for weights of a foreign
            format.

    Returns:
        Path of a file whose hash is that of the card; of fitted and of foreign weights, that of the file beside it, written
        when they were fitted to the data of the card, or converted from its file.

    Raises:
        ZooError: if the file is missing, damaged, or cannot be fetched; with the command that mends it.
    """
    if weights.fitted:
        return _find_fitted(name, weights)
    if weights.format:
        return _find_foreign(name, weights, show_progress, convert)
    if weights.file is not None:
        path = Path(str(resources.files("zoo.pretrained").joinpath(weights.file)))
        mend = "python -m pip install --force-reinstall --no-deps .  (in the folder of the zoo)"
        _check(path, name, weights.sha256, mend, weights.size)
        return path
    path = _cached(name, weights)
    if not path.exists():
        _check_online(name, weights, path)
        with _alone(path) as partial:
            if not path.exists():  # or another process has fetched it meanwhile
                _fetch(name, weights, path, partial, show_progress)
                partial.replace(path)
                return path
    _check(path, name, weights.sha256, f"rm {shlex.quote(str(path))}", weights.size)
    return path


def fingerprint(values):
    """Return the hex sha256 of the bytes of arrays, in order."""
    digest = hashlib.sha256()
    for value in values:
        digest.update(np.ascontiguousarray(value).reshape(-1).view("uint8"))
    return digest.hexdigest()


def _cached(name, weights, suffix=None):
    """Return the path in the cache of what was published, or, with another suffix, of what is made of it."""
    suffix = suffix or Path(urllib.parse.urlparse(weights.url).path).suffix
    return cache_folder() / "weights" / f"{name}-{weights.digest[:12]}{suffix}"


def _find_fitted(name, weights):
    """Return the cached file of fitted weights, letting the package that can do so make it where there is none.

    The sha256 of the card is that of the data. That of the file differs between machines, which round differently.
    """
    path = _cached(name, weights, ".weights.h5")
    if _is_sealed(path):
        return _intact(name, path)
    found = list(entry_points(group="zoo.weights", name="fit"))
    if not found:
        raise ZooError(f"{name} is fitted to its data, and no package that can do so is installed")
    found[0].load()(name, weights, path)
    _seal(path)
    return path


def _find_foreign(name, weights, show_progress, convert):
    """Return the cached file of converted weights, converting them, once, where there is none.

    A file that a user has put into the cache stays there; one that was fetched goes when it is converted.
    """
    path, original = _cached(name, weights, f".v{CONVERSION}.h5"), _cached(name, weights)
    if _is_sealed(path):
        return _intact(name, path)
    if not original.exists():
        _check_online(name, weights, original)
    with _alone(original) as partial:
        if _is_sealed(path):  # by another process, meanwhile
            return _intact(name, path)
        if original.exists():
            _check(original, name, weights.digest, f"rm {shlex.quote(str(original))}", weights.size)
            convert(original, path)
        else:
            _fetch(name, weights, original, partial, show_progress)
            convert(partial, path)
        _seal(path)
        partial.unlink(missing_ok=True)
    return path


def _is_sealed(path):
    """Tell whether a file was finished: its hash is written beside it, last."""
    return path.exists() and _beside(path).exists()


def _seal(path):
    with atomic(_beside(path)) as temporary:
        temporary.write_text(sha256(path), "utf-8")


def _intact(name, path):
    """Return the path of a file that was made here, after a look whether it is still what was made."""
    seal = _beside(path)
    mend = f"rm {shlex.quote(str(path))} {shlex.quote(str(seal))}"
    _check(path, name, seal.read_text("utf-8"), mend, of="the file beside")
    return path


def _beside(path):
    return path.with_name(f"{path.name}.sha256")


def _check(path, name, digest, mend, size=None, of="the card"):
    """Refuse a file that is not, to the bit, the one that was published, fitted or converted."""
    if not path.is_file():
        raise ZooError(f"the weights {name} are missing at {path}; mend: {mend}")
    if size not in (None, path.stat().st_size) or not _has_digest(path, digest):
        raise ZooError(
            f"the weights {name} at {path} are damaged: their {_algorithm(digest)} is not that of {of}; mend: {mend}"
        )


def _has_digest(path, digest):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, _algorithm(digest)).hexdigest() == digest


def _algorithm(digest):
    """Return the name of the hash that has so many digits."""
    return {40: "sha1"}.get(len(digest), "sha256")


def _check_online(name, weights, path):
    if os.environ.get("ZOO_OFFLINE"):
        raise ZooError(f"{name} is not in the cache and ZOO_OFFLINE is set; put {weights.url} at {path}")


@contextlib.contextmanager
def _alone(path):
    """Yield the place beside a file where it is kept until it is whole; no other process has that place meanwhile.

    Where another one has it, this waits until it is done. The system frees the place of a process that is killed. Without
    such locks, as on Windows and some network file systems, each has a place of its own and nothing is resumed.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _part(path)
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
        raise ZooError(f"cannot write to {path.parent}; set ZOO_CACHE to a folder of yours") from error


def _part(path):
    """Return where what was fetched of a file is kept."""
    return path.with_name(f"{PART}{path.name}")


def _locked(path):
    """Return a file, made if need be, once no other process has it locked; None where there are no locks."""
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
                print(f"waiting for another process that fetches {path.name.removeprefix(PART)}", file=sys.stderr)
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            file.close()
            return None
        except BaseException:
            file.close()
            raise
        if _is_at(path, file):
            return file
        file.close()  # the other process is done, and this was its file


def _is_at(path, file):
    """Tell whether an open file still has its name."""
    return path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())


def _fetch(name, weights, path, partial, show_progress):
    """Download what `partial` lacks, no more bytes than the card allows; only a file with the right hash stays.

    Raises:
        ZooError: if the file does not arrive whole, in which case its beginning stays and is gone on with; if it is another,
            in which case nothing does.
    """
    try:
        _receive(name, weights, partial, show_progress)
    except (_Lost, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        kept = partial.stat().st_size if partial == _part(path) else 0
        again = f"{kept:,} bytes are kept: give the same command again to go on, or " if kept else ""
        raise ZooError(
            f"{name} could not be fetched from {weights.url} ({reason}); {again}fetch it elsewhere to {path}"
        ) from error
    except _Refused as error:
        partial.write_bytes(b"")
        raise ZooError(f"{weights.url} {error}; nothing was kept") from error
    if not _has_digest(partial, weights.digest):
        partial.write_bytes(b"")
        raise ZooError(
            f"{weights.url} sent a file whose {_algorithm(weights.digest)} is not that of the card; nothing was kept, "
            "try again"
        )


class _Lost(Exception):
    """What the network does, in place of the many kinds of OSError, which a full disk raises too."""


class _Refused(Exception):
    """What a server sends cannot be the file of the card."""


def _receive(name, weights, partial, show_progress):
    """Append to `partial` what a server still has of the file; begin anew where it cannot send a part."""
    from rich.console import Console
    from rich.progress import Progress

    kept = partial.stat().st_size
    if kept > weights.bound:
        partial.write_bytes(b"")
        kept = 0
    if kept == weights.size:
        return
    headers = {"User-Agent": "zoo", **({"Range": f"bytes={kept}-"} if kept else {})}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(weights.url, headers=headers), timeout=30)
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{kept}":
            return  # there is no more
        if error.code == 416:
            raise _Refused(f"has no more than the {kept:,} bytes that were kept, and they are not all") from error
        raise _Lost(f"{error.code} {error.reason}") from error
    except OSError as error:  # URLError, TimeoutError, what TLS and sockets raise
        raise _Lost(getattr(error, "reason", None) or error) from error
    with (
        answer,
        partial.open("r+b") as file,
        Progress(console=Console(stderr=True), disable=not show_progress, transient=True) as progress,
    ):
        if answer.status == 206 and not answer.headers.get("Content-Range", "").startswith(f"bytes {kept}-"):
            raise _Refused(f"sends another part than the one from byte {kept:,}")
        received = kept if answer.status == 206 else 0
        file.truncate(received)
        file.seek(received)
        total = None if answer.length is None else received + answer.length
        if total is not None and total < (weights.size or 0):
            raise _Refused(f"sends {total:,} bytes, not the {weights.size:,} of the card")
        task = progress.add_task(f"fetching {name}", total=weights.size or total, completed=received)
        while received != total and (piece := _arrived(answer)):
            received += len(piece)
            if received > weights.bound:
                raise _Refused(f"sends more than the {weights.bound:,} bytes of the card")
            file.write(piece)
            progress.update(task, completed=received)
        os.fsync(file.fileno())
        if received < (total or weights.size or 0):
            raise http.client.HTTPException(f"the connection was lost after {received:,} bytes")


def _arrived(answer):
    """Return what has arrived, not more: it is kept even if nothing follows."""
    try:
        return answer.read1(PIECE)
    except OSError as error:
        raise _Lost(error) from error
