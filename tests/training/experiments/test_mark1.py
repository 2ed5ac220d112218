"""The experiment on the Mark I: its smallest task."""

import json

import keras
import numpy as np
import pytest

import zoo
from training import data
from training.evaluation.evaluate import score
from training.experiments import mark1


def test_e_and_f(tmp_path, monkeypatch, capsys):
    """60 training images without error, and more than 70 % at other positions, with two wirings."""
    (task,) = (each for each in mark1.TASKS if each.name.startswith("E or F"))
    source = task.source()
    first, second = (mark1.train(task, source, seed) for seed in (1, 2))
    assert score(first, source.splits["train"]).error == score(second, source.splits["train"]).error == 0
    assert (mark1.templates(first)["E"] != mark1.templates(second)["E"]).any()

    monkeypatch.setattr(mark1, "TASKS", (task,))
    result = mark1.run(tmp_path, seeds=2)
    accuracy = result[task.name]["accuracy"]
    np.testing.assert_allclose(accuracy, [100 - score(each, source.splits["test"]).error for each in (first, second)])
    assert min(accuracy) > 70
    assert json.loads((tmp_path / "result.json").read_text("utf-8")) == {"seeds": 2, **result}
    assert (tmp_path / "mark1.png").stat().st_size > 5000
    assert f"{np.mean(accuracy):.2f}" in capsys.readouterr().out


def drawn(name):
    return data.load(f"drawn:{name}", zoo.card("mark1").picture.model_dump()).splits


def test_a_quarter_of_the_units_are_active_for_a_letter():
    net = zoo.build("mark1")
    association = keras.Model(net.inputs, net.get_layer("association").output)
    fires = association.predict(drawn("letters")["train"].images / 255, verbose=0)
    assert set(np.unique(fires)) == {0, 1} and fires.mean() == pytest.approx(0.25, abs=0.01)


def test_most_test_squares_are_training_images():
    """As the card says: 54 %, and 99 % of the squares and 8 % of the circles."""
    parts = drawn("square-circle")
    shown = {image.tobytes() for image in parts["train"].images}
    seen = np.array([image.tobytes() in shown for image in parts["test"].images])
    shares = [seen.mean(), *(seen[parts["test"].labels == label].mean() for label in (0, 1))]
    assert [round(100 * share) for share in shares] == [54, 99, 8]
