"""Comparisons of runs: settings, warnings, and the command `zoo report` with several runs."""

import csv
import json

import pytest

from reports import Page, write_run
from training import report
from training.augmentation import presets
from training.report import comparison
from zoo.errors import ZooError


def test_an_augmentation_preset_is_shown_by_its_name(tmp_path):
    write_run(tmp_path / "one")
    write_run(tmp_path / "two", changes={"augmentation": presets.get("light")})
    compared = report.compare([tmp_path / "one", tmp_path / "two"], tmp_path / "comparison.html")
    assert comparison.table_columns(compared)[1]["augmentation"] == ["none", "light"]


def test_a_comparison_shows_only_differences(tmp_path):
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
    assert all(each.startswith("data:image/png;base64,") for each in page.urls) and page.tags.count("img") == 1
    assert "batch_size" not in page.text and page.text.count("photos") == page.text.count("a processor") == 1
    for each in compared["runs"]:
        assert f"{each['error']:.2f} %" in page.text and each["run"] in page.text
    assert json.loads(json.dumps(compared)) == compared


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
def test_other_pixels_are_reported_and_tested_only_if_the_image_size_may_be_the_reason(
    tmp_path, named, renamed, changes, warning, tested
):
    write_run(tmp_path / "one", named=named)
    write_run(tmp_path / "two", named=named, changes=changes)
    write_other_images(tmp_path / "two", renamed)
    compared = report.compare([tmp_path / "one", tmp_path / "two"], tmp_path / "comparison.html")
    (message,) = compared["warnings"]
    assert warning in message and bool(compared["tests"]) == tested
    assert all("assumed to be the same" in test["words"] and not test["same"] for test in compared["tests"])
    assert message in Page((tmp_path / "comparison.html").read_text("utf-8")).text


def test_the_same_pixels_are_the_same_images(tmp_path):
    write_run(tmp_path / "one", named=True)
    write_run(tmp_path / "two", changes={"data": {"name": "elsewhere"}}, data_fingerprint="e" * 64)
    compared = report.compare([tmp_path / "one", tmp_path / "two"], tmp_path / "comparison.html")
    (message,) = compared["warnings"]
    assert "on the same images, but trained on different ones" in message
    assert [test["same"] for test in compared["tests"]] == [True]


def test_other_warnings(tmp_path):
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


def test_the_command_prints_a_table_in_any_width(tmp_path, zoo_in_process, monkeypatch):
    folders = [tmp_path / name for name in ("first", "[red]second", "third")]
    for seed, folder in enumerate(folders):
        write_run(folder, seed=seed, changes={"seed": seed})
    for columns in ("60", "300"):
        monkeypatch.setenv("COLUMNS", columns)
        done = zoo_in_process("report", *[folder.name for folder in folders], "--out", "comparison.html", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "[red]second" in done.stdout and "significant" in done.stdout
        assert done.stdout.splitlines()[-2:][0] == "report: comparison.html"
        header = next(line for line in done.stdout.splitlines() if line.startswith("run "))
        assert ("validation error" in header) == (columns == "300")
    done = zoo_in_process("report", *[folder.name for folder in folders], "--json", cwd=tmp_path)
    printed = json.loads(done.stdout)
    assert printed["file"] == "comparison.html" and [each["run"] for each in printed["runs"]] == [
        folder.name for folder in folders
    ]
