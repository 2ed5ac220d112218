"""The weight store: find the file of pretrained weights, download or compute it if needed, and check it.

A weight file is packaged with the zoo or with another package, or it is downloaded into the cache. Weights that consist of
the training data, as those of a nearest neighbor classifier, have neither file nor URL: a package that registers in the
entry-point group `zoo.weights` computes them once. Files of Caffe and PyTorch are downloaded and converted once.
"""

import hashlib
import os
import shlex
import urllib.parse
from collections.abc import Callable, Iterable
from importlib import resources
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo import cards
from zoo.download import algorithm, exclusive, fetch, has_digest
from zoo.errors import ZooError
from zoo.files import atomic, cache_folder, sha256

if TYPE_CHECKING:
    from zoo.schema import Weights

CONVERSION = 1  # version of the conversion of foreign files; increase it so that files converted before are not used


def find(
    name: str,
    weights: "Weights",
    show_progress: bool = True,
    convert: Callable[[Path, Path], None] | None = None,
    source: cards.Source = cards.ZOO,
) -> Path:
    """Return the path of a checked weight file. Download, compute or convert it first if it is not there.

    $ZOO_CACHE sets the cache folder, which may be read-only if it has the file already. With $ZOO_OFFLINE set, nothing is
    downloaded. An interrupted download is resumed by the next call.

    Args:
        name: `arch.tag`, for messages and for the file name in the cache.
        weights: the entry of the card.
        show_progress: show a progress bar during the download.
        convert: function that converts a checked foreign file (first argument) to an HDF5 file (second argument).
        source: the package that brings the card.

    Returns:
        Path of a file whose hash is that of the card. For fitted and converted weights, the hash is instead that of the
        file `NAME.sha256` beside it, which was written when they were fitted or converted.

    Raises:
        ZooError: if the file is missing or damaged, or cannot be downloaded; with the command that fixes it.
    """
    if weights.fitted:
        return _find_fitted(name, weights)
    if weights.format:
        return _find_foreign(name, weights, show_progress, convert)
    if weights.file is not None:
        path = Path(str(resources.files(source.package).joinpath("pretrained", weights.file)))
        install = "python -m pip install --force-reinstall --no-deps"
        what = ".  (in the folder of the zoo)" if source == cards.ZOO else source.distribution
        _check(path, name, weights.sha256, f"{install} {what}", weights.size)
        return path
    path = _cached(name, weights)
    if not path.exists():
        _check_online(name, weights, path)
        with exclusive(path) as partial:
            if not path.exists():  # another process may have downloaded it meanwhile
                fetch(name, weights, path, partial, show_progress)
                partial.replace(path)
                return path
    _check(path, name, weights.sha256, f"rm {shlex.quote(str(path))}", weights.size)
    return path


def fingerprint(values: Iterable) -> str:
    """Return the hex sha256 of the bytes of arrays, in order."""
    digest = hashlib.sha256()
    for value in values:
        digest.update(np.ascontiguousarray(value).reshape(-1).view("uint8"))
    return digest.hexdigest()


def _cached(name: str, weights: "Weights", suffix: str | None = None) -> Path:
    """Return the path of a file in the cache. Default of `suffix`: that of the URL."""
    suffix = suffix or Path(urllib.parse.urlparse(weights.url).path).suffix
    return cache_folder() / "weights" / f"{name}-{weights.digest[:12]}{suffix}"


def _find_fitted(name: str, weights: "Weights") -> Path:
    """Return the cached file of fitted weights, computed first if it is not there.

    The sha256 in the card is that of the training data. That of the file differs between machines, which round differently.
    """
    path = _cached(name, weights, ".weights.h5")
    if _is_sealed(path):
        return _intact(name, path)
    found = list(entry_points(group="zoo.weights", name="fit"))
    if not found:
        raise ZooError(f"{name} must be fitted to its training data, and no installed package can fit weights")
    found[0].load()(name, weights, path)
    _seal(path)
    return path


def _find_foreign(name: str, weights: "Weights", show_progress: bool, convert: Callable[[Path, Path], None]) -> Path:
    """Return the cached file of converted weights, converted first if it is not there.

    The original file is deleted after the conversion if it was downloaded, and kept if the user put it into the cache.
    """
    path, original = _cached(name, weights, f".v{CONVERSION}.h5"), _cached(name, weights)
    if _is_sealed(path):
        return _intact(name, path)
    if not original.exists():
        _check_online(name, weights, original)
    with exclusive(original) as partial:
        if _is_sealed(path):  # another process may have converted it meanwhile
            return _intact(name, path)
        if original.exists():
            _check(original, name, weights.digest, f"rm {shlex.quote(str(original))}", weights.size)
            convert(original, path)
        else:
            fetch(name, weights, original, partial, show_progress)
            convert(partial, path)
        _seal(path)
        partial.unlink(missing_ok=True)
    return path


def _is_sealed(path: Path) -> bool:
    """Return whether a file is complete: its hash is written last, to the file beside it."""
    return path.exists() and _seal_path(path).exists()


def _seal(path: Path) -> None:
    """Write the hash of a complete file to the file beside it."""
    with atomic(_seal_path(path)) as temporary:
        temporary.write_text(sha256(path), "utf-8")


def _intact(name: str, path: Path) -> Path:
    """Return the path of a sealed file after a check of its hash."""
    seal = _seal_path(path)
    fix = f"rm {shlex.quote(str(path))} {shlex.quote(str(seal))}"
    _check(path, name, seal.read_text("utf-8"), fix, source=f"in {seal.name}")
    return path


def _seal_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _check(path: Path, name: str, digest: str, fix: str, size: int | None = None, source: str = "of the card") -> None:
    """Refuse a file that differs from the one that was published, fitted or converted.

    Args:
        path: the file.
        name: `arch.tag`, for messages.
        digest: the expected hex sha256 or sha1.
        fix: the command for the message.
        size: the expected number of bytes, or None if unknown.
        source: where the expected hash stands, for the message.
    """
    if not path.is_file():
        raise ZooError(f"the weights {name} are missing at {path}; fix: {fix}")
    if size not in (None, path.stat().st_size) or not has_digest(path, digest):
        raise ZooError(
            f"the weights {name} at {path} are damaged: their {algorithm(digest)} is not that {source}; fix: {fix}"
        )


def _check_online(name: str, weights: "Weights", path: Path) -> None:
    if os.environ.get("ZOO_OFFLINE"):
        raise ZooError(f"{name} is not in the cache and ZOO_OFFLINE is set; put {weights.url} at {path}")
