"""The weight store: a packaged file, else the cache, else the published address; nothing is used unchecked."""

import errno
import hashlib
import http.client
import os
import shlex
import urllib.parse
import urllib.request
from importlib import resources
from pathlib import Path

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
        Path of a file whose sha256 is that of the card.

    Raises:
        ZooError: if the file is missing, damaged, or cannot be fetched; with the command that mends it.
    """
    if weights.file is not None:
        path = Path(str(resources.files("zoo.pretrained").joinpath(weights.file)))
        _check(path, name, weights, "python -m pip install --force-reinstall --no-deps .  (in the folder of the zoo)")
        return path
    path = cache_folder() / "weights" / f"{name}-{weights.sha256[:12]}{Path(urllib.parse.urlparse(weights.url).path).suffix}"
    if not path.exists():
        if os.environ.get("ZOO_OFFLINE"):
            raise ZooError(f"{name} is not in the cache and ZOO_OFFLINE is set; put {weights.url} at {path}")
        _fetch(name, weights, path, show_progress)
    _check(path, name, weights, f"rm {shlex.quote(str(path))}")
    return path


def _check(path, name, weights, mend):
    """Refuse a file that is not, to the bit, the one of the card."""
    if not path.is_file():
        raise ZooError(f"the weights {name} are missing at {path}; mend: {mend}")
    if path.stat().st_size != weights.size or sha256(path) != weights.sha256:
        raise ZooError(f"the weights {name} at {path} are damaged: their sha256 is not that of the card; mend: {mend}")


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
