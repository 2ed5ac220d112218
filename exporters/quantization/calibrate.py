"""Ranges of activations, from what a net computes of pictures: which magnitudes shall INT8 still tell apart?

Two passes over the pictures, a batch at a time: the first finds the largest magnitude of each tensor, the second counts how
often each magnitude is met. The methods differ in how much of the rare, large ones they give up for finer steps.
"""

import numpy as np

from exporters.quantization import run
from zoo.errors import ZooError, did_you_mean

METHODS = ("percentile", "entropy", "minmax")
DEFAULT = "percentile"  # which loses least, all in all: entropy fails where most of a map is one value, as the paper's white
BINS, LEVELS = 2048, 128  # of the histogram of magnitudes, and of those the ones that INT8 has
EMPTY = 1e-4  # of a count: a group that is empty but for what was clipped into it
PERCENTILE = 99.99  # of all values, those that "percentile" keeps in range
BATCH = 32  # pictures at a time, whose activations are in memory


def ranges(model, tensors, pictures, method=DEFAULT, advance=lambda pictures: None):
    """Return the largest magnitude of each tensor that is to stay in range.

    Args:
        model: path of a float32 ONNX file, or an `onnx_ir.Model`.
        tensors: names of float32 tensors within it.
        pictures: (n, height, width, channels) uint8, such as the net will see.
        method: "minmax" keeps the largest magnitude met; "percentile" 99.99 % of the values; "entropy" those for which the
            quantized distribution of magnitudes tells most about the true one.
        advance: called with a number of pictures, each of which counts once a pass; for a progress bar. See `passes`.

    Returns:
        dict, name -> float.

    Raises:
        ZooError: if there is no such method, no picture, or a tensor is not finite.

    References:
        S. Migacz, "8-bit Inference with TensorRT", GPU Technology Conference 2017, for "entropy".
    """
    check(method)
    if not len(pictures):
        raise ZooError("there is no picture to calibrate with; give some hundred such as the net will see")
    tensors = list(tensors)
    session = run.session(model, tensors)
    largest = np.zeros(len(tensors))
    for arrays in _batches(session, tensors, pictures, advance):
        largest = np.maximum(largest, [np.abs(array).max() for array in arrays])
    for name, found in zip(tensors, largest, strict=True):
        if not np.isfinite(found):
            raise ZooError(f"the tensor {name} is not finite on these pictures, so that it has no range")
    if method == "minmax":
        return dict(zip(tensors, largest.tolist(), strict=True))
    counts = np.zeros((len(tensors), BINS), "int64")
    for arrays in _batches(session, tensors, pictures, advance):
        for row, (array, most) in enumerate(zip(arrays, largest, strict=True)):
            counts[row] += np.histogram(np.abs(array), BINS, (0, most or 1))[0]
    choose = {"percentile": percentile, "entropy": entropy}[method]
    return {name: most * choose(row) for name, most, row in zip(tensors, largest.tolist(), counts, strict=True)}


def check(method):
    """Refuse what is no method of calibration."""
    if method not in METHODS:
        raise ZooError(f"no method of calibration '{method}'{did_you_mean(method, METHODS)} There are {', '.join(METHODS)}")


def passes(method):
    """Return how many times `ranges` looks at each picture."""
    return 1 if method == "minmax" else 2


def percentile(counts, share=PERCENTILE):
    """Return the part of the range of a histogram below which a share of its values lie.

    Args:
        counts: (bins,) int, of magnitudes from 0 to the largest.
        share: in percent.

    Returns:
        float in (0, 1], an upper edge of a bin.
    """
    total = np.cumsum(counts)
    return float(np.searchsorted(total, total[-1] * share / 100) + 1) / len(counts)


def entropy(counts, levels=LEVELS):
    """Return the part of the range of a histogram that, quantized, tells most about it.

    For each number of bins from `levels` on: what lies above is clipped, that is counted in the last of them; the bins are
    joined to `levels` groups, over whose bins that are not empty a group's count is spread evenly. The number is chosen for
    which the Kullback-Leibler divergence from the clipped histogram to that one is least. Zeros, of which ReLU gives
    many and which any scale holds exactly, count as often as the next smallest magnitudes.

    Args:
        counts: (bins,) int, of magnitudes from 0 to the largest.
        levels: magnitudes that the quantized tensor has.

    Returns:
        float in (0, 1], an upper edge of a bin.

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
    """Return the divergence, in nats, from the first bins, the rest in the last of them, to what so many levels keep."""
    clipped = counts[:bins].copy()
    clipped[-1] += counts[bins:].sum()
    some = clipped > 0
    group = np.arange(bins) * levels // bins
    spread = np.bincount(group, counts[:bins], levels) / np.maximum(np.bincount(group, some, levels), 1)
    quantized = np.maximum(spread[group[some]], EMPTY)
    true = clipped[some] / clipped.sum()
    return float((true * np.log(true / (quantized / quantized.sum()))).sum())


def _batches(session, tensors, pictures, advance):
    for start in range(0, len(pictures), BATCH):
        batch = pictures[start : start + BATCH]
        yield run.outputs(session, batch, tensors)
        advance(len(batch))
