"""Several real processes on this machine, that train as one."""

import csv
import importlib.util
import re
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import zoo
from training.distributed import multi_process
from training.distributed.strategy import Placement
from zoo.errors import ZooError

pytestmark = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs JAX")

# 73 pictures in batches of 16: the last batch has nine, and no number of processes divides them.
RECIPE = """
model = "mlp"
epochs = 5
batch_size = 16
seed = 1
[data]
name = "pictures"
validation = 11
test = 8
[optimizer]
class_name = "SGD"
config = { learning_rate = 0.02, momentum = 0.9 }
[options]
hidden = [12]
[[augmentation]]
class_name = "RandomFlip"
config = { mode = "horizontal" }
"""
# The command, in a process that a signal meets at the end of an epoch: "9 2" is SIGKILL in the second.
ZOO = """
import os, sys, time
from zoo.cli import main
met, sys.argv = sys.argv[1], ["zoo", *sys.argv[2:]]
if met:
    import zoo.cli
    start = zoo.cli.start_keras
    def start_keras(*given, **named):
        start(*given, **named)
        from training.engine.callbacks import Running
        number, epoch = map(int, met.split())
        end = Running.on_epoch_end
        def on_epoch_end(self, done, logs=None):
            if done + 1 == epoch:
                os.kill(os.getpid(), number)
                time.sleep(4)  # what is left of the run is shorter than it takes to agree on where to stop
            end(self, done, logs)
        Running.on_epoch_end = on_epoch_end
    zoo.cli.start_keras = start_keras
main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A recipe for pictures of four classes, 23 of each; JAX compiles once for all processes of one kind."""
    folder = tmp_path_factory.mktemp("cluster")
    draw(folder / "pictures", 0)
    (folder / "recipe.toml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(folder / "compiled"))
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        patch.setenv("JAX_PLATFORMS", "cpu")
        patch.setenv("KERAS_BACKEND", "jax")
        yield folder


def draw(folder, seed):
    generator = np.random.default_rng(seed)
    for label in range(4):
        (folder / str(label)).mkdir(parents=True)
        for number in range(23):
            noise = generator.integers(0, 100, (28, 28)) + 40 * label
            Image.fromarray(noise.astype("uint8")).save(folder / str(label) / f"{number:02}.png")


def train(folder, out, *options, met="", place=None):
    """Start `zoo train` in the folder, or another place."""
    words = [sys.executable, "-c", ZOO, met, "train", folder / "recipe.toml", "--out", folder / out, *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([*map(str, words)], cwd=place or folder, **pipes)


def alone(folder, out, *options, met=""):
    """Run `zoo train` to its end; return (exit code, output)."""
    process = train(folder, out, *options, met=met)
    said = process.communicate(timeout=240)[0]
    return process.returncode, said


def together(count, folder, out, *options, met="", place=None):
    """Run `zoo train` in several processes, the last of which meets a signal or is in another place, as `alone`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = [*options, "--num-processes", count, "--coordinator", f"127.0.0.1:{port}", "--process-id"]
    started = [train(folder, out, *options, number) for number in range(count - 1)]
    started.append(train(folder, out, *options, count - 1, met=met, place=place))
    try:
        said = [process.communicate(timeout=240)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, words) for process, words in zip(started, said, strict=True)]


def learned(out):
    """What a run has learned: each variable of its last checkpoint but the metrics, which count pictures of weight 0."""
    with np.load(out / "last.npz") as stored:
        names = [name for name in stored.files if not re.match(r"notes|\d+:(loss|accuracy)/", name)]
        return {name: stored[name] for name in names}


def told(out):
    """What a run tells of its epochs, less the times."""
    with (out / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [[float(row[name]) for name in ("epoch", "loss", "error", "val_loss", "val_error")] for row in rows]


def assert_same(first, second):
    ours, theirs = learned(first), learned(second)
    assert list(ours) == list(theirs)
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=1e-5, err_msg=name)
    best = [zoo.load(out / "best.keras").get_weights() for out in (first, second)]
    for one, other in zip(*best, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    np.testing.assert_allclose(told(first), told(second), rtol=1e-5)


@pytest.fixture(scope="module")
def one(folder):
    """The run folder of one process on one device."""
    code, said = alone(folder, "one")
    assert code == 0, said
    return folder / "one"


@pytest.mark.slow("starts up to four processes on JAX")
@pytest.mark.parametrize("count", [2, 4])
def test_processes_learn_what_one_learns(count, one, folder):
    ended = together(count, folder, f"of-{count}")
    assert [code for code, _ in ended] == [0] * count, ended
    assert f"on {count} CPUs of {count} processes" in ended[0][1]
    assert not any("epoch" in said for _, said in ended[1:])
    assert_same(folder / f"of-{count}", one)
    assert {each.name for each in (folder / f"of-{count}").iterdir()} == {each.name for each in one.iterdir()}


@pytest.mark.slow("starts a process on JAX")
def test_two_devices_of_one_process_learn_what_one_learns(one, folder, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    code, said = alone(folder, "devices", "--devices", 2)
    assert code == 0, said
    assert "on 2 CPUs" in said
    assert_same(folder / "devices", one)


@pytest.mark.slow("starts six processes on JAX")
def test_a_run_ends_when_a_process_dies_and_goes_on_with_any_number(one, folder):
    code, said = alone(folder, "dying", met=f"{signal.SIGKILL:d} 2")
    assert code == -signal.SIGKILL, said

    survivor, dead = together(2, folder, "dying", "--resume", met=f"{signal.SIGKILL:d} 3")
    assert survivor[0] == dead[0] == 1
    assert "process 0 of 2 ends: process 1 has died or cannot be reached any more\nto go on" in survivor[1]
    assert "process 1 of 2 was ended by signal 9" in dead[1]

    ended = together(2, folder, "dying", "--resume", met=f"{signal.SIGTERM:d} 4")
    assert [code for code, _ in ended] == [1, 1], ended
    assert "Stopped; the run directory has the last checkpoint" in ended[0][1]
    assert "Stopped, as are all processes of the run" in ended[1][1]

    code, said = alone(folder, "dying", "--resume")
    assert code == 0, said
    assert_same(folder / "dying", one)


@pytest.mark.slow("starts two processes on JAX")
def test_a_process_with_other_pictures_is_named(folder, tmp_path):
    draw(tmp_path / "pictures", 1)
    for code, said in together(2, folder, "other", place=tmp_path):
        assert code == 2
        assert re.search(r"zoo: process 1 \(\S+\) and process 0 \(\S+\) do not have the same data: give each", said)


def test_processes_that_do_not_come_together_end_in_words(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        of_two = ["--num-processes", 2, "--coordinator", f"127.0.0.1:{port}", "--join-within", 2, "--process-id"]
        code, said = alone(folder, "none", *of_two, 0)
        assert code == 2
        assert f"process 0 cannot have port {port} (Address already in use)" in said
    code, said = alone(folder, "none", *of_two, 1)
    assert code == 1
    assert f"not all 2 processes came together within 2 s: can 127.0.0.1:{port} be reached from here" in said


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((2, None, "a:1"), "give --process-id, too"),
        ((2, 2, "a:1"), "--process-id 2: 2 processes have the numbers 0 to 1"),
        ((2, 1, "a"), "expected HOST:PORT"),
        ((2, 1, "a:1", 2), "leave it out"),
    ],
)
def test_options_that_do_not_fit_together(given, message):
    with pytest.raises(ZooError, match=message):
        multi_process.check(*given)


def test_another_backend_is_refused_with_what_to_set(monkeypatch):
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    with pytest.raises(ZooError, match="set KERAS_BACKEND=jax"):
        multi_process.check(2, 0, "a:1")


def test_batches_that_devices_cannot_share():
    placement = Placement()
    placement.parts = 6
    placement.check(12)
    with pytest.raises(ZooError, match="--set batch_size=12 or --set batch_size=18"):
        placement.check(16)
    with pytest.raises(ZooError, match=r"give --set batch_size=6$"):
        placement.check(4)
    with pytest.raises(ZooError, match="object is a rule that learns on one device"):
        placement.check(12, rule=object())
