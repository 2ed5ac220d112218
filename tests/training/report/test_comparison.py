"""Runs side by side."""

import csv
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
from reports import Page, evaluated, write_run

from training import report
from training.augmentation import presets
from training.evaluation import significance
from training.report import comparison
from zoo.errors import ZooError


def by_mcnemar(only_first, only_second):
    """The exact test, summed as in a textbook: twice the smaller tail of tosses of a fair coin."""
    tosses = only_first + only_second
    tail = sum(math.comb(tosses, heads) for heads in range(min(only_first, only_second) + 1)) / 2**tosses
    return min(1.0, 2 * tail)


def test_a_set_of_augmentation_goes_by_its_name(tmp_path):
    write_run(tmp_path / "one")
    write_run(tmp_path / "two", changes={"augmentation": presets.get("light")})
    compared = report.compare([tmp_path / "one", tmp_path / "two"], tmp_path / "comparison.html")
    assert comparison.table_columns(compared)[1]["augmentation"] == ["none", "light"]


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
    _, columns = comparison.table_columns(compared)
    assert columns["augmentation"] == ["none", "none", "RandomFlip()"]
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
        assert test["p_corrected"] >= test["p"] and "with Holm's correction for 3 tests" in test["words"]
        assert ("not significant" in test["words"]) == (test["p_corrected"] > 0.05)
    assert [test["p_corrected"] for test in compared["tests"]] == significance.holm_correction(
        [test["p"] for test in compared["tests"]]
    )
    assert "Holm's correction allows" in (tmp_path / "comparison.html").read_text("utf-8")
    shutil.copytree(tmp_path / "0", tmp_path / "same")
    (test,) = report.compare([tmp_path / "0", tmp_path / "same"], tmp_path / "comparison.html")["tests"]
    assert test["p"] == test["p_corrected"] == 1 and "not significant" in test["words"]


def test_a_clear_difference_is_called_one(tmp_path):
    write_run(tmp_path / "good")
    evaluation, samples = evaluated(("a", "b", "c"))
    worse = replace(evaluation, scores=-evaluation.scores)
    shutil.copytree(tmp_path / "good", tmp_path / "bad")
    report.write_predictions(worse, samples, tmp_path / "bad" / "predictions.csv")
    metrics = json.loads((tmp_path / "bad" / "metrics.json").read_text())
    (tmp_path / "bad" / "metrics.json").write_text(json.dumps({**metrics, **worse.summary()}))
    (test,) = report.compare([tmp_path / "bad", tmp_path / "good"], tmp_path / "comparison.html")["tests"]
    assert test["p"] < 0.001 and f"{tmp_path}/good is significantly better" in test["words"]


def write_other_images(run, names=False):
    """Let a run have been asked other images of the same classes: of other pixels, and under other names."""
    rows = list(csv.reader((run / "predictions.csv").read_text().splitlines()))
    rows[1:] = [[f"{image}x" if names else image, *rest, f"{int(pixels, 16) ^ 1:016x}"] for image, *rest, pixels in rows[1:]]
    with (run / "predictions.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.mark.parametrize(
    ("named", "renamed", "changes", "warning", "tested"),
    [
        (False, False, {}, "not evaluated on the same images", False),  # numbers are no names: another split has the same
        (True, True, {}, "not evaluated on the same images", False),
        (True, False, {}, "not evaluated on the same images", False),  # files were replaced
        (True, False, {"model": "alexnet"}, "unknown whether they were evaluated", True),
        (False, False, {"model": "alexnet"}, "unknown whether they were evaluated", True),
        (True, False, {"model": "my.keras"}, "unknown whether they were evaluated", True),
        (True, False, {"model": "alexnet", "data": {"name": "others"}}, "unknown whether they were evaluated", False),
        (True, True, {"model": "alexnet"}, "not evaluated on the same images", False),
    ],
)
def test_other_pixels_are_told_and_compared_only_where_another_size_may_be_why(
    tmp_path, named, renamed, changes, warning, tested
):
    write_run(tmp_path / "one", named=named)
    write_run(tmp_path / "two", named=named, changes=changes)
    write_other_images(tmp_path / "two", renamed)
    compared = report.compare([tmp_path / "one", tmp_path / "two"], tmp_path / "comparison.html")
    (told,) = compared["warnings"]
    assert warning in told and bool(compared["tests"]) == tested
    assert all("assumed to be the same" in test["words"] and not test["same"] for test in compared["tests"])
    assert told in Page((tmp_path / "comparison.html").read_text("utf-8")).text


def test_the_same_pixels_are_the_same_images_whatever_else_differs(tmp_path):
    write_run(tmp_path / "one", named=True)
    write_run(tmp_path / "two", changes={"data": {"name": "elsewhere"}}, data_fingerprint="e" * 64)
    compared = report.compare([tmp_path / "one", tmp_path / "two"], tmp_path / "comparison.html")
    (told,) = compared["warnings"]
    assert "on the same images, but trained on different ones" in told
    assert [test["same"] for test in compared["tests"]] == [True]


def test_holms_correction_rejects_what_his_procedure_rejects():
    """From the smallest on, each against its share of the level, until one is not below it."""
    generator = np.random.default_rng(0)
    for tests in (1, 2, 3, 7):
        p = generator.random(tests) ** 3
        corrected = significance.holm_correction(p.tolist())
        for level in (0.001, 0.01, 0.05, 0.2, 0.7):
            rejected = set()
            for step, index in enumerate(np.argsort(p)):
                if p[index] > level / (tests - step):
                    break
                rejected.add(index)
            assert {index for index, value in enumerate(corrected) if value <= level} == rejected


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
    unfinished, validation, old, chosen, device = compared["warnings"]
    assert "unfinished is not finished, 4 of 4 epochs" in unfinished and "not evaluated on the same" in validation
    assert "without predictions.csv" in old and "different devices" in device
    assert chosen.startswith(f"{tmp_path}/validation: the epoch was selected on the evaluated images")
    assert compared["tests"] == [] and compared["runs"][2]["finished"] is False
    with pytest.raises(ZooError, match="is given twice"):
        report.compare([tmp_path / "one", tmp_path / "old" / ".." / "one"], tmp_path / "comparison.html")


def test_the_command_compares_in_any_width(tmp_path, zoo_in_process, monkeypatch):
    folders = [tmp_path / name for name in ("first", "[red]second", "third")]
    for seed, folder in enumerate(folders):
        write_run(folder, seed=seed, changes={"seed": seed})
    for columns in ("60", "300"):
        monkeypatch.setenv("COLUMNS", columns)
        done = zoo_in_process("report", *[folder.name for folder in folders], "--out", "comparison.html", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "[red]second" in done.stdout and "significant" in done.stdout
        assert done.stdout.splitlines()[-2:][0] == "the page is comparison.html"
        header = next(line for line in done.stdout.splitlines() if line.startswith("run "))
        assert ("validation error" in header) == (columns == "300")
    done = zoo_in_process("report", *[folder.name for folder in folders], "--json", cwd=tmp_path)
    told = json.loads(done.stdout)
    assert told["file"] == "comparison.html" and [each["run"] for each in told["runs"]] == [
        folder.name for folder in folders
    ]
