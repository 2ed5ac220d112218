"""Small training runs for tests: recipes, runs, and comparisons of their files."""

import csv

import numpy as np
from rich.console import Console

import training
import zoo
from training import recipe

RECIPE = """
model = "MODEL"
epochs = 2
batch_size = 32
seed = 3
[data]
name = "FOLDER"
validation = 0.2
test = 0.2
[optimizer]
class_name = "AdamW"
[optimizer.config.learning_rate]
class_name = "CosineDecay"
config = { initial_learning_rate = 0.003 }
"""


def write_recipe(path, folder, model="lenet5-modern", more=""):
    path.write_text(RECIPE.replace("MODEL", model).replace("FOLDER", str(folder)) + more)
    return path


def fit(path, out, resume=False, **changes):
    fit_only = {key: changes.pop(key) for key in ("checkpoint_every",) if key in changes}
    return training.fit(recipe.load(path, **changes), out, resume=resume, console=Console(quiet=True), **fit_only)


def rows_of(out):
    with (out / "history.csv").open() as file:
        return list(csv.DictReader(file))


def left(out):
    """Return the last checkpoint, the best weights and the history of a run, without its measured times."""
    with np.load(out / "last.npz") as stored:
        arrays = {name: stored[name] for name in stored.files if name != "notes"}
    rows = [
        {key: value for key, value in row.items() if key not in ("images_per_second", "seconds")} for row in rows_of(out)
    ]
    return arrays, zoo.load(out / "best.keras").get_weights(), rows


def assert_bit_equal(first, second):
    (arrays, best, rows), (other_arrays, other_best, other_rows) = first, second
    assert rows == other_rows
    # Keras numbers optimizers and seed generators in their names, so arrays are compared in order, not by name.
    for one, two in zip([*arrays.values(), *best], [*other_arrays.values(), *other_best], strict=True):
        assert one.tobytes() == two.tobytes()
