"""Figures of any history and any number of mistakes."""

from dataclasses import replace

import pytest
from PIL import Image

from reports import HOSTILE, evaluated, history
from training import report


@pytest.mark.parametrize(
    "rows", [history(1), history(80), history(3, validated=False)], ids=["one", "many", "no validation"]
)
def test_curves_of_any_history_are_plotted(rows, tmp_path):
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


def test_any_number_of_mistakes_is_plotted(tmp_path, recwarn):
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
