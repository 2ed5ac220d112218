"""Run directories: predictions.csv, reading a run, damaged files."""

import csv

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from reports import HOSTILE, Page, evaluated, write_run
from runs import fit, write_recipe
from training import report
from zoo.errors import ZooError


def test_predictions_csv_has_the_prediction_for_each_image(tmp_path):
    evaluation, samples = evaluated(HOSTILE, named=True)
    report.write_predictions(evaluation, samples, tmp_path / "predictions.csv")
    with (tmp_path / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60
    for row, scores, label in zip(rows, evaluation.scores, evaluation.labels, strict=True):
        others = [score for index, score in enumerate(scores) if index != label]
        assert float(row["margin"]) == pytest.approx(scores[label] - max(others), rel=1e-4)
        assert (row["true"], row["answer"]) == (HOSTILE[label], HOSTILE[int(np.argmax(scores))])
        assert (float(row["margin"]) < 0) == (row["true"] != row["answer"])
    assert rows[0]["picture"] == f"{HOSTILE[0]}/000.png" and len({row["sha256"] for row in rows}) == 60


def test_a_saved_evaluation_equals_the_original(tmp_path):
    evaluation = write_run(tmp_path / "run", HOSTILE)
    run = report.read_run(tmp_path / "run")
    np.testing.assert_array_equal(run.evaluation.labels, evaluation.labels)
    np.testing.assert_array_equal(run.evaluation.predictions, evaluation.predictions)
    assert run.evaluation.per_class() == evaluation.per_class() and run.evaluation.class_names == HOSTILE
    worst = [int(image) for image, *_ in run.evaluation.most_confident_mistakes(12)]
    assert worst == evaluation.wrong[:12].tolist() and len(worst) > 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.json", '{"error": ', r"metrics.json is damaged: .*with --resume to write it again"),
        ("metrics.json", "[]", "metrics.json is damaged: expected the keys part, pictures"),
        ("history.csv", "epoch,loss\n1,abc\n", "history.csv is damaged: could not convert"),
        ("history.csv", "epoch,loss\n", "history.csv is damaged: expected the columns epoch, loss and error"),
        ("predictions.csv", "", "predictions.csv is damaged"),
        ("predictions.csv", "picture,true\n1,a\n", "expected the columns picture, true, answer"),
        ("predictions.csv", "picture,true,answer,margin,sha256\n0,a,z,1,0\n", "predictions.csv is damaged: 'z'"),
        ("predictions.csv", "picture,true,answer,margin,sha256\n0,a,a,1,0\n", "it does not match metrics.json"),
        ("recipe.toml", "model = ", "recipe.toml is damaged: .*a run cannot be reported without it"),
    ],
)
def test_a_damaged_run_is_refused_and_gets_no_report(tmp_path, name, content, message):
    write_run(tmp_path / "run")
    (tmp_path / "run" / name).write_text(content)
    with pytest.raises(ZooError, match=message):
        report.write(tmp_path / "run")
    assert not (tmp_path / "run" / "report.html").exists()


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(ZooError, match=r"no folder .*; expected a run directory"):
        report.write(tmp_path / "nowhere")
    with pytest.raises(ZooError, match=r"is not a run directory: it has no recipe\.toml"):
        report.write(tmp_path)
    write_run(tmp_path / "run")
    (tmp_path / "run" / "history.csv").unlink()
    with pytest.raises(ZooError, match="its first epoch is not finished"):
        report.write(tmp_path / "run")


@pytest.fixture(scope="module")
def real(few, tmp_path_factory):
    """A finished run: its recipe's file, its folder, what fit returned."""
    folder = tmp_path_factory.mktemp("real")
    path = write_recipe(folder / "mine.toml", few, "linear")
    return path, folder / "run", fit(path, folder / "run")


def test_real_runs_can_be_read_and_compared(real, tmp_path):
    path, out, metrics = real
    run = report.read_run(out)
    assert run.evaluation.error == pytest.approx(metrics["error"], abs=1e-3) and run.best["epoch"] == metrics["best_epoch"]
    page = Page((out / "report.html").read_text("utf-8"))
    assert metrics["data_fingerprint"] in page.text and f"{100 - metrics['error']:.1f} % accuracy" in page.text
    fit(path, tmp_path / "lazy", **{"optimizer.config.learning_rate.config.initial_learning_rate": 0.0})
    compared = report.compare([out, tmp_path / "lazy"], tmp_path / "comparison.html")
    assert compared["settings"] == {"initial_learning_rate": [0.003, 0.0]} and compared["warnings"] == []
    assert compared["tests"][0]["p"] < 0.05 and f"{out} is significantly better" in compared["tests"][0]["words"]


def test_tensorboard_logs_equal_the_history(real):
    _, out, _ = real
    rows = report.read_run(out).history
    values = {}
    for part in ("train", "validation"):
        logs = EventAccumulator(str(out / "logs" / part)).Reload()
        for tag in logs.Tags()["tensors"]:
            values[part, tag] = [float(make_ndarray(event.tensor_proto)) for event in logs.Tensors(tag)]
    for tag, key in (
        (("train", "epoch_loss"), "loss"),
        (("validation", "epoch_loss"), "val_loss"),
        (("train", "epoch_images_per_second"), "images_per_second"),
        (("train", "epoch_learning_rate"), "learning_rate"),
    ):
        assert values[tag] == pytest.approx([row[key] for row in rows], rel=1e-5), tag
    for part, key in (("train", "error"), ("validation", "val_error")):
        found = [100 * (1 - accuracy) for accuracy in values[part, "epoch_accuracy"]]
        assert found == pytest.approx([row[key] for row in rows], abs=1e-4)
