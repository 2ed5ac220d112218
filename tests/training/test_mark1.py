"""The experiment on the Mark I, its smallest task."""

import json

import numpy as np

from training.evaluation import score
from training.experiments import mark1


def test_e_and_f(tmp_path, monkeypatch, capsys):
    """60 images are learned without error; at other places more than 70 % are right, by machines of different wirings."""
    (task,) = (each for each in mark1.TASKS if each.name.startswith("E or F"))
    source = task.source()
    first, second = (mark1.learn(task, source, seed) for seed in (1, 2))
    assert score(first, source.parts["train"]).error == score(second, source.parts["train"]).error == 0
    assert (mark1.templates(first)["E"] != mark1.templates(second)["E"]).any()

    monkeypatch.setattr(mark1, "TASKS", (task,))
    result = mark1.run(tmp_path, seeds=2)
    accuracy = result[task.name]["accuracy"]
    np.testing.assert_allclose(accuracy, [100 - score(each, source.parts["test"]).error for each in (first, second)])
    assert min(accuracy) > 70
    assert json.loads((tmp_path / "result.json").read_text("utf-8")) == {"seeds": 2, **result}
    assert (tmp_path / "mark1.png").stat().st_size > 5000
    assert f"{np.mean(accuracy):.2f}" in capsys.readouterr().out
