"""What the tests of all packages share."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the command has it: without, convolutions round otherwise

RUN_ZOO = "import sys; from zoo.cli import main; sys.argv[0] = 'zoo'; main()"


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=3, help="how often a run that must end as an undisturbed one is killed")


def pytest_runtest_setup(item):
    if item.get_closest_marker("mnist") and not (Path(os.environ.get("TFDS_DATA_DIR", "")) / "mnist").is_dir():
        pytest.skip("MNIST is not prepared: run `tfds build mnist --data_dir DIR` and set TFDS_DATA_DIR=DIR")


@pytest.fixture(scope="session", autouse=True)
def zoo_cache(tmp_path_factory):
    """A cache of the tests' own: a user's is neither read nor filled."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("ZOO_CACHE", str(folder))
        yield folder


@pytest.fixture
def open_folder():
    """A folder that other users reach too, for what is tried without the rights of root."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)
        for folder in (Path(name), *Path(name).rglob("*/")):
            folder.chmod(0o755)


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """scikit-learn's 1,797 scanned digits of 8x8 pixels as PNG files, a folder a class; not to be changed."""
    from PIL import Image
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("digits")
    for digit in range(10):
        (folder / str(digit)).mkdir()
    data = load_digits()
    for number, (scan, digit) in enumerate(zip(data.images, data.target, strict=True)):
        Image.fromarray((scan * (255 / 16)).astype("uint8")).save(folder / str(digit) / f"{number:04}.png")
    return folder


@pytest.fixture(scope="session")
def zoo_command():
    """Return a function that runs the command `zoo` in a process of its own; keywords as for subprocess.run."""

    def run(*words, **options):
        command = [sys.executable, "-c", RUN_ZOO, *map(str, words)]
        return subprocess.run(command, **{"capture_output": True, "text": True, "timeout": 300, **options})

    return run
