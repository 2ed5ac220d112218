"""Calibration: the ranges of activations that INT8 covers, from the activations of sample images.

Two passes over the images: the first finds the largest magnitude of each tensor, the second collects a histogram of
magnitudes. The methods differ in how many large outliers they clip in return for a smaller quantization step.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx_ir as ir

from exporters.choices import DEFAULT_METHOD, Method
from exporters.quantization import run
from zoo.errors import ZooError

BINS, LEVELS = 2048, 128  # bins of the histogram of magnitudes, and magnitudes that INT8 represents
EMPTY = 1e-4  # count of a quantized bin that is empty except for clipped values
PERCENTILE = 99.99  # of the values stay in range with the method "percentile"
BATCH = 32  # images whose activations are in memory at a time


def ranges(
    model: str | Path | ir.Model,
    tensors: Iterable[str],
    images: np.ndarray,
    method: str = DEFAULT_METHOD,
    advance: Callable[[int], object] = lambda images: None,
) -> dict[str, float]:
    """Return the calibration range of each tensor: the largest magnitude that is not clipped.

    Args:
        model: path of a float32 ONNX file, or a float32 model.
        tensors: names of float32 tensors in it.
        images: (n, height, width, channels) uint8 images like those in use later.
        method: "minmax" covers all values, "percentile" 99.99 % of them, and "entropy" minimizes the Kullback-Leibler
            divergence between the quantized and the original distribution of magnitudes.
        advance: called with a number of processed images; each image counts once per pass. See `passes`.

    Returns:
        Name of a tensor -> largest magnitude in range.

    Raises:
        ZooError: if the method is unknown, there are no images, or a tensor is not finite.

    References:
        S. Migacz, "8-bit Inference with TensorRT", GPU Technology Conference 2017, for "entropy".
    """
    Method.parse(method)
    if not len(images):
        raise ZooError("there are no images to calibrate with; give a few hundred images like those in use later")
    tensors = list(tensors)
    session = run.session(model, tensors)
    largest = np.zeros(len(tensors))
    for arrays in _batches(session, tensors, images, advance):
        largest = np.maximum(largest, [np.abs(array).max() for array in arrays])
    for name, magnitude in zip(tensors, largest, strict=True):
        if not np.isfinite(magnitude):
            raise ZooError(f"the tensor {name} is not finite for these images, so it has no range")
    if method == Method.MINMAX:
        return dict(zip(tensors, largest.tolist(), strict=True))
    counts = np.zeros((len(tensors), BINS), "int64")
    for arrays in _batches(session, tensors, images, advance):
        for row, (array, magnitude) in enumerate(zip(arrays, largest, strict=True)):
            counts[row] += np.histogram(np.abs(array), BINS, (0, magnitude or 1))[0]
    share = {Method.PERCENTILE: percentile, Method.ENTROPY: entropy}[method]
    return {name: magnitude * share(row) for name, magnitude, row in zip(tensors, largest.tolist(), counts, strict=True)}


def passes(method: str) -> int:
    """Return the number of passes of `ranges` over the images."""
    return 1 if method == Method.MINMAX else 2


def percentile(counts: np.ndarray, share: float = PERCENTILE) -> float:
    """Return the fraction of a histogram's range below which a percentage of its values lie.

    Args:
        counts: (bins,) int histogram of magnitudes from 0 to the largest.
        share: percentage of the values.

    Returns:
        Fraction in (0, 1], the upper edge of a bin.
    """
    total = np.cumsum(counts)
    return float(np.searchsorted(total, total[-1] * share / 100) + 1) / len(counts)


def entropy(counts: np.ndarray, levels: int = LEVELS) -> float:
    """Return the fraction of a histogram's range that loses the least information when quantized.

    For each number of bins from `levels` on, larger values are clipped, which adds them to the last bin. The bins are merged
    into `levels` groups, and the count of each group is spread evenly over its non-empty bins. The result is the number of
    bins with the smallest Kullback-Leibler divergence from the clipped histogram to the merged one. The first bin, in which
    ReLU puts many zeros that every scale represents exactly, counts as often as the second.

    Args:
        counts: (bins,) int histogram of magnitudes from 0 to the largest.
        levels: magnitudes that the quantized tensor represents.

    Returns:
        Fraction in (0, 1], the upper edge of a bin.

    References:
        S. Migacz, "8-bit Inference with TensorRT", GPU Technology Conference 2017, pp. 34-38.
    """
    counts = np.array(counts, "float64")
    counts[0] = counts[1]
    if not counts.any():
        return 1.0
    divergences = [_divergence(counts, bins, levels) for bins in range(levels, len(counts) + 1)]
    return (levels + int(np.argmin(divergences))) / len(counts)


def _divergence(counts, bins, levels):
    """Return the divergence in nats from the histogram clipped to the first bins to its quantization."""
    clipped = counts[:bins].copy()
    clipped[-1] += counts[bins:].sum()
    filled = clipped > 0
    group = np.arange(bins) * levels // bins
    spread = np.bincount(group, counts[:bins], levels) / np.maximum(np.bincount(group, filled, levels), 1)
    quantized = np.maximum(spread[group[filled]], EMPTY)
    true = clipped[filled] / clipped.sum()
    return float((true * np.log(true / (quantized / quantized.sum()))).sum())


def _batches(session, tensors, images, advance):
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        yield run.outputs(session, batch, tensors)
        advance(len(batch))
