"""The command `zoo`, run in a separate process as users run it."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

import zoo
from zoo import cli
from zoo.commands import info as commands

HEAVY = {"tensorflow", "keras", "jax", "torch", "onnx", "onnxruntime", "tensorflow_datasets", "sklearn", "matplotlib"}

COMMANDS = sorted(point.name for point in entry_points(group="zoo.commands"))

# Runs commands one after the other, then prints the imported packages on the last line of the standard error.
WATCH = """
import json, sys
from zoo.cli import main
code = int(sys.argv[2])
for words in json.loads(sys.argv[1]):
    sys.argv = ["zoo", *words]
    try:
        main()
    except SystemExit as end:
        assert (end.code or 0) == code, words
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def watched(*commands, code=0):
    """Run commands that all exit with a code; return their standard output and the packages that they imported."""
    command = [sys.executable, "-c", WATCH, json.dumps(commands), str(code)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert child.returncode == 0, child.stderr
    return child.stdout, set(json.loads(child.stderr.splitlines()[-1]))


def assert_one_line(child, code):
    """Check that the error is one line on the standard error, and that the standard output is empty."""
    assert child.returncode == code, child.stderr
    assert child.stdout == ""
    assert len(child.stderr.splitlines()) == 1 and child.stderr.startswith("zoo: "), child.stderr


def test_list_imports_nothing_heavy():
    out, loaded = watched(["list"], ["list", "--json"], ["--help"])
    assert "zoo" in loaded and not loaded & HEAVY
    for name in zoo.list_models() + zoo.list_models(pretrained=True):
        assert name in out


def test_help_of_every_command():
    """It has an example that begins with the command, and needs no heavy import."""
    out, loaded = watched(*([name, "--help"] for name in COMMANDS))
    for name in COMMANDS:
        assert re.search(rf"Example: zoo {name}\b", out)
    assert out.count("Example: zoo ") == len(COMMANDS)
    assert not loaded & HEAVY


def test_commands():
    assert {"list", "info", "train", "finetune", "evaluate", "predict", "export", "verify"} <= set(COMMANDS)


def test_installed_script():
    """The installed script works too."""
    child = subprocess.run([Path(sys.executable).with_name("zoo"), "list"], capture_output=True, text=True, timeout=60)
    assert child.returncode == 0 and "lenet5" in child.stdout
    assert child.stderr == "\nnext: zoo info lenet5\n"


def test_version():
    out, loaded = watched(["--version"])
    assert out == f"{version('history-zoo')}\n"
    assert not loaded & HEAVY


def test_list_json(zoo_in_process):
    rows = {row["name"]: row for row in json.loads(zoo_in_process("list", "--json").stdout)}
    assert list(rows) == zoo.list_models()
    assert [name for row in rows.values() for name in row["weights"]] == zoo.list_models(pretrained=True)
    assert rows["lenet5"]["parameters"] == 60_000 and rows["lenet5"]["year"] == 1998


def test_info_json(zoo_command):
    """The output is JSON only, without log lines of TensorFlow, and the counts are those of the paper."""
    quiet = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    child = zoo_command("info", "lenet5", "--json", env=quiet)
    answer = json.loads(child.stdout)
    assert (answer["parameters"], answer["connections"]) == (60_000, 340_908)
    layers = {layer["name"]: layer for layer in answer["layers"]}
    assert (layers["c3"]["parameters"], layers["c3"]["connections"]) == (1_516, 151_600)
    assert answer["class_names"] == list("0123456789")
    assert child.returncode == 0 and child.stderr == ""


def test_info(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    commands.info("linear")
    out = capsys.readouterr().out
    assert "7,850" in out and "LeCun" in out and "28x28x1" in out


WRONG_NAMES = [
    ["info", "lenet-5"],
    ["info", "lenet5.mnits", "--json"],
    ["export", "lenet-5", "--to", "onnx"],
    ["evaluate", "lenet-5", "--data", "mnist"],
    ["predict", "lenet-5", "a.png"],
    ["finetune", "lenet-5", "--data", "photos", "--out", "run"],
]


@pytest.mark.parametrize("words", WRONG_NAMES, ids=lambda words: " ".join(words[:2]))
def test_wrong_name(words, zoo_in_process, tmp_path):
    """The error is one line, and nothing is written."""
    child = zoo_in_process(*words, cwd=tmp_path, timeout=60)
    assert_one_line(child, 2)
    assert "did you mean 'lenet5" in child.stderr
    assert not list(tmp_path.iterdir())


def test_wrong_name_does_not_wait_for_keras():
    _, loaded = watched(*WRONG_NAMES, code=2)
    assert not loaded & HEAVY


def test_damaged_file(monkeypatch, capsys, tmp_path):
    (tmp_path / "a.keras").write_text("no model")
    for name, message in {"a": "is not a .keras file", "none": "no file"}.items():
        monkeypatch.setattr(sys, "argv", ["zoo", "info", str(tmp_path / f"{name}.keras")])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, problem = capsys.readouterr()
        assert end.value.code == 2 and out == ""
        assert len(problem.splitlines()) == 1 and message in problem and str(tmp_path / f"{name}.keras") in problem


@pytest.mark.parametrize(
    "words, message",
    [
        (["lisst"], "no command 'lisst'; did you mean 'list'?"),
        (["zzzz"], "no command 'zzzz'."),
        (["info"], "Missing argument"),
        (["info", "lenet5", "--jsn"], "No such option"),
        (["export", "lenet5", "--to", "onx"], "onnx"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_wrong_command(words, message, zoo_in_process):
    child = zoo_in_process(*words, timeout=60)
    assert child.returncode == 2 and child.stdout == ""
    assert message in child.stderr and "Traceback" not in child.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_disk(zoo_command):
    """A system error exits with 1 and one line."""
    with open("/dev/full", "w") as full:
        child = zoo_command("list", stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert child.returncode == 1
    assert child.stderr.splitlines()[-1].startswith("zoo: No space left on device")
    assert "Traceback" not in child.stderr


OTHER = """
import os
from typing import Annotated
from zoo import ZooError
from zoo.errors import CheckFailed

def paint(how: str):
    '''Paint.

    Example: zoo paint red
    '''
    match how:
        case "red":
            print("red it is")
        case "refused":
            raise ZooError("there is no such paint")
        case "failed":
            raise CheckFailed("it came out blue")
        case "disk":
            open("no/such/folder/paint", "w")
"""


@pytest.fixture
def other_package(tmp_path):
    """The environment of a Python with another package that brings the command `zoo paint`."""
    (tmp_path / "other.py").write_text(OTHER)
    metadata = tmp_path / "other-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[zoo.commands]\npaint = other:paint\n")
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def test_command_of_another_package(zoo_command, other_package):
    """It is listed among the zoo's own commands and has the same exit codes."""
    names = zoo_command("--help", env=other_package).stdout
    assert re.search(r"\bpaint +Paint\.", names)
    good = zoo_command("paint", "red", env=other_package)
    assert (good.returncode, good.stdout) == (0, "red it is\n")
    for how, code, message in [
        ("refused", 2, "there is no such paint"),
        ("failed", 1, "it came out blue"),
        ("disk", 1, "No such file or directory: no/such/folder/paint; check the path"),
    ]:
        child = zoo_command("paint", how, env=other_package)
        assert_one_line(child, code)
        assert child.stderr == f"zoo: {message}\n"
    typo = zoo_command("pant", env=other_package)
    assert "did you mean 'paint'" in typo.stderr
