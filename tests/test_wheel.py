"""What a user gets: the wheel, built, looked into, installed and used away from the checkout."""

import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import zoo

pytestmark = pytest.mark.slow("builds and installs the wheel")

ROOT = Path(__file__).resolve().parents[1]

USE = """
import os, sys
import zoo
assert os.path.realpath(zoo.__file__).startswith(os.path.realpath(sys.argv[1])), zoo.__file__
import exporters, training, training.recipe
for module in (exporters, training):
    assert os.path.realpath(module.__file__).startswith(os.path.realpath(sys.argv[1])), module.__file__
assert zoo.card("lenet5").parameters == 60_000
print(*zoo.list_models(), *zoo.list_models(pretrained=True), *training.recipe.names())
import numpy
for name in zoo.list_models() + zoo.list_models(pretrained=True):
    arch, _, tag = name.partition(".")
    if tag and not zoo.card(name).weights[tag].file:
        continue  # made from data, or fetched from a place, that need not be here
    model = zoo.load(name)
    scores = model(numpy.zeros((1, *model.input_image_shape), "uint8"))
    assert tuple(scores.shape) == (1, len(model.class_names)), name
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel of a copy; the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for entry in ROOT.iterdir():
        if entry.is_file():
            shutil.copy(entry, source)
        elif not entry.name.startswith(".") and entry.name not in ("build", "dist", "runs", "demo"):
            shutil.copytree(entry, source / entry.name, ignore=shutil.ignore_patterns("__pycache__", ".part-*"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_all_that_the_packages_read_is_inside(wheel):
    with zipfile.ZipFile(wheel) as archive:
        inside = {name: archive.getinfo(name).file_size for name in archive.namelist()}
    for package in ("zoo", "training", "exporters"):
        for file in (ROOT / package).rglob("*"):
            name = file.relative_to(ROOT).as_posix()
            if file.is_file() and "__pycache__" not in name and ".part-" not in name:
                assert inside.get(name) == file.stat().st_size, name
    for pattern in (
        "zoo/cards/*.toml",
        "zoo/classes/*.txt",
        "training/recipes/*.toml",
        "zoo/pretrained/*.h5",
        "zoo/models/lenet5_bitmaps.json",
        "*/py.typed",
    ):
        assert list(ROOT.glob(pattern))
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in inside)


def test_nothing_else_is_inside(wheel):
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"zoo", "training", "exporters"}


def test_the_commands_are_entry_points(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        points = configparser.ConfigParser()
        points.read_string(archive.read(name).decode())
    assert dict(points["console_scripts"]) == {"zoo": "zoo.cli:main"}
    expected = {"list", "info", "show", "features", "similar", "train", "experiment", "finetune", "evaluate", "predict"}
    expected |= {"import", "doctor", "export", "verify", "quantize", "report", "targets", "plan"}
    assert expected <= set(points["zoo.commands"])
    assert dict(points["zoo.weights"]) == {"fit": "training.engine.fitted_weights:fit_weights"}
    assert dict(points["zoo.data"]) == {"labeled": "training.data:labeled"}
    assert dict(points["zoo.info"]) == {".onnx": "exporters.onnx.info:print_info"}


def test_it_works_away_from_the_checkout(wheel, tmp_path):
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target", str(target)]
    done = subprocess.run([*command, str(wheel)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    environment = {**os.environ, "PYTHONPATH": str(target)}
    done = subprocess.run(
        [sys.executable, "-c", USE, str(target)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    names = done.stdout.split()
    assert set(zoo.list_models()) | set(zoo.list_models(pretrained=True)) | {"lenet5-mnist", "finetune"} <= set(names)
