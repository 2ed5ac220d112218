"""Pillow's antialiased bilinear resize, to the last bit: its weights are whole numbers of 22 bits behind the point."""

import numpy as np

BITS = 22  # Pillow's PRECISION_BITS


def resize(array, size, box=None):
    """Scale a part of a picture.

    Args:
        array: (height, width, channels) uint8.
        size: (width, height) of the result.
        box: (left, top, right, bottom) of the part, in pixels and parts of them; by default all of it.

    Returns:
        (height, width, channels) uint8.
    """
    height, width = array.shape[:2]
    left, top, right, bottom = np.float32((0, 0, width, height) if box is None else box)  # C's type for them
    passes = [(1, left, right), (0, top, bottom)]
    if height - size[1] > max(0, 2 * (width - size[0])):  # as Pillow from 13 on; each pass rounds, so that the order shows
        passes.reverse()
    for axis, start, end in passes:
        count = size[1 - axis]
        if (start, end) != (0, count) or array.shape[axis] != count:
            array = _scaled(array.swapaxes(1, axis), start, end, count).swapaxes(1, axis)
    return np.ascontiguousarray(array)


def _scaled(array, start, end, count):
    """Scale the second axis of (rows, columns, channels) to so many columns."""
    scaled = np.empty((array.shape[0], count, array.shape[2]), "uint8")
    scale = float(end - start) / count
    for place in range(count):
        first, weights = _weights(array.shape[1], float(start) + (place + 0.5) * scale, max(scale, 1.0))
        part = array[:, first : first + len(weights)].astype("float64")  # whole numbers below 2**53: exact
        sums = np.tensordot(part, weights, axes=(1, 0))
        scaled[:, place] = np.clip(np.floor((sums + (1 << BITS - 1)) / (1 << BITS)), 0, 255)
    return scaled


def _weights(length, center, support):
    """Return the first place that counts towards a center and the weights from there on, whole numbers as floats."""
    first, last = max(int(center - support + 0.5), 0), min(int(center + support + 0.5), length)
    weights = [max(0.0, 1.0 - abs((place + first - center + 0.5) * (1.0 / support))) for place in range(last - first)]
    total = 0.0
    for weight in weights:  # one after another, as C adds; Python's sum is more exact
        total += weight
    return first, np.array([int(0.5 + weight / total * (1 << BITS)) for weight in weights], "float64")
