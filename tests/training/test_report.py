import csv
import json
import math
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import tomli_w
from PIL import Image
from runs import fit, write_recipe
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from training import report
from training.data import Samples
from training.evaluation import Evaluation
from zoo.errors import ZooError

HOSTILE = ("<script>alert(1)</script>", "a & b", "$x$", '"quoted", with comma', "猫", "line\nbreak")
VOID = {"meta", "img", "br", "hr", "link"}
OPTIONAL = {"th", "td"}


class Page(HTMLParser):
    """Reads a page strictly: every element is closed, and in order; keeps text, attributes and tags."""

    def __init__(self, text):
        super().__init__()
        self.open, self.words, self.tags, self.addresses = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "action", "data", "srcset")]
        if tag not in VOID:
            if tag in OPTIONAL and self.open[-1] in OPTIONAL:
                self.open.pop()
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open[-1] in OPTIONAL and tag == "tr":
            self.open.pop()
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def history(epochs=4, validated=True):
    return [
        {
            "epoch": epoch,
            "loss": 2 / epoch,
            "error": 40 / epoch,
            **({"val_loss": 2.5 / epoch, "val_error": 50 / epoch} if validated else {}),
            "images_per_second": 1000.0,
            "seconds": 1.5,
        }
        for epoch in range(1, epochs + 1)
    ]


def evaluated(class_names, pictures=60, seed=0, named=False):
    generator = np.random.default_rng(seed)
    labels = np.arange(pictures, dtype="int32") % len(class_names)
    scores = generator.normal(size=(pictures, len(class_names)))
    scores[np.arange(pictures), labels] += 2.5
    drawn = np.random.default_rng(7).integers(0, 256, (pictures, 12, 12, 1), "uint8")
    names = np.array([f"{class_names[label]}/{row:03}.png" for row, label in enumerate(labels)])
    samples = Samples(drawn, labels, names if named else None)
    return Evaluation(tuple(class_names), labels, scores, 0.5, "test"), samples


def write_run(folder, class_names=("a", "b", "c"), seed=0, named=False, changes=None, epochs=4, **more):
    """A run folder such as training leaves, of made-up scores."""
    folder.mkdir(parents=True)
    evaluation, samples = evaluated(class_names, seed=seed, named=named)
    recipe = {
        "model": "linear",
        "epochs": 4,
        "batch_size": 32,
        "seed": 1,
        "data": {"name": "photos", "validation": 0.2, "test": 0.2},
        "optimizer": {"class_name": "AdamW", "config": {"learning_rate": 0.001}},
        **(changes or {}),
    }
    (folder / "recipe.toml").write_text(tomli_w.dumps(recipe))
    rows = history(epochs)
    with (folder / "history.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    metrics = {
        "recipe": recipe,
        "best_epoch": 4,
        "validation_error": 12.5,
        **evaluation.summary(),
        "images_per_second": 1000,
        "wall_seconds": 75.0,
        "device": "a processor, 2 cores",
        "backend": "tensorflow, keras 3",
        "date": "2026-01-02",
        "data_fingerprint": "f" * 64,
        "left_out": [],
        **more,
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    report.predictions(evaluation, samples, folder / "predictions.csv")
    report.mistakes(evaluation, samples, folder / "mistakes.png")
    return evaluation


def page_of(folder):
    report.write(folder)
    return Page((folder / "report.html").read_text("utf-8"))


def test_predictions_are_the_answer_to_each_picture(tmp_path):
    evaluation, samples = evaluated(HOSTILE, named=True)
    report.predictions(evaluation, samples, tmp_path / "predictions.csv")
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
    run = report.read(tmp_path / "run")
    np.testing.assert_array_equal(run.answers.labels, evaluation.labels)
    np.testing.assert_array_equal(run.answers.predictions, evaluation.predictions)
    assert run.answers.by_class() == evaluation.by_class() and run.answers.class_names == HOSTILE
    worst = [int(picture) for picture, *_ in run.answers.worst(12)]
    assert worst == evaluation.wrong[:12].tolist() and len(worst) > 3


def test_the_page_is_one_file_that_tells_the_result_and_how_to_get_it_again(tmp_path):
    out = tmp_path / "run"
    counts = {"train": {"a": 40, "b": 1234, "c": 40}, "test": {"a": 20, "b": 20, "c": 20}}
    command = "zoo train mine.toml --out runs/x"
    evaluation = write_run(out, named=True, command=command, class_counts=counts, left_out=["b/9.png is no picture"])
    Image.new("RGB", (40, 20), "red").save(out / "seen.png")
    page = page_of(out)
    assert page.addresses and all(re.match(r"data:image/png;base64,[\w+/]+=*$|#left-out$", each) for each in page.addresses)
    assert page.tags.count("img") == 4  # curves, confusion, mistakes, what the net is shown
    assert "script" not in page.tags and "link" not in page.tags
    assert f"{100 - evaluation.error:.1f} % right" in page.text
    low, high = evaluation.interval
    assert f"the true number lies between {100 - high:.0f} and {100 - low:.0f} %" in page.text.replace(
        "the true", "the true"
    )
    for words in (command, "f" * 64, "a processor, 2 cores", "1,234", "b/9.png is no picture", "Linear classifier (1998)"):
        assert words in page.text, words
    assert "0:01:15" in page.text and "learning_rate = 0.001" in page.text
    assert f"zoo export {out}/best.keras --to onnx" in page.text and f"zoo predict {out}/best.keras PICTURE" in page.text
    for name, each in evaluation.by_class().items():
        assert f"{name} {each['pictures']} {each['precision']:.1f}" in page.text
    for index in evaluation.wrong[:12]:
        assert f"{evaluation.class_names[evaluation.labels[index]]}/{index:03}.png" in page.text
    assert {"curves.png", "confusion.png"} <= {file.name for file in out.iterdir()}
    assert report.write(out).folder == out  # again


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
    assert "Not finished: 2 of 4 epochs" in page.text and "epoch 2, 25.00 % of the validation pictures wrong" in page.text
    assert page.tags.count("img") == 1 and "% right" not in page.text


def test_a_run_of_before_there_were_predictions_has_a_page(tmp_path):
    write_run(tmp_path / "run")
    (tmp_path / "run" / "predictions.csv").unlink()
    page = page_of(tmp_path / "run")
    assert "% right" in page.text and page.tags.count("img") == 2


def test_of_many_classes_the_worst_come_first_and_pairs_replace_the_matrix(tmp_path):
    write_run(tmp_path / "run", tuple(f"class {number:03}" for number in range(40)))
    page = page_of(tmp_path / "run")
    by_class = report.read(tmp_path / "run").answers.by_class()
    worst = min(by_class.values(), key=lambda each: each["f1"] or 0)
    first = re.search(r"Worst first\..*?(class \d{3})", page.text)[1]
    assert (by_class[first]["f1"] or 0) == (worst["f1"] or 0) < 50
    with Image.open(tmp_path / "run" / "confusion.png") as picture:
        assert picture.width > picture.height


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.json", '{"error": ', r"metrics.json is damaged: .*with --resume writes it again"),
        ("metrics.json", "[]", "metrics.json is damaged: it should hold part, pictures"),
        ("history.csv", "epoch,loss\n1,abc\n", "history.csv is damaged: could not convert"),
        ("history.csv", "epoch,loss\n", "history.csv is damaged: it should hold epoch, loss and error"),
        ("predictions.csv", "", "predictions.csv is damaged"),
        ("predictions.csv", "picture,true\n1,a\n", "its columns should be picture, true, answer"),
        ("predictions.csv", "picture,true,answer,margin,sha256\n0,a,z,1,0\n", "predictions.csv is damaged: 'z'"),
        ("predictions.csv", "picture,true,answer,margin,sha256\n0,a,a,1,0\n", "it is of another result than metrics.json"),
        ("recipe.toml", "model = ", "recipe.toml is damaged: .*nothing of the run can be told without it"),
    ],
)
def test_a_damaged_run_is_refused_in_words_and_gets_no_page(tmp_path, name, content, message):
    write_run(tmp_path / "run")
    (tmp_path / "run" / name).write_text(content)
    with pytest.raises(ZooError, match=message):
        report.write(tmp_path / "run")
    assert not (tmp_path / "run" / "report.html").exists()


def test_what_is_no_run_is_refused_in_words(tmp_path):
    with pytest.raises(ZooError, match=r"no folder .*; a run folder is what"):
        report.write(tmp_path / "nowhere")
    with pytest.raises(ZooError, match=r"is no run folder: it has no recipe\.toml"):
        report.write(tmp_path)
    write_run(tmp_path / "run")
    (tmp_path / "run" / "history.csv").unlink()
    with pytest.raises(ZooError, match="its first epoch is not finished"):
        report.write(tmp_path / "run")


@pytest.mark.parametrize(
    "rows", [history(1), history(80), history(3, validated=False)], ids=["one", "many", "no validation"]
)
def test_curves_of_any_history_are_drawn(rows, tmp_path):
    report.curves(rows, tmp_path / "plain.png")
    report.curves(rows, tmp_path / "marked.png", marks=[(1, "thawed")])
    changing = [{**row, "learning_rate": 0.1 / row["epoch"], "error": 0.0} for row in rows]
    report.curves(changing, tmp_path / "rate.png")
    widths = {}
    for file in tmp_path.iterdir():
        with Image.open(file) as picture:
            widths[file.stem] = picture.width
            assert picture.convert("L").getextrema()[0] < 128
    assert widths["rate"] > 1.4 * widths["plain"]
    assert (tmp_path / "marked.png").read_bytes() != (tmp_path / "plain.png").read_bytes()


def test_mistakes_of_any_number_are_drawn(tmp_path, recwarn):
    evaluation, samples = evaluated(HOSTILE, named=True)
    heights = {}
    for name, right in (("many", 0), ("one", len(evaluation.wrong) - 1), ("none", len(evaluation.wrong))):
        scores = evaluation.scores.copy()
        for index in evaluation.wrong[:right]:
            scores[index, evaluation.labels[index]] = 99
        report.mistakes(replace(evaluation, scores=scores), samples, tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as picture:
            heights[name] = picture.height
    assert heights["many"] > 1.5 * heights["one"] == 1.5 * heights["none"]
    report.confusion(evaluation, tmp_path / "confusion.png")
    assert not recwarn.list  # the font lacks 猫


def test_the_command_names_the_page_and_what_comes_next(tmp_path, zoo_command):
    write_run(tmp_path / "run")
    done = zoo_command("report", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    *_, where, following = done.stdout.splitlines()
    assert where == f"the page is {tmp_path}/run/report.html" and following.startswith("next: zoo export ")
    done = zoo_command("report", tmp_path / "run", "--json", "--out", tmp_path / "page.html")
    told = json.loads(done.stdout)
    assert told["finished"] and told["metrics"]["pictures"] == 60 and (tmp_path / "page.html").is_file()
    shutil.rmtree(tmp_path / "run")
    done = zoo_command("report", tmp_path / "run")
    assert done.returncode == 2 and done.stderr.startswith("zoo: no folder ")


def by_mcnemar(only_first, only_second):
    """The exact test, summed as in a textbook: twice the smaller tail of tosses of a fair coin."""
    tosses = only_first + only_second
    tail = sum(math.comb(tosses, heads) for heads in range(min(only_first, only_second) + 1)) / 2**tosses
    return min(1.0, 2 * tail)


def test_runs_side_by_side_show_what_differs_alone(tmp_path):
    slow = {"seed": 2, "optimizer": {"class_name": "AdamW", "config": {"learning_rate": 0.5}}}
    write_run(tmp_path / "one", named=True)
    write_run(tmp_path / "two", named=True, seed=5, changes=slow)
    write_run(tmp_path / "three", named=True, changes={"augmentation": [{"class_name": "RandomFlip", "config": {}}]})
    folders = [tmp_path / name for name in ("one", "two", "three")]
    compared = report.compare(folders, tmp_path / "comparison.html")
    flip = [{"class_name": "RandomFlip", "config": {}}]
    assert compared["settings"] == {
        "seed": [1, 2, 1],
        "learning_rate": [0.001, 0.5, 0.001],
        "augmentation": [None, None, flip],
    }
    assert compared["warnings"] == [] and [each["runs"][1] for each in compared["tests"]] == list(map(str, folders[1:]))
    page = Page((tmp_path / "comparison.html").read_text("utf-8"))
    assert all(each.startswith("data:image/png;base64,") for each in page.addresses) and page.tags.count("img") == 1
    assert "batch_size" not in page.text and page.text.count("photos") == page.text.count("a processor") == 1
    for each in compared["runs"]:
        assert f"{each['error']:.2f} %" in page.text and each["run"] in page.text
    assert json.loads(json.dumps(compared)) == compared


def test_whether_a_difference_can_be_chance_is_what_mcnemar_says(tmp_path):
    evaluations = [write_run(tmp_path / str(seed), seed=seed) for seed in range(4)]
    compared = report.compare([tmp_path / str(seed) for seed in range(4)], tmp_path / "comparison.html")
    first = evaluations[0].predictions == evaluations[0].labels
    for test, evaluation in zip(compared["tests"], evaluations[1:], strict=True):
        right = evaluation.predictions == evaluation.labels
        counts = sum(first & ~right), sum(right & ~first)
        assert (test["only_first_right"], test["only_second_right"]) == counts and sum(counts) > 3
        assert test["p"] == pytest.approx(by_mcnemar(*map(int, counts)), abs=1e-12)
        assert ("can be chance" in test["words"]) == (test["p"] > 0.05)
    shutil.copytree(tmp_path / "0", tmp_path / "same")
    (test,) = report.compare([tmp_path / "0", tmp_path / "same"], tmp_path / "comparison.html")["tests"]
    assert test["p"] == 1 and "can be chance" in test["words"]


def test_a_clear_difference_is_called_one(tmp_path):
    write_run(tmp_path / "good")
    evaluation, samples = evaluated(("a", "b", "c"))
    worse = replace(evaluation, scores=-evaluation.scores)
    shutil.copytree(tmp_path / "good", tmp_path / "bad")
    report.predictions(worse, samples, tmp_path / "bad" / "predictions.csv")
    metrics = json.loads((tmp_path / "bad" / "metrics.json").read_text())
    (tmp_path / "bad" / "metrics.json").write_text(json.dumps({**metrics, **worse.summary()}))
    (test,) = report.compare([tmp_path / "bad", tmp_path / "good"], tmp_path / "comparison.html")["tests"]
    assert test["p"] < 0.001 and f"{tmp_path}/good is better, and chance alone would hardly do that" in test["words"]


def write_other_pictures(run, names=False):
    """Let a run have been asked other pictures of the same classes: of other pixels, and under other names."""
    rows = list(csv.reader((run / "predictions.csv").read_text().splitlines()))
    rows[1:] = [
        [f"{picture}x" if names else picture, *rest, f"{int(pixels, 16) ^ 1:016x}"] for picture, *rest, pixels in rows[1:]
    ]
    with (run / "predictions.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.mark.parametrize(
    ("named", "renamed", "fingerprint", "warning"),
    [
        (False, False, "f" * 64, "not measured on the same pictures"),  # numbers are no names: another split has the same
        (True, True, "f" * 64, "not measured on the same pictures"),
        (True, False, "e" * 64, "on the same pictures; but others are not the same, or were read in another size"),
    ],
)
def test_other_pictures_are_told_and_not_compared(tmp_path, named, renamed, fingerprint, warning):
    write_run(tmp_path / "one", named=named)
    write_run(tmp_path / "two", named=named, data_fingerprint=fingerprint)
    write_other_pictures(tmp_path / "two", renamed)
    compared = report.compare([tmp_path / "one", tmp_path / "two"], tmp_path / "comparison.html")
    (told,) = compared["warnings"]
    assert warning in told and bool(compared["tests"]) == ("not measured" not in told)
    assert told in Page((tmp_path / "comparison.html").read_text("utf-8")).text


def test_what_else_weakens_a_comparison_is_told(tmp_path):
    for name in ("one", "validation", "unfinished", "old"):
        write_run(
            tmp_path / name,
            device="another" if name == "old" else "a processor",
            part="validation" if name == "validation" else "test",
        )
    (tmp_path / "unfinished" / "metrics.json").unlink()
    (tmp_path / "old" / "predictions.csv").unlink()
    folders = [tmp_path / name for name in ("one", "validation", "unfinished", "old")]
    compared = report.compare(folders, tmp_path / "comparison.html")
    unfinished, validation, old, device = compared["warnings"]
    assert "unfinished is not finished, 4 of 4 epochs" in unfinished and "not measured on the same" in validation
    assert "without predictions.csv" in old and "different devices" in device
    assert compared["tests"] == [] and compared["runs"][2]["finished"] is False
    with pytest.raises(ZooError, match="is named twice"):
        report.compare([tmp_path / "one", tmp_path / "old" / ".." / "one"], tmp_path / "comparison.html")


def test_the_command_compares_in_any_width(tmp_path, zoo_command, monkeypatch):
    folders = [tmp_path / name for name in ("first", "[red]second", "third")]
    for seed, folder in enumerate(folders):
        write_run(folder, seed=seed, changes={"seed": seed})
    for columns in ("60", "300"):
        monkeypatch.setenv("COLUMNS", columns)
        done = zoo_command("report", *[folder.name for folder in folders], "--out", "comparison.html", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "[red]second" in done.stdout and "can be chance" in done.stdout
        assert done.stdout.splitlines()[-2:][0] == "the page is comparison.html"
        header = next(line for line in done.stdout.splitlines() if line.startswith("run "))
        assert ("validation error" in header) == (columns == "300")
    done = zoo_command("report", *[folder.name for folder in folders], "--json", cwd=tmp_path)
    told = json.loads(done.stdout)
    assert told["file"] == "comparison.html" and [each["run"] for each in told["runs"]] == [
        folder.name for folder in folders
    ]


@pytest.fixture(scope="module")
def real(few, tmp_path_factory):
    """A finished run: its recipe's file, its folder, what fit returned."""
    folder = tmp_path_factory.mktemp("real")
    path = write_recipe(folder / "mine.toml", few, "linear")
    return path, folder / "run", fit(path, folder / "run")


def test_real_runs_can_be_read_back_and_compared(real, tmp_path):
    path, out, metrics = real
    run = report.read(out)
    assert run.answers.error == pytest.approx(metrics["error"], abs=1e-3) and run.best["epoch"] == metrics["best_epoch"]
    page = Page((out / "report.html").read_text("utf-8"))
    assert metrics["data_fingerprint"] in page.text and f"{100 - metrics['error']:.1f} % right" in page.text
    fit(path, tmp_path / "lazy", **{"optimizer.config.learning_rate.config.initial_learning_rate": 0.0})
    compared = report.compare([out, tmp_path / "lazy"], tmp_path / "comparison.html")
    assert compared["settings"] == {"initial_learning_rate": [0.003, 0.0]} and compared["warnings"] == []
    assert compared["tests"][0]["p"] < 0.05 and f"{out} is better" in compared["tests"][0]["words"]


def test_tensorboard_reads_what_the_history_says(real):
    _, out, _ = real
    rows = report.read(out).history
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
