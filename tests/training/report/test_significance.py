"""McNemar's exact test with Holm's correction, against sums and procedures written out."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest

from reports import evaluated, write_run
from training import report
from training.report import significance


def by_mcnemar(only_first, only_second):
    """The exact test, summed as in a textbook: twice the smaller tail of tosses of a fair coin."""
    tosses = only_first + only_second
    tail = sum(math.comb(tosses, heads) for heads in range(min(only_first, only_second) + 1)) / 2**tosses
    return min(1.0, 2 * tail)


def test_p_values_are_those_of_mcnemars_exact_test(tmp_path):
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


def test_a_clear_difference_is_significant(tmp_path):
    write_run(tmp_path / "good")
    evaluation, samples = evaluated(("a", "b", "c"))
    worse = replace(evaluation, scores=-evaluation.scores)
    shutil.copytree(tmp_path / "good", tmp_path / "bad")
    report.write_predictions(worse, samples, tmp_path / "bad" / "predictions.csv")
    metrics = json.loads((tmp_path / "bad" / "metrics.json").read_text())
    (tmp_path / "bad" / "metrics.json").write_text(json.dumps({**metrics, **worse.summary()}))
    (test,) = report.compare([tmp_path / "bad", tmp_path / "good"], tmp_path / "comparison.html")["tests"]
    assert test["p"] < 0.001 and f"{tmp_path}/good is significantly better" in test["words"]


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
