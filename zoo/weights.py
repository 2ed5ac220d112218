"""The weight store: a packaged file, else the cache, else the published address; nothing is used unchecked.

Weights that are the data themselves, a nearest neighbour's, have neither file nor address: the package that registers for it
in the entry-point group `zoo.weights` makes them, once, into the cache.
"""

import errno
import hashlib
import http.client
import os
import shlex
import urllib.parse
import urllib.request
from importlib import resources
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np

from zoo.errors import ZooError
from zoo.files import atomic, cache_folder, sha256

PIECE = 2**20


def find(name, weights, show_progress=True):
    """Return the path of a checked weight file, fetching it first where it has an address.

    $ZOO_CACHE moves the cache, which may be read-only once it holds the file; with $ZOO_OFFLINE set nothing is fetched.

    Args:
        name: `arch.tag`, for messages and for the name in the cache.
        weights: `zoo.schema.Weights`.
        show_progress: draw a bar while fetching.

    Returns:
        Path of a file whose sha256 is that of the card; of fitted weights, that of the file beside it, written when they
        were fitted to the data of the card.

    Raises:
        ZooError: if the file is missing, damaged, or cannot be fetched; with the command that mends it.
    """
    if weights.fitted:
        return _find_fitted(name, weights)
    if weights.file is not None:
        path = Path(str(resources.files("zoo.pretrained").joinpath(weights.file)))
        mend = "python -m pip install --force-reinstall --no-deps .  (in the folder of the zoo)"
        _check(path, name, weights.sha256, mend, weights.size)
        return path
    path = cache_folder() / "weights" / f"{name}-{weights.sha256[:12]}{Path(urllib.parse.urlparse(weights.url).path).suffix}"
    if not path.exists():
        if os.environ.get("ZOO_OFFLINE"):
            raise ZooError(f"{name} is not in the cache and ZOO_OFFLINE is set; put {weights.url} at {path}")
        _fetch(name, weights, path, show_progress)
    _check(path, name, weights.sha256, f"rm {shlex.quote(str(path))}", weights.size)
    return path


def fingerprint(values):
    """Return the hex sha256 of the bytes of arrays, in order."""
    digest = hashlib.sha256()
    for value in values:
        digest.update(np.ascontiguousarray(value).reshape(-1).view("uint8"))
    return digest.hexdigest()


def _find_fitted(name, weights):
    """Return the cached file of fitted weights, letting the package that can do so make it where there is none.

    The sha256 of the card is that of the data. That of the file differs between machines, which round differently: it is
    written beside the file, last, so that a file without it is taken for one that was never finished.
    """
    path = cache_folder() / "weights" / f"{name}-{weights.sha256[:12]}.weights.h5"
    seal = path.with_name(f"{path.name}.sha256")
    if path.exists() and seal.exists():
        _check(path, name, seal.read_text("utf-8"), f"rm {shlex.quote(str(path))} {shlex.quote(str(seal))}")
        return path
    found = list(entry_points(group="zoo.weights", name="fit"))
    if not found:
        raise ZooError(f"{name} is fitted to its data, and no package that can do so is installed")
    found[0].load()(name, weights, path)
    with atomic(seal) as temporary:
        temporary.write_text(sha256(path), "utf-8")
    return path


def _check(path, name, digest, mend, size=None):
    """Refuse a file that is not, to the bit, the one that was published or fitted."""
    if not path.is_file():
        raise ZooError(f"the weights {name} are missing at {path}; mend: {mend}")
    if size not in (None, path.stat().st_size) or sha256(path) != digest:
        expected = "the file beside" if size is None else "the card"
        raise ZooError(f"the weights {name} at {path} are damaged: their sha256 is not that of {expected}; mend: {mend}")


def _fetch(name, weights, path, show_progress):
    """Download to a temporary file, no more bytes than the card says, and name it only if its hash is right."""
    from rich.console import Console
    from rich.progress import Progress

    request = urllib.request.Request(weights.url, headers={"User-Agent": "zoo"})
    try:
        with (
            atomic(path) as temporary,
            urllib.request.urlopen(request, timeout=30) as answer,
            temporary.open("wb") as file,
            Progress(console=Console(stderr=True), disable=not show_progress, transient=True) as progress,
        ):
            task = progress.add_task(f"fetching {name}", total=weights.size)
            digest, received = hashlib.sha256(), 0
            while piece := answer.read(PIECE):
                received += len(piece)
                if received > weights.size:
                    raise ZooError(f"{weights.url} sends more than the {weights.size:,} bytes of the card; nothing was kept")
                file.write(piece)
                digest.update(piece)
                progress.update(task, completed=received)
            if digest.hexdigest() != weights.sha256:
                raise ZooError(
                    f"{weights.url} sent a file whose sha256 is not that of the card; nothing was kept, try again"
                )
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise ZooError(f"{name} could not be fetched from {weights.url} ({reason}); fetch it elsewhere to {path}") from error
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise ZooError(f"cannot write to {path.parent}; set ZOO_CACHE to a folder of yours") from error
