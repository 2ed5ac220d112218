"""An interrupted run resumes from its last checkpoint and ends with the result of an uninterrupted one."""

import json
import random
import re
import resource
import shlex
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

import zoo
from runs import assert_bit_equal, fit, left, rows_of, write_recipe
from training import recipe
from training.engine import checkpoint, fused_steps, run_directory
from training.engine.callbacks import TrainingRun
from training.engine.trainer import Trainer
from zoo.analysis import arithmetic
from zoo.errors import CheckFailed, ZooError

DISTORTED = """
[[augmentation]]
class_name = "training>AffineDistortion"
"""

EPOCHS, STEPS = 16, 6  # 192 images in batches of 32

# The command with one step per graph; such a small model would have a whole epoch in one graph.
IN_SMALL_CHUNKS = """
import sys
from zoo import cli
cli.start_keras()
from training.engine import fused_steps
fused_steps.FUSED_MACS = 1
sys.argv[0] = "zoo"
cli.main()
"""


@pytest.fixture(scope="module")
def undisturbed(few, tmp_path_factory):
    """A long run with augmentation, which an interrupted one must equal: the recipe's file and the run directory."""
    folder = tmp_path_factory.mktemp("undisturbed")
    path = write_recipe(folder / "long.toml", few, "lenet5", DISTORTED)
    path.write_text(path.read_text().replace("epochs = 2", f"epochs = {EPOCHS}"))
    fit(path, folder / "run")
    assert len(rows_of(folder / "run")) == EPOCHS
    return path, folder / "run"


@pytest.fixture
def started(tmp_path):
    """Start `zoo train` in a process that ends with the test."""
    processes = []

    def start(*words, **options):
        command = [sys.executable, "-c", IN_SMALL_CHUNKS, "train"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        # A shell starts background jobs, which may include these tests, with Ctrl-C ignored.
        pipes["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
        processes.append(subprocess.Popen([*command, *map(str, words)], cwd=tmp_path, **pipes, **options))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def wait_for(process, happened):
    deadline = time.monotonic() + 240
    while not happened():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_for_epochs(process, out, number):
    wait_for(process, lambda: (out / "history.csv").exists() and len(rows_of(out)) >= number)


def steps_of(out):
    """The number of steps in the last checkpoint of a run; 0 without a checkpoint."""
    if not (out / "last.npz").exists():
        return 0
    notes = checkpoint.notes(out / "last.npz")
    return STEPS * len(notes["history"]) + notes["step"]


@pytest.mark.slow("starts the command once more for each kill")
def test_a_run_that_is_killed_repeatedly_ends_bit_identical(undisturbed, started, tmp_path, request):
    """At random moments, also before the first step and while a checkpoint is written; each step has one."""
    path, expected = undisturbed
    out = tmp_path / "run"
    moments, kills, before = random.Random(), request.config.getoption("kills"), -1
    for number in range(kills):
        resume = ("--resume",) if (out / "recipe.toml").exists() else ()
        process = started(path, "--out", out, "--checkpoint-every", 0, *resume)
        steps = STEPS * EPOCHS * (number + 1) / (kills + 1)  # so that the run has not ended before the last kill
        wait_for(process, lambda steps=steps: steps_of(out) >= steps - moments.uniform(0, 2 * STEPS))
        time.sleep(moments.uniform(0, 0.2))
        process.kill()
        process.wait()
        assert process.returncode == -signal.SIGKILL, "the run ended before it was killed"
        assert not (out / "metrics.json").exists()
        before, earlier = steps_of(out), before
        assert before >= earlier  # no saved step is lost
    process = started(path, "--out", out, "--resume")
    printed, problems = process.communicate(timeout=240)
    assert process.returncode == 0, problems
    assert f"next: zoo export {out / 'best.keras'}" in printed
    assert_bit_equal(left(out), left(expected))
    measured, wanted = (json.loads((folder / "metrics.json").read_text()) for folder in (out, expected))
    for key in ("error", "error_by_class", "best_epoch", "data_fingerprint", "recipe"):
        assert measured[key] == wanted[key]


@pytest.mark.slow("starts the command twice")
def test_ctrl_c_keeps_the_finished_epochs_and_prints_the_command_to_resume(undisturbed, started, tmp_path):
    path, expected = undisturbed
    process = started(path, "--set", "batch_size=32", "--out", "my run")
    wait_for_epochs(process, tmp_path / "my run", 2)
    process.send_signal(signal.SIGINT)
    printed, problems = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in problems
    (command,) = re.findall(r"To resume: (.*)", printed)
    program, word, *words = shlex.split(command)
    assert (program, word) == ("zoo", "train") and "--resume" in words
    assert 2 <= len(rows_of(tmp_path / "my run")) < EPOCHS
    process = started(*words)
    _, problems = process.communicate(timeout=120)
    assert process.returncode == 0, problems
    assert_bit_equal(left(tmp_path / "my run"), left(expected))


@pytest.mark.slow("trains in a process of its own")
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can take space from a running process")
def test_a_full_disk_is_an_error_in_one_line_and_keeps_the_epochs_before(undisturbed, started, tmp_path):
    path, expected = undisturbed
    out = tmp_path / "run"
    process = started(path, "--out", out)
    wait_for_epochs(process, out, 2)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))  # limits the size of all files
    _, problems = process.communicate(timeout=60)
    assert process.returncode == 1
    lines = [line for line in problems.splitlines() if "Warning" not in line and "warnings.warn" not in line]
    assert len(lines) == 1 and lines[0].startswith("zoo: File too large")
    assert not list(out.glob(".part-*"))
    kept = rows_of(out)
    assert 2 <= len(kept) < EPOCHS
    assert len(left(out)[1]) == len(left(expected)[1])  # both files can be read
    fit(path, out, resume=True)
    assert_bit_equal(left(out), left(expected))


# A model whose data are resident on either backend.
NET = "mlp" if keras.backend.backend() == "jax" else "lenet5-modern"
RESIDENT = fused_steps.JaxResidentTrainer if keras.backend.backend() == "jax" else fused_steps.TensorFlowResidentTrainer


class Stop(Exception):
    """Ends a run in the process of the tests."""


@pytest.mark.parametrize("kind", [RESIDENT, Trainer], ids=["several steps per graph", "one step at a time"])
def test_a_run_that_stops_after_any_checkpoint_resumes_from_it(kind, few, tmp_path, monkeypatch):
    """It stops after each fourth checkpoint; there is one every two steps, and three in an epoch."""
    path = write_recipe(tmp_path / "mine.toml", few, NET, DISTORTED)
    macs = arithmetic.totals(arithmetic.table(zoo.load(NET)))["macs"]
    monkeypatch.setattr(fused_steps, "FUSED_MACS", 2 * 32 * macs)
    if kind is Trainer:
        monkeypatch.setattr(fused_steps, "RESIDENT_BYTES", 0)
    fit(path, tmp_path / "whole", epochs=3)
    save, saved = checkpoint.save, []

    def save_and_stop(path, variables, notes):
        save(path, variables, notes)
        saved.append((len(notes["history"]), notes["step"]))
        if len(saved) % 4 == 0:
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save_and_stop)
        for resume in range(20):
            try:
                fit(path, tmp_path / "parts", resume=resume > 0, checkpoint_every=0, epochs=3)
                break
            except Stop:
                assert not (tmp_path / "parts" / "metrics.json").exists()
    steps = 1 if kind is Trainer else 2  # per graph
    # Each graph was followed by one checkpoint: a resumed run repeats no step.
    assert saved == [
        each for epoch in range(3) for each in [*((epoch, step) for step in range(steps, STEPS, steps)), (epoch + 1, 0)]
    ]
    assert_bit_equal(left(tmp_path / "parts"), left(tmp_path / "whole"))


def test_ctrl_c_during_validation_keeps_the_epoch(few, tmp_path, monkeypatch):
    path = write_recipe(tmp_path / "mine.toml", few, "lenet5-modern", DISTORTED)
    fit(path, tmp_path / "whole")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # also if the tests ignore it
    begin = TrainingRun.on_test_begin

    def begin_and_meet_a_signal(run, logs=None):
        begin(run, logs)
        signal.raise_signal(signal.SIGINT)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(TrainingRun, "on_test_begin", begin_and_meet_a_signal)
            with pytest.raises(KeyboardInterrupt):
                fit(path, tmp_path / "parts", checkpoint_every=3600)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(rows_of(tmp_path / "parts")) == 1
    fit(path, tmp_path / "parts", resume=True)
    assert_bit_equal(left(tmp_path / "parts"), left(tmp_path / "whole"))


def test_checkpoints_within_an_epoch_have_the_requested_interval(few, tmp_path, monkeypatch):
    path = write_recipe(tmp_path / "mine.toml", few, "lenet5-modern")
    monkeypatch.setattr(fused_steps, "FUSED_MACS", 1)
    saved = []
    monkeypatch.setattr(checkpoint, "save", lambda path, variables, notes: saved.append(notes["step"]))
    fit(path, tmp_path / "run", checkpoint_every=3600)
    assert saved == [0, 0]  # the ends of the two epochs


def test_a_second_process_does_not_train_in_the_same_directory(few, tmp_path):
    path = write_recipe(tmp_path / "mine.toml", few, "linear")
    busy = pytest.raises(ZooError, match="another process trains in")
    with run_directory.opened(tmp_path / "run", recipe.load(path), resume=False), busy:
        fit(path, tmp_path / "run", resume=True)
    fit(path, tmp_path / "run", resume=True)  # the directory is unlocked when the first run has ended


def test_a_loss_that_is_not_finite_is_reported_with_its_step_and_the_last_good_checkpoint_stays(few, tmp_path, monkeypatch):
    """The learning rate explodes in the third step of the second epoch, so the loss of the fourth is not finite."""
    path = write_recipe(tmp_path / "mine.toml", few, "linear")
    schedule = {"class_name": "PiecewiseConstantDecay", "config": {"boundaries": [STEPS + 1], "values": [0.01, 1e38]}}
    changes = {"optimizer": {"class_name": "SGD", "config": {"learning_rate": schedule}}, "epochs": 4}
    for name, macs, size, every, kept in (
        ("one step per graph", 1, 2**30, 0, 3),
        ("one epoch per graph", 10**10, 2**30, 0, 0),
        ("one step at a time, each saved", 1, 0, 0, 3),
        ("one step at a time, checked when the next has started", 1, 0, 3600, 0),
    ):
        monkeypatch.setattr(fused_steps, "FUSED_MACS", macs)
        monkeypatch.setattr(fused_steps, "RESIDENT_BYTES", size)
        with pytest.raises(CheckFailed, match=r"the loss is (nan|inf) in epoch 2 at step 4 of 6"):
            fit(path, tmp_path / name, checkpoint_every=every, **changes)
        notes = checkpoint.notes(tmp_path / name / "last.npz")
        assert (len(notes["history"]), notes["step"]) == (1, kept)
        with np.load(tmp_path / name / "last.npz") as stored:
            assert all(np.isfinite(stored[key]).all() for key in stored.files if key != "notes")


def test_changed_images_are_named(few, tmp_path, monkeypatch):
    import shutil

    folder = tmp_path / "few"
    shutil.copytree(few, folder)
    path = write_recipe(tmp_path / "mine.toml", folder, "linear")
    fit(path, tmp_path / "run")
    gone, other = sorted((folder / "3").iterdir())[:2]
    gone.rename(folder / "4" / "new.png")
    other.write_bytes(next((folder / "5").iterdir()).read_bytes())
    with pytest.raises(ZooError, match="have changed") as caught:
        fit(path, tmp_path / "run", resume=True)
    for words in ("new.png", gone.name, other.name, "--out"):
        assert words in str(caught.value)


def test_early_stopping_is_the_same_when_the_run_is_resumed(few, tmp_path):
    path = write_recipe(tmp_path / "mine.toml", few, "linear")
    changes = {"optimizer.config.learning_rate": 0.0, "epochs": 9, "patience": 3}  # no epoch improves
    assert fit(path, tmp_path / "run", **changes)["epochs"] == 4
    before = left(tmp_path / "run")
    assert fit(path, tmp_path / "run", resume=True, **changes)["epochs"] == 4
    assert_bit_equal(left(tmp_path / "run"), before)
