"""Bundles, and a board that is none: stand-ins for TensorRT and CUDA, with which the scripts run as they are."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@dataclass
class Board:
    """A bundle, and an environment to run its scripts in."""

    folder: Path
    environment: dict

    def run(self, script, *words, cwd=None, **environment):
        """Run a script from another folder than its own; return the finished process."""
        return subprocess.run(
            [sys.executable, str(self.folder / script), *map(str, words)],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=cwd or self.folder.parent,
            stdin=subprocess.DEVNULL,
            env={**self.environment, **environment},
        )

    def passes(self, script, *words, **environment):
        """Return what a script prints that must not fail."""
        result = self.run(script, *words, **environment)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def fails(self, script, *words, **environment):
        """Return the error of a script that must fail in words."""
        result = self.run(script, *words, **environment)
        assert result.returncode == 1, result.stdout + result.stderr
        assert "Traceback" not in result.stderr
        return next(line for line in result.stderr.splitlines() if line.startswith("error: "))

    def facts(self):
        """Return what bundle.json holds."""
        return json.loads((self.folder / "bundle.json").read_text("utf-8"))

    def built(self):
        """Return what the stand-in was asked to build."""
        return json.loads((self.folder / "model.engine").read_bytes().partition(b"\n")[0])

    def blocked(self, module):
        """Return an environment in which Python has no such module."""
        folder = self.folder.parent / f"without-{module}"
        folder.mkdir(exist_ok=True)
        (folder / f"{module}.py").write_text(f"raise ImportError(\"No module named '{module}'\")\n")
        return {"PYTHONPATH": f"{folder}{os.pathsep}{self.environment['PYTHONPATH']}"}


@pytest.fixture(scope="session")
def libcudart(tmp_path_factory):
    """The folder of a stand-in for CUDA's runtime."""
    if not shutil.which("gcc"):
        pytest.skip("needs gcc")
    folder = tmp_path_factory.mktemp("cuda")
    source = HERE / "stand_in" / "libcudart.c"
    subprocess.run(["gcc", "-Wall", "-Werror", "-shared", "-fPIC", source, "-o", folder / "libcudart.so"], check=True)
    return folder


@pytest.fixture(scope="session")
def bundles(tmp_path_factory, digits):
    """Return a function that gives the folder of a bundle, which is not to be changed: options of `to_tensorrt`."""
    from exporters.tensorrt.export import to_tensorrt

    folders = {}

    def bundle(model, target, **options):
        key = (model, target, *sorted(options.items()))
        if key not in folders:
            folders[key] = tmp_path_factory.mktemp("bundle") / "bundle"
            pictures = digits if options["precision"] == "int8" else None
            to_tensorrt(model, folders[key], target, calibration=pictures, **options)
        return folders[key]

    return bundle


@pytest.fixture
def board(tmp_path, bundles, libcudart):
    """Return a function that gives a `Board` with a bundle of its own: a version of TensorRT, a model and a target."""

    def give(version="10.3", model="lenet5-modern.mnist", target="orin-nano", without=(), **options):
        folder = tmp_path / "bundle"
        shutil.copytree(bundles(model, target, **options), folder)
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(HERE / "stand_in"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LD_LIBRARY_PATH": str(libcudart),
            "STAND_IN_VERSION": version,
            "STAND_IN_WITHOUT": ",".join(without),
            "STAND_IN_CAPABILITY": json.loads((folder / "bundle.json").read_text())["target"]["compute_capability"],
            "STAND_IN_DLA": "2" if options.get("dla") else "0",
        }
        return Board(folder, environment)

    return give
