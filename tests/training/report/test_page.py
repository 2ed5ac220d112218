"""report.html of a run, and the command `zoo report`."""

import json
import re
import shutil

from PIL import Image

from reports import HOSTILE, Page, write_run
from training import report


def page_of(folder):
    report.write(folder)
    return Page((folder / "report.html").read_text("utf-8"))


def test_the_report_is_one_file_with_the_result_and_its_reproduction(tmp_path):
    out = tmp_path / "run"
    counts = {"train": {"a": 40, "b": 1234, "c": 40}, "test": {"a": 20, "b": 20, "c": 20}}
    command = "zoo train mine.toml --out runs/x"
    evaluation = write_run(out, named=True, command=command, class_counts=counts, left_out=["b/9.png is no picture"])
    Image.new("RGB", (40, 20), "red").save(out / "seen.png")
    page = page_of(out)
    assert page.urls and all(re.match(r"data:image/png;base64,[\w+/]+=*$|#skipped$", each) for each in page.urls)
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


def test_skipped_files_are_listed(tmp_path):
    several = "list.json: 9 images are of several classes: 0.png (bolt, nut)"
    write_run(tmp_path / "one", left_out=[several])
    write_run(tmp_path / "many", left_out=[several, *(f"{number}.png is no picture" for number in range(60))])
    one, many = page_of(tmp_path / "one"), page_of(tmp_path / "many")
    assert f"Skipped: {several} Learning curves" in one.text and "1 file" not in one.text
    assert "1.png is no picture; and more" in many.text and "and 11 more; metrics.json lists all" in many.text


def test_untrusted_names_are_escaped(tmp_path):
    hostile = '<img src=x onerror="alert(1)">'
    changes = {"model": hostile, "data": {"name": f"{hostile}/photos", "validation": 0.2}}
    write_run(tmp_path / "<b>run", HOSTILE, named=True, changes=changes, command=hostile, device=hostile, left_out=[hostile])
    page = page_of(tmp_path / "<b>run")
    assert {"script", "b"} & set(page.tags) <= {"b"} and page.tags.count("img") == 3
    assert all(each.startswith(("data:image/png;base64,", "#")) for each in page.urls)
    for name in HOSTILE:
        assert " ".join(name.split()) in page.text
    assert page.text.count(hostile) >= 4


def test_a_report_elsewhere_does_not_change_the_run_directory(tmp_path):
    write_run(tmp_path / "run")
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    report.write(tmp_path / "run", tmp_path / "elsewhere.html")
    assert {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()} == before
    assert Page((tmp_path / "elsewhere.html").read_text("utf-8")).tags.count("img") == 3


def test_an_unfinished_run_has_a_report(tmp_path):
    write_run(tmp_path / "run", epochs=2)
    (tmp_path / "run" / "metrics.json").unlink()  # the rest may be of an earlier time
    page = page_of(tmp_path / "run")
    assert "Not finished: 2 of 4 epochs" in page.text and "Best epoch so far: 2, validation error 25.00 %" in page.text
    assert page.tags.count("img") == 1 and "% accuracy" not in page.text


def test_a_run_without_predictions_has_a_report(tmp_path):
    write_run(tmp_path / "run")
    (tmp_path / "run" / "predictions.csv").unlink()
    page = page_of(tmp_path / "run")
    assert "% accuracy" in page.text and page.tags.count("img") == 2


def test_many_classes_are_sorted_by_f1_and_pairs_replace_the_matrix(tmp_path):
    write_run(tmp_path / "run", tuple(f"class {number:03}" for number in range(40)))
    page = page_of(tmp_path / "run")
    per_class = report.read_run(tmp_path / "run").evaluation.per_class()
    worst = min(per_class.values(), key=lambda each: each["f1"] or 0)
    first = re.search(r"Lowest F1 first\..*?(class \d{3})", page.text)[1]
    assert (per_class[first]["f1"] or 0) == (worst["f1"] or 0) < 50
    with Image.open(tmp_path / "run" / "confusion.png") as image:
        assert image.width > image.height


def test_the_command_prints_the_report_and_the_next_command(tmp_path, zoo_in_process):
    write_run(tmp_path / "run")
    done = zoo_in_process("report", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    *_, where, following = done.stdout.splitlines()
    assert where == f"report: {tmp_path}/run/report.html" and following.startswith("next: zoo export ")
    done = zoo_in_process("report", tmp_path / "run", "--json", "--out", tmp_path / "page.html")
    printed = json.loads(done.stdout)
    assert printed["finished"] and printed["metrics"]["pictures"] == 60 and (tmp_path / "page.html").is_file()
    shutil.rmtree(tmp_path / "run")
    done = zoo_in_process("report", tmp_path / "run")
    assert done.returncode == 2 and done.stderr.startswith("zoo: no folder ")
