"""The state of a run in one file, so that it is either all of one step or all of another."""

import json

import numpy as np

from zoo.errors import CheckFailed, ZooError
from zoo.files import atomic


def save(path, variables, notes):
    """Write variables and notes to one `.npz`, atomically.

    Args:
        path: the file.
        variables: list of Keras variables: weights, optimizer slots, metrics, seed states.
        notes: what JSON can hold, such as the history of the run and where it is.

    Raises:
        CheckFailed: if a value is no finite number; the file is left as it was.
    """
    arrays = {f"{index}:{variable.path}": np.asarray(variable) for index, variable in enumerate(variables)}
    for name, array in arrays.items():
        if not np.isfinite(np.sum(array, dtype="float64")) and not np.isfinite(array).all():
            raise CheckFailed(f"{name.partition(':')[2]} is no longer finite")
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, notes=np.array(json.dumps(notes)), **arrays)


def restore(path, variables):
    """Put the values of a checkpoint into variables.

    Raises:
        ZooError: if the file is damaged or holds the state of another net or optimizer.
    """
    values = list(_read(path, lambda stored: {name: stored[name] for name in stored.files if name != "notes"}).values())
    if [value.shape for value in values] != [tuple(variable.shape) for variable in variables]:
        raise ZooError(f"{path} holds the state of another net or optimizer; give the recipe that it was made with")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def notes(path):
    """Return the notes of a checkpoint, of which nothing else is read; raises `ZooError` if they are damaged."""
    return _read(path, lambda stored: json.loads(str(stored["notes"])))


def _read(path, what):
    try:
        with np.load(path, allow_pickle=False) as stored:
            return what(stored)
    except Exception as error:  # a damaged archive raises what zipfile, zlib, NumPy or JSON choose to
        raise ZooError(f"{path} is damaged ({error}); start anew in another folder") from error
