"""Ranges that were calibrated before: of the same graph, weights and pictures with the same method they are the same."""

import hashlib
import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporters.onnx import files
from exporters.quantization import calibrate
from zoo.files import atomic, cache_folder, sha256

FORMAT = 1  # counted up when ranges are computed otherwise, so that what was kept before is not used


@dataclass(frozen=True)
class Calibration:
    """Ranges of activations and where they come from.

    Attributes:
        ranges: dict, name of a tensor -> largest magnitude.
        method: "entropy", "percentile" or "minmax".
        pictures: how many there were.
        key: hex sha256 of graph, weights, pictures and method.
        cached: they were not computed now, but taken from the cache.
    """

    ranges: dict
    method: str
    pictures: int
    key: str
    cached: bool


def calibrated(model, tensors, pictures, method, advance=lambda pictures: None):
    """Return the ranges of tensors, from the cache where they are there; else compute and keep them.

    Args:
        model: `onnx_ir.Model` of float32.
        tensors, pictures, method, advance: as for `calibrate.ranges`.

    Returns:
        `Calibration`. A file in the cache that is damaged, or lacks a tensor, is computed again and replaced.

    Raises:
        ZooError: as for `calibrate.ranges`.
    """
    calibrate.check(method)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        files.save(model, path)
        key = _key(path, pictures, method)
        kept = cache_folder() / "calibration" / f"{key}.json"
        found = _read(kept, tensors)
        if found is not None:
            return Calibration(found, method, len(pictures), key, True)
        found = calibrate.ranges(path, tensors, pictures, method, advance)
    with atomic(kept) as temporary:
        temporary.write_text(json.dumps(found, indent=1), "utf-8")
    return Calibration(found, method, len(pictures), key, False)


def _key(path, pictures, method):
    """Return the hash of all that ranges depend on; weights outside of a file are named in it by their hash."""
    digest = hashlib.sha256(json.dumps([FORMAT, sha256(path), method, pictures.shape, str(pictures.dtype)]).encode())
    digest.update(np.ascontiguousarray(pictures).data)
    return digest.hexdigest()


def _read(path, tensors):
    """Return the ranges of exactly these tensors that a file has, or None."""
    try:
        found = json.loads(path.read_text("utf-8"))
        usable = set(found) >= set(tensors) and all(0 <= found[name] < math.inf for name in tensors)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return {name: found[name] for name in tensors} if usable else None
