"""The gate: does a file compute what its model computes?"""

from dataclasses import dataclass

import numpy as np

from zoo.errors import CheckFailed

# Of scores in float32: what another order of the same additions may change.
ABSOLUTE, RELATIVE = 1e-4, 1e-4
# One picture at a time and an uneven number: a dynamic batch that was frozen shows at the second.
BATCHES = (1, 7)
ONE_BY_ONE = 16  # pictures that are also run alone


@dataclass(frozen=True)
class Report:
    """What the comparison of a file with its model found."""

    pictures: int
    batches: tuple
    largest_difference: float
    flipped_labels: int
    problems: tuple
    file: str = ""

    @property
    def passed(self):
        return not self.problems

    def raise_if_failed(self):
        """Raise `CheckFailed` with every problem, if there is one."""
        if self.problems:
            raise CheckFailed(f"the file does not compute what the model computes: {'; '.join(self.problems)}")


def compare(reference, candidate, pictures):
    """Compare two functions from raw pictures to scores.

    Args:
        reference: the model, (batch, height, width, channels) uint8 -> (batch, classes).
        candidate: the exported file, likewise.
        pictures: (n, height, width, channels) uint8 real pictures.

    Returns:
        `Report`. It fails on another shape, on scores that are not finite, on a difference above tolerance, and on any
        picture whose label is not the same.
    """
    problems, largest, flipped = [], 0.0, set()
    if not len(pictures):
        problems.append("there is no picture to compare them on")
    elif len(pictures) < max(BATCHES):  # a few pictures fill a batch by turns
        pictures = np.resize(pictures, (max(BATCHES), *pictures.shape[1:]))
    for size in BATCHES:
        some = pictures[:ONE_BY_ONE] if size == 1 else pictures
        for start in range(0, len(some), size):
            batch = some[start : start + size]
            expected = np.asarray(reference(batch))
            try:
                given = np.asarray(candidate(batch))
            except Exception as error:  # what a runtime raises for a batch that it cannot take
                problems.append(f"a batch of {len(batch)} fails: {(str(error).splitlines() or [type(error).__name__])[0]}")
                break
            if expected.shape != given.shape:
                problems.append(f"a batch of {len(batch)} gives {given.shape}, the model {expected.shape}")
                break
            if not (np.isfinite(given).all() and np.isfinite(expected).all()):
                problems.append(f"scores of a batch of {len(batch)} are not finite")
                break
            difference = np.abs(given - expected)
            largest = max(largest, float(difference.max()))
            flipped.update((start + np.flatnonzero(given.argmax(axis=1) != expected.argmax(axis=1))).tolist())
            if (difference > ABSOLUTE + RELATIVE * np.abs(expected)).any():
                problems.append(f"scores of a batch of {len(batch)} differ by up to {difference.max():.3g}")
                break
    if flipped:
        problems.append(f"{len(flipped)} labels differ")
    return Report(len(pictures), BATCHES, largest, len(flipped), tuple(problems))
