"""Fixtures of all tests, and how pytest shares the tests among its processes."""

import contextlib
import ctypes
import gc
import io
import os
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import hypothesis
import psutil
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the command has it: without, convolutions round otherwise
# oneDNN's own allocator never returns memory to the system: after the tests of AlexNet it holds 1.3 GB for no net. The next
# net reuses it, so it is no leak of a process that loads AlexNet many times; here it would count for each worker.
os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")

# A slow machine fails no test: examples of hypothesis have no time limit.
hypothesis.settings.register_profile("zoo", deadline=None)
hypothesis.settings.load_profile("zoo")

# Files whose tests share one model, the name between the brackets, and take long in one process after the other.
BY_NAME = (
    "tests/exporters/onnx/test_onnx.py",
    "tests/exporters/tensorrt/test_rtx.py",
    "tests/zoo/test_registry.py",
    "tests/zoo/test_on_jax.py",
)
BY_FOLDER = ("tests/exporters/planner", "tests/exporters/runner")  # with expensive fixtures in their conftest.py
kept = [0]  # bytes of memory after the last garbage collection
RUN_ZOO = "import sys; from zoo.cli import main; sys.argv[0] = 'zoo'; main()"


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=3, help="how often a run that must end as an undisturbed one is killed")


def pytest_configure():
    """Give each process of pytest-xdist its own cores: thread pools that share cores wait for each other."""
    name = os.environ.get("PYTEST_XDIST_WORKER")
    if name and hasattr(os, "sched_setaffinity"):
        cores, number = sorted(os.sched_getaffinity(0)), int(name.removeprefix("gw"))
        count = min(int(os.environ["PYTEST_XDIST_WORKER_COUNT"]), len(cores))
        os.sched_setaffinity(0, cores[number % count :: count])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Run tests that share fixtures in one process: those of a model, a file, or a folder."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            path, _, test = nodeid.partition("::")
            name = re.search(r"\[([a-z][\w.-]*?)(-any|-8)?\]$", test)  # before a batch size of test_rtx.py
            if path in BY_NAME and name:
                return name[1]
            folder = path.rpartition("/")[0]
            return folder if folder in BY_FOLDER else path

    return Groups(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_collection_modifyitems(items):
    for item in items:
        slow = item.get_closest_marker("slow")
        if slow and not slow.args:
            raise pytest.UsageError(f"{item.nodeid}: expected a reason, as in @pytest.mark.slow('trains for a minute')")
    if "PYTEST_XDIST_WORKER" in os.environ:  # long ones first, so that the processes end together
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish():
    """Exclude all that the imports made from garbage collection, which then takes milliseconds instead of a second."""
    gc.collect()
    gc.freeze()
    kept[0] = psutil.Process().memory_info().rss


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown():
    """Return the memory of nets to the system when it has grown: TensorFlow's functions are reference cycles."""
    process = psutil.Process()
    if process.memory_info().rss > kept[0] + 2**27:
        gc.collect()
        if sys.platform == "linux":
            with contextlib.suppress(AttributeError):  # a C library other than glibc
                ctypes.CDLL(None).malloc_trim(0)
        kept[0] = process.memory_info().rss


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


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory):
    """A folder of this test run that is the same in each process of pytest-xdist."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


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


@pytest.fixture(scope="session")
def zoo_in_process():
    """Return a function that runs the command `zoo` in this process, which has TensorFlow imported already.

    Keywords and result are those of `zoo_command`; what libraries in C++ print is not in the result.
    """
    from zoo import cli

    def run(*words, cwd=None, env=None, timeout=None):
        printed, problems, code = io.StringIO(), io.StringIO(), 0
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(problems),
            warnings.catch_warnings(),
        ):
            patch.setattr(sys, "argv", ["zoo", *map(str, words)])
            # As in a process of its own: a warning is printed, and not collected by pytest.
            patch.setattr(warnings, "showwarning", lambda *given: problems.write(warnings.formatwarning(*given[:4])))
            for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
                warnings.simplefilter("ignore", category)
            if cwd is not None:
                patch.chdir(cwd)
            for name in os.environ.keys() - (os.environ if env is None else env).keys():
                patch.delenv(name)
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            try:
                cli.main()
            except SystemExit as end:
                code = end.code or 0
        return subprocess.CompletedProcess(["zoo", *words], code, printed.getvalue(), problems.getvalue())

    return run


@pytest.fixture
def rng():
    """A seeded NumPy generator. Keras' random numbers are seeded too."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(3)
    return np.random.default_rng(3)
