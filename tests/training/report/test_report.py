"""The page of a run, its figures, and what is read back of its folder."""

import csv
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from reports import HOSTILE, Page, evaluated, history, write_run
from runs import fit, write_recipe
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from training import report
from zoo.errors import ZooError


def page_of(folder):
    report.write(folder)
    return Page((folder / "report.html").read_text("utf-8"))


def test_predictions_are_the_answer_to_each_image(tmp_path):
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


def test_what_is_read_back_is_what_was_measured(tmp_path):
    evaluation = write_run(tmp_path / "run", HOSTILE)
    run = report.read_run(tmp_path / "run")
    np.testing.assert_array_equal(run.evaluation.labels, evaluation.labels)
    np.testing.assert_array_equal(run.evaluation.predictions, evaluation.predictions)
    assert run.evaluation.per_class() == evaluation.per_class() and run.evaluation.class_names == HOSTILE
    worst = [int(image) for image, *_ in run.evaluation.most_confident_mistakes(12)]
    assert worst == evaluation.wrong[:12].tolist() and len(worst) > 3


def test_the_page_is_one_file_that_tells_the_result_and_how_to_get_it_again(tmp_path):
    out = tmp_path / "run"
    counts = {"train": {"a": 40, "b": 1234, "c": 40}, "test": {"a": 20, "b": 20, "c": 20}}
    command = "zoo train mine.toml --out runs/x"
    evaluation = write_run(out, named=True, command=command, class_counts=counts, left_out=["b/9.png is no picture"])
    Image.new("RGB", (40, 20), "red").save(out / "seen.png")
    page = page_of(out)
    assert page.addresses and all(re.match(r"data:image/png;base64,[\w+/]+=*$|#skipped$", each) for each in page.addresses)
    assert page.tags.count("img") == 4  # curves, confusion, mistakes, what the net is shown
    assert "script" not in page.tags and "link" not in page.tags
    assert f"{100 - evaluation.error:.1f} % accuracy" in page.text
    low, high = evaluation.confidence_interval
    assert f"95 % confidence interval: {100 - high:.0f} to {100 - low:.0f} %" in page.text
    for words in (command, "f" * 64, "a processor, 2 cores", "1,234", "b/9.png is no picture", "Linear classifier (1998)"):
        assert words in page.text, words
    assert "0:01:15" in page.text and "learning_rate = 0.001" in page.text
    assert f"zoo export {out}/best.keras --to onnx" in page.text and f"zoo predict {out}/best.keras IMAGE" in page.text
    for name, each in evaluation.per_class().items():
        assert f"{name} {each['pictures']} {each['precision']:.1f}" in page.text
    for index in evaluation.wrong[:12]:
        assert f"{evaluation.class_names[evaluation.labels[index]]}/{index:03}.png" in page.text
    assert {"curves.png", "confusion.png"} <= {file.name for file in out.iterdir()}
    assert report.write(out).folder == out  # again


def test_what_was_left_out_is_told_without_a_count_of_messages(tmp_path):
    several = "list.json: 9 images are of several classes: 0.png (bolt, nut)"
    write_run(tmp_path / "one", left_out=[several])
    write_run(tmp_path / "many", left_out=[several, *(f"{number}.png is no picture" for number in range(60))])
    one, many = page_of(tmp_path / "one"), page_of(tmp_path / "many")
    assert f"Skipped: {several} Learning curves" in one.text and "1 file" not in one.text
    assert "1.png is no picture; and more" in many.text and "and 11 more; metrics.json lists all" in many.text


def test_names_of_strangers_stay_text(tmp_path):
    hostile = '<img src=x onerror="alert(1)">'
    changes = {"model": hostile, "data": {"name": f"{hostile}/photos", "validation": 0.2}}
    write_run(tmp_path / "<b>run", HOSTILE, named=True, changes=changes, command=hostile, device=hostile, left_out=[hostile])
    page = page_of(tmp_path / "<b>run")
    assert {"script", "b"} & set(page.tags) <= {"b"} and page.tags.count("img") == 3
    assert all(each.startswith(("data:image/png;base64,", "#")) for each in page.addresses)
    for name in HOSTILE:
        assert " ".join(name.split()) in page.text
    assert page.text.count(hostile) >= 4


def test_a_page_elsewhere_leaves_the_folder_as_it_is(tmp_path):
    write_run(tmp_path / "run")
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    report.write(tmp_path / "run", tmp_path / "elsewhere.html")
    assert {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()} == before
    assert Page((tmp_path / "elsewhere.html").read_text("utf-8")).tags.count("img") == 3


def test_a_run_that_is_not_finished_is_shown_as_far_as_it_is(tmp_path):
    write_run(tmp_path / "run", epochs=2)
    (tmp_path / "run" / "metrics.json").unlink()  # the rest may be of an earlier time
    page = page_of(tmp_path / "run")
    assert "Not finished: 2 of 4 epochs" in page.text and "Best epoch so far: 2, validation error 25.00 %" in page.text
    assert page.tags.count("img") == 1 and "% accuracy" not in page.text


def test_a_run_of_before_there_were_predictions_has_a_page(tmp_path):
    write_run(tmp_path / "run")
    (tmp_path / "run" / "predictions.csv").unlink()
    page = page_of(tmp_path / "run")
    assert "% accuracy" in page.text and page.tags.count("img") == 2


def test_of_many_classes_the_worst_come_first_and_pairs_replace_the_matrix(tmp_path):
    write_run(tmp_path / "run", tuple(f"class {number:03}" for number in range(40)))
    page = page_of(tmp_path / "run")
    per_class = report.read_run(tmp_path / "run").evaluation.per_class()
    worst = min(per_class.values(), key=lambda each: each["f1"] or 0)
    first = re.search(r"Lowest F1 first\..*?(class \d{3})", page.text)[1]
    assert (per_class[first]["f1"] or 0) == (worst["f1"] or 0) < 50
    with Image.open(tmp_path / "run" / "confusion.png") as image:
        assert image.width > image.height


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
def test_a_damaged_run_is_refused_in_words_and_gets_no_page(tmp_path, name, content, message):
    write_run(tmp_path / "run")
    (tmp_path / "run" / name).write_text(content)
    with pytest.raises(ZooError, match=message):
        report.write(tmp_path / "run")
    assert not (tmp_path / "run" / "report.html").exists()


def test_what_is_no_run_is_refused_in_words(tmp_path):
    with pytest.raises(ZooError, match=r"no folder .*; expected a run directory"):
        report.write(tmp_path / "nowhere")
    with pytest.raises(ZooError, match=r"is not a run directory: it has no recipe\.toml"):
        report.write(tmp_path)
    write_run(tmp_path / "run")
    (tmp_path / "run" / "history.csv").unlink()
    with pytest.raises(ZooError, match="its first epoch is not finished"):
        report.write(tmp_path / "run")


@pytest.mark.parametrize(
    "rows", [history(1), history(80), history(3, validated=False)], ids=["one", "many", "no validation"]
)
def test_curves_of_any_history_are_drawn(rows, tmp_path):
    report.plot_curves(rows, tmp_path / "plain.png")
    report.plot_curves(rows, tmp_path / "marked.png", marks=[(1, "thawed")])
    changing = [{**row, "learning_rate": 0.1 / row["epoch"], "error": 0.0} for row in rows]
    report.plot_curves(changing, tmp_path / "rate.png")
    widths = {}
    for file in tmp_path.iterdir():
        with Image.open(file) as image:
            widths[file.stem] = image.width
            assert image.convert("L").getextrema()[0] < 128
    assert widths["rate"] > 1.4 * widths["plain"]
    assert (tmp_path / "marked.png").read_bytes() != (tmp_path / "plain.png").read_bytes()


def test_mistakes_of_any_number_are_drawn(tmp_path, recwarn):
    evaluation, samples = evaluated(HOSTILE, named=True)
    heights = {}
    for name, right in (("many", 0), ("one", len(evaluation.wrong) - 1), ("none", len(evaluation.wrong))):
        scores = evaluation.scores.copy()
        for index in evaluation.wrong[:right]:
            scores[index, evaluation.labels[index]] = 99
        report.plot_mistakes(replace(evaluation, scores=scores), samples, tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as image:
            heights[name] = image.height
    assert heights["many"] > 1.5 * heights["one"] == 1.5 * heights["none"]
    report.plot_confusion_matrix(evaluation, tmp_path / "confusion.png")
    assert not recwarn.list  # the font lacks 猫


def test_the_command_names_the_page_and_what_comes_next(tmp_path, zoo_in_process):
    write_run(tmp_path / "run")
    done = zoo_in_process("report", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    *_, where, following = done.stdout.splitlines()
    assert where == f"the page is {tmp_path}/run/report.html" and following.startswith("next: zoo export ")
    done = zoo_in_process("report", tmp_path / "run", "--json", "--out", tmp_path / "page.html")
    told = json.loads(done.stdout)
    assert told["finished"] and told["metrics"]["pictures"] == 60 and (tmp_path / "page.html").is_file()
    shutil.rmtree(tmp_path / "run")
    done = zoo_in_process("report", tmp_path / "run")
    assert done.returncode == 2 and done.stderr.startswith("zoo: no folder ")


@pytest.fixture(scope="module")
def real(few, tmp_path_factory):
    """A finished run: its recipe's file, its folder, what fit returned."""
    folder = tmp_path_factory.mktemp("real")
    path = write_recipe(folder / "mine.toml", few, "linear")
    return path, folder / "run", fit(path, folder / "run")


def test_real_runs_can_be_read_back_and_compared(real, tmp_path):
    path, out, metrics = real
    run = report.read_run(out)
    assert run.evaluation.error == pytest.approx(metrics["error"], abs=1e-3) and run.best["epoch"] == metrics["best_epoch"]
    page = Page((out / "report.html").read_text("utf-8"))
    assert metrics["data_fingerprint"] in page.text and f"{100 - metrics['error']:.1f} % accuracy" in page.text
    fit(path, tmp_path / "lazy", **{"optimizer.config.learning_rate.config.initial_learning_rate": 0.0})
    compared = report.compare([out, tmp_path / "lazy"], tmp_path / "comparison.html")
    assert compared["settings"] == {"initial_learning_rate": [0.003, 0.0]} and compared["warnings"] == []
    assert compared["tests"][0]["p"] < 0.05 and f"{out} is significantly better" in compared["tests"][0]["words"]


def test_tensorboard_reads_what_the_history_says(real):
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
