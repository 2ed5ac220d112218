"""The rounding errors of a model's own float32 outputs, measured against float64."""

import numpy as np

from exporters.precision import Precision

FACTOR = 4  # an exact runtime may err by as much as the model, in the other direction, and by more at another image
LARGEST = {
    Precision.FP32: 1e-2,
    Precision.FP16: 5e-2,
}  # relative to the scores; where a model rounds by more, nothing is shown
STEP = {Precision.FP32: 1, Precision.FP16: 2**13}  # rounding error of one operation, relative to float32


def allowance(
    inputs: np.ndarray, outputs: np.ndarray, exact: np.ndarray, precision: Precision
) -> tuple[np.ndarray, np.ndarray]:
    """Return how much a right file may differ from a model at each input because the model itself rounds.

    The error of one output may be small by chance. So the largest error counts among the inputs of the same scale. Whole
    numbers may not differ.

    Args:
        inputs: (n, ...) array.
        outputs: (n, ...) array, of the model.
        exact: (n, ...) array, of the same model in float64.
        precision: of the file.

    Returns:
        (n,) float64 array, and an (n,) array of whether the model is exact enough at an input to judge a file there.
    """
    axes = tuple(range(1, outputs.ndim))
    with np.errstate(invalid="ignore", over="ignore"):
        errors = np.nan_to_num(np.abs(outputs - exact), nan=np.inf).max(axis=axes, initial=0)
        magnitudes = np.abs(inputs.astype("float64")).max(axis=tuple(range(1, inputs.ndim)), initial=0)
        scales = np.round(np.log2(np.maximum(magnitudes, 1e-30)) / 2)
    if outputs.dtype.kind in "iub":  # a whole number is the same in float64, or it is at a tie
        return np.zeros(len(errors)), errors == 0
    for scale in np.unique(scales):
        errors[scales == scale] = errors[scales == scale].max()
    allowed = FACTOR * STEP[precision] * errors
    return allowed, allowed <= LARGEST[precision] * np.abs(outputs).max(axis=axes, initial=0)
