"""Cache of calibration ranges, keyed by graph, weights, images and method."""

import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from exporters.choices import Method
from exporters.onnx import files
from exporters.quantization import calibrate
from zoo.files import atomic, cache_folder, sha256

FORMAT = 1  # incremented when the computation of ranges changes, which invalidates the cache


@dataclass(frozen=True)
class Calibration:
    """Calibration ranges of activations and their origin.

    Attributes:
        ranges: name of a tensor -> largest magnitude in range.
        method: `exporters.choices.Method`.
        pictures: number of calibration images.
        key: hex sha256 of graph, weights, images and method.
        cached: whether the ranges were read from the cache.
    """

    ranges: dict[str, float]
    method: str
    pictures: int
    key: str
    cached: bool


def calibrated(
    model: ir.Model,
    tensors: Iterable[str],
    images: np.ndarray,
    method: str,
    advance: Callable[[int], object] = lambda images: None,
) -> Calibration:
    """Return the calibration ranges of tensors from the cache, or compute and store them.

    A cached file that is damaged or lacks a tensor is replaced.

    Args:
        model: float32 model.
        tensors, images, method, advance: as for `calibrate.ranges`.

    Raises:
        ZooError: as for `calibrate.ranges`.
    """
    Method.parse(method)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        files.save(model, path)
        key = _key(path, images, method)
        cached = cache_folder() / "calibration" / f"{key}.json"
        ranges = _read(cached, tensors)
        if ranges is not None:
            return Calibration(ranges, method, len(images), key, True)
        ranges = calibrate.ranges(path, tensors, images, method, advance)
    with atomic(cached) as temporary:
        temporary.write_text(json.dumps(ranges, indent=1), "utf-8")
    return Calibration(ranges, method, len(images), key, False)


def _key(path, images, method):
    """Return the hash of everything that ranges depend on. A file refers to external weights by their hash."""
    digest = hashlib.sha256(json.dumps([FORMAT, sha256(path), method, images.shape, str(images.dtype)]).encode())
    digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()


def _read(path, tensors):
    """Return the ranges of exactly these tensors from a cached file, or None."""
    try:
        ranges = json.loads(path.read_text("utf-8"))
        usable = set(ranges) >= set(tensors) and all(0 <= ranges[name] < math.inf for name in tensors)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return {name: ranges[name] for name in tensors} if usable else None
