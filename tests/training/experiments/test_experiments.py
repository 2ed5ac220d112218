"""The list of experiments and the command `zoo experiment`."""

import json

import pytest

from training import experiments
from zoo.errors import ZooError


def test_names_and_summaries():
    assert {"backprop1986", "mark1", "neocognitron", "starting-weights"} <= set(experiments.names())
    for name in experiments.names():
        assert len(experiments.summary(name)) > 20


def test_an_unknown_name_is_refused_with_a_suggestion():
    with pytest.raises(ZooError, match=r"no experiment 'marc1'; did you mean 'mark1'"):
        experiments.load("marc1")


def test_without_a_name_the_command_lists_them(zoo_in_process):
    done = zoo_in_process("experiment")
    assert done.returncode == 0 and "next: zoo experiment" in done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == experiments.names()


def test_the_command_writes_numbers_and_a_figure(zoo_in_process, tmp_path):
    done = zoo_in_process("experiment", "starting-weights", "--seeds", "1", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "result.json").read_text())["seeds"] == 1
    assert list((tmp_path / "run").glob("*.png")) and "result.json" in done.stdout
    wrong = zoo_in_process("experiment", "starting-weight")
    assert wrong.returncode == 2 and "did you mean 'starting-weights'" in wrong.stderr


def test_data_for_an_experiment_without_a_data_option_are_refused(zoo_in_process, tmp_path):
    done = zoo_in_process("experiment", "starting-weights", "--data", "mnist", "--out", tmp_path / "run")
    assert done.returncode == 2 and "remove --data" in done.stderr
    done = zoo_in_process("experiment", "relu-tanh", "--data", tmp_path / "nowhere", "--out", tmp_path / "other")
    assert done.returncode == 2 and "no folder" in done.stderr
