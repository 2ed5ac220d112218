"""Checkpoints: the complete state of a run in one file, written atomically."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.errors import CheckFailed, ZooError
from zoo.files import atomic


def save(path: Path, variables: Sequence[keras.Variable], notes: dict) -> None:
    """Write variables and notes to one `.npz` file.

    Args:
        path: the file.
        variables: Keras variables: weights, optimizer slots, metrics, seed states.
        notes: JSON-serializable values, such as the history of the run and the current step.

    Raises:
        CheckFailed: if a value is not finite; the file is then not changed.
    """
    arrays = {f"{index}:{variable.path}": np.asarray(variable) for index, variable in enumerate(variables)}
    for name, array in arrays.items():
        if not np.isfinite(np.sum(array, dtype="float64")) and not np.isfinite(array).all():
            raise CheckFailed(f"{name.partition(':')[2]} is no longer finite")
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, notes=np.array(json.dumps(notes)), **arrays)


def restore(path: Path, variables: Sequence[keras.Variable]) -> None:
    """Assign the values of a checkpoint to variables.

    Args:
        path: the file.
        variables: the Keras variables, in the order of `save`.

    Raises:
        ZooError: if the file is damaged, or is the checkpoint of another model or optimizer.
    """
    values = list(_read(path, lambda stored: {name: stored[name] for name in stored.files if name != "notes"}).values())
    if [value.shape for value in values] != [tuple(variable.shape) for variable in variables]:
        raise ZooError(f"{path} is the checkpoint of another model or optimizer; use the recipe of its run")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def notes(path: Path) -> dict:
    """Return the notes of a checkpoint without reading its variables.

    Raises:
        ZooError: if the file is damaged.
    """
    return _read(path, lambda stored: json.loads(str(stored["notes"])))


def _read(path: Path, read: Callable[[Any], Any]) -> Any:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return read(stored)
    except Exception as error:  # a damaged archive raises errors of zipfile, zlib, NumPy or JSON
        raise ZooError(f"{path} is damaged ({error}); start a new run with another --out") from error
