"""Training in several processes on one machine."""

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
from training.distributed.strategy import Strategy
from zoo.errors import ZooError

pytestmark = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs JAX")

# 73 images in batches of 16: the last batch has nine, which no number of processes divides.
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
# The command in a process that sends itself a signal at the end of an epoch: "9 2" is SIGKILL in the second.
ZOO = """
import os, sys, time
from zoo.cli import main
met, sys.argv = sys.argv[1], ["zoo", *sys.argv[2:]]
if met:
    import zoo.cli
    start = zoo.cli.start_keras
    def start_keras(*given, **named):
        start(*given, **named)
        from training.engine.callbacks import TrainingRun
        number, epoch = map(int, met.split())
        end = TrainingRun.on_epoch_end
        def on_epoch_end(self, done, logs=None):
            if done + 1 == epoch:
                os.kill(os.getpid(), number)
                time.sleep(4)  # the rest of the run is shorter than it takes to agree on the step to stop at
            end(self, done, logs)
        TrainingRun.on_epoch_end = on_epoch_end
    zoo.cli.start_keras = start_keras
main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A recipe for images of four classes, 23 each; processes share JAX's compilation cache."""
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
    """Start `zoo train` in the folder or another one."""
    words = [sys.executable, "-c", ZOO, met, "train", folder / "recipe.toml", "--out", folder / out, *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([*map(str, words)], cwd=place or folder, **pipes)


def alone(folder, out, *options, met=""):
    """Run `zoo train` to its end; return (exit code, output)."""
    process = train(folder, out, *options, met=met)
    said = process.communicate(timeout=240)[0]
    return process.returncode, said


def together(count, folder, out, *options, met="", place=None):
    """Run `zoo train` in several processes, the last of which may get a signal or another folder; return as `alone`."""
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


def variables_of(out):
    """The variables of a run's last checkpoint, without the metrics, which count images of weight 0."""
    with np.load(out / "last.npz") as stored:
        names = [name for name in stored.files if not re.match(r"notes|\d+:(loss|accuracy)/", name)]
        return {name: stored[name] for name in names}


def history_of(out):
    """The history of a run without durations."""
    with (out / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [[float(row[name]) for name in ("epoch", "loss", "error", "val_loss", "val_error")] for row in rows]


def assert_same(first, second):
    ours, theirs = variables_of(first), variables_of(second)
    assert list(ours) == list(theirs)
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=1e-5, err_msg=name)
    best = [zoo.load(out / "best.keras").get_weights() for out in (first, second)]
    for one, other in zip(*best, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    np.testing.assert_allclose(history_of(first), history_of(second), rtol=1e-5)


@pytest.fixture(scope="module")
def one(folder):
    """The run directory of one process on one device."""
    code, said = alone(folder, "one")
    assert code == 0, said
    return folder / "one"


@pytest.mark.slow("starts up to four processes on JAX")
@pytest.mark.parametrize("count", [2, 4])
def test_several_processes_give_the_weights_of_one(count, one, folder):
    ended = together(count, folder, f"of-{count}")
    assert [code for code, _ in ended] == [0] * count, ended
    assert f"on {count} CPUs of {count} processes" in ended[0][1]
    assert not any("epoch" in said for _, said in ended[1:])
    assert_same(folder / f"of-{count}", one)
    assert {each.name for each in (folder / f"of-{count}").iterdir()} == {each.name for each in one.iterdir()}


@pytest.mark.slow("starts a process on JAX")
def test_two_devices_of_one_process_give_the_weights_of_one(one, folder, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    code, said = alone(folder, "devices", "--devices", 2)
    assert code == 0, said
    assert "on 2 CPUs" in said
    assert_same(folder / "devices", one)


@pytest.mark.slow("starts six processes on JAX")
def test_a_run_ends_when_a_process_dies_and_is_resumed_with_any_number(one, folder):
    code, said = alone(folder, "dying", met=f"{signal.SIGKILL:d} 2")
    assert code == -signal.SIGKILL, said

    survivor, dead = together(2, folder, "dying", "--resume", met=f"{signal.SIGKILL:d} 3")
    assert survivor[0] == dead[0] == 1
    assert "process 0 of 2 ends: process 1 has died or cannot be reached any more\nto resume" in survivor[1]
    assert "process 1 of 2 was ended by signal 9" in dead[1]

    ended = together(2, folder, "dying", "--resume", met=f"{signal.SIGTERM:d} 4")
    assert [code for code, _ in ended] == [1, 1], ended
    assert "Stopped; the run directory has the last checkpoint" in ended[0][1]
    assert "Stopped, as are all processes of the run" in ended[1][1]

    code, said = alone(folder, "dying", "--resume")
    assert code == 0, said
    assert_same(folder / "dying", one)


@pytest.mark.slow("starts two processes on JAX")
def test_a_process_with_other_images_is_named(folder, tmp_path):
    draw(tmp_path / "pictures", 1)
    for code, said in together(2, folder, "other", place=tmp_path):
        assert code == 2
        assert re.search(r"zoo: process 1 \(\S+\) and process 0 \(\S+\) do not have the same data: give the same", said)


def test_processes_that_cannot_connect_report_why(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        of_two = ["--num-processes", 2, "--coordinator", f"127.0.0.1:{port}", "--join-within", 2, "--process-id"]
        code, said = alone(folder, "none", *of_two, 0)
        assert code == 2
        assert f"process 0 cannot use port {port} (Address already in use)" in said
    code, said = alone(folder, "none", *of_two, 1)
    assert code == 1
    assert f"not all 2 processes connected within 2 s: check that 127.0.0.1:{port} can be reached from here" in said


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((2, None, "a:1"), "give --process-id too"),
        ((2, 2, "a:1"), "--process-id 2: 2 processes have the numbers 0 to 1"),
        ((2, 1, "a"), "expected HOST:PORT"),
        ((2, 1, "a:1", 2), "remove it"),
    ],
)
def test_inconsistent_options(given, message):
    with pytest.raises(ZooError, match=message):
        multi_process.check_options(*given)


def test_another_backend_is_refused_with_the_variable_to_set(monkeypatch):
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    with pytest.raises(ZooError, match="set KERAS_BACKEND=jax"):
        multi_process.check_options(2, 0, "a:1")


def test_batches_that_devices_cannot_share():
    strategy = Strategy()
    strategy.replicas = 6
    strategy.check_batch_size(12)
    with pytest.raises(ZooError, match="--set batch_size=12 or --set batch_size=18"):
        strategy.check_batch_size(16)
    with pytest.raises(ZooError, match=r"use --set batch_size=6$"):
        strategy.check_batch_size(4)
    with pytest.raises(ZooError, match="the learning rule object trains on one device"):
        strategy.check_batch_size(12, rule=object())
