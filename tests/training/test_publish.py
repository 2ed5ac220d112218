"""`python -m training.publish`: its errors. Publishing itself is in tests/training/engine/test_fitted_weights.py."""

import json
import subprocess
import sys

import pytest

from training import publish, recipe
from zoo import schema
from zoo.errors import ZooError


def write_metrics(folder, **changes):
    """Write the metrics.json of a run of lenet5-mnist, as far as it is read before an error."""
    folder.mkdir()
    values = recipe.load("lenet5-mnist", **changes).model_dump(mode="json", exclude_none=True)
    (folder / "metrics.json").write_text(json.dumps({"recipe": values}))
    return folder


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lenet5", r"'lenet5' has no tag; name the weights MODEL\.TAG, such as lenet5\.mnist$"),
        ("lenet5.mnist", r"^zoo/cards/lenet5\.toml has \[weights\.mnist\] already; to publish again, remove it"),
    ],
)
def test_wrong_name(name, message, tmp_path):
    with pytest.raises(ZooError, match=message):
        publish.publish(name, "lenet5-mnist", [write_metrics(tmp_path / "run")])


def test_runs_of_different_recipes(tmp_path):
    """The seeds may differ. The message names each other key, and both values."""
    runs = [write_metrics(tmp_path / "one", seed=1), write_metrics(tmp_path / "two", seed=2, epochs=20)]
    message = r"different recipes: epochs is 25 in .*one and 20 in .*two; only the seeds may differ"
    with pytest.raises(ZooError, match=message):
        publish.publish("lenet5.other", "lenet5-mnist", runs)


def test_runs_of_a_changed_recipe(tmp_path):
    changes = {"epochs": 20, "patience": 3, "optimizer.config.weight_decay": 0.2}
    runs = [write_metrics(tmp_path / str(seed), seed=seed, **changes) for seed in (2, 3)]
    with pytest.raises(ZooError) as caught:
        publish.publish("lenet5.other", "lenet5-mnist", runs)
    assert str(caught.value) == (
        "the runs have another recipe than the current lenet5-mnist: epochs is 20 in the runs and 25 in lenet5-mnist, "
        "optimizer.config.weight_decay is 0.2 in the runs and 0.1 in lenet5-mnist, patience is 3 in the runs and 0 in "
        "lenet5-mnist; restore the recipe's values, or train the runs again, each in a new directory: "
        "zoo train lenet5-mnist --set seed=2 --out DIR"
    )


def test_header_of_several_seeds():
    """The form is the one that tests/test_readme.py reads: mean and sample standard deviation."""
    same = {"result": "test error", "dataset": "mnist", "recipe": "x", "device": "x", "date": "x", "command": "x"}
    measured = schema.Measured(**same, values=[0.86, 0.86, 0.83], seeds=[1, 2, 3])
    assert publish._header(measured) == "# Measured: 0.85 ± 0.02 % test error, seeds 1 to 3;"


def test_errors_are_one_line(tmp_path):
    command = [sys.executable, "-m", "training.publish", "lenet5.other", "lenet5-mnist", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"zoo: {tmp_path / 'none'} is not the directory of a finished run")
