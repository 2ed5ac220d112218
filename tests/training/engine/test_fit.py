import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import typing
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import training
import zoo
from runs import assert_bit_equal, fit, left, rows_of, write_recipe
from training import data, recipe
from training.data import Samples, Source
from training.engine import checkpoint, fused_steps, run_directory
from training.engine.fit import FitOptions
from training.engine.trainer import Trainer
from zoo.errors import CheckFailed, ZooError

QUIET = Console(quiet=True)

DISTORTED = """
[[augmentation]]
class_name = "training>AffineDistortion"
"""


@pytest.fixture(scope="module")
def finished(few, tmp_path_factory):
    """A finished short run: the recipe's file, the run directory, the result of fit."""
    folder = tmp_path_factory.mktemp("finished")
    path = write_recipe(folder / "mine.toml", few)
    return path, folder / "run", fit(path, folder / "run", epochs=3)


def test_annotated_keywords_are_the_fields_of_the_options():
    (keywords,) = typing.get_args(training.fit.__annotations__["options"])
    assert set(keywords.__annotations__) == {field.name for field in dataclasses.fields(FitOptions)}


def test_the_run_directory_has_all_files(finished):
    path, out, metrics = finished
    names = {"recipe.toml", "split.csv", "history.csv", "logs", "best.keras", "last.npz", "metrics.json", "predictions.csv"}
    drawn = {"seen.png", "curves.png", "confusion.png", "mistakes.png", "report.html"}
    assert {file.name for file in out.iterdir()} == names | drawn
    assert recipe.load(out / "recipe.toml") == recipe.load(path, epochs=3)
    rows = rows_of(out)
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert sum(1 for _ in (out / "logs").rglob("events.out.tfevents.*")) == 2  # of training and of validation
    for name in ("curves", "confusion", "mistakes"):
        with Image.open(out / f"{name}.png") as image:
            assert image.convert("L").getextrema()[0] < 128  # something is drawn


def test_the_metrics_are_those_of_the_best_classifier(finished):
    path, out, metrics = finished
    checked = recipe.load(path, epochs=3)
    source = data.load(checked.data.name, zoo.card(checked.model).picture.model_dump())
    _, validation, test = data.split(source, 0.2, 0.2, checked.seed)
    best = zoo.load(out / "best.keras")
    assert best.class_names == list("0123456789")
    wrong = {}
    for name, samples in (("validation", validation), ("test", test)):
        answers = [int(np.argmax(best(image[None])[0])) for image in samples.images]
        wrong[name] = sum(answer != label for answer, label in zip(answers, samples.labels, strict=True))
    assert (metrics["part"], metrics["pictures"], metrics["wrong"]) == ("test", 60, wrong["test"])
    assert metrics["error"] == metrics["test_error"] == pytest.approx(100 * wrong["test"] / 60, abs=1e-3)
    assert metrics["accuracy"] == pytest.approx(100 - metrics["error"], abs=1e-3)
    assert metrics["validation_error"] == pytest.approx(100 * wrong["validation"] / 48, abs=1e-3)
    rows = rows_of(out)
    expected = min(rows, key=lambda row: (float(row["val_error"]), float(row["val_loss"])))
    assert metrics["best_epoch"] == int(expected["epoch"])
    assert metrics["data_fingerprint"] == source.fingerprint() and metrics["left_out"] == []
    assert metrics["recipe"] == checked.model_dump(mode="json", exclude_none=True)


def test_without_a_test_split_the_validation_error_is_reported(few, tmp_path):
    path = write_recipe(tmp_path / "mine.toml", few, "linear")
    metrics = fit(path, tmp_path / "run", **{"data.test": 0, "epochs": 1})
    assert metrics["part"] == "validation" and "test_error" not in metrics
    assert metrics["pictures"] == 60 and metrics["error"] == metrics["validation_error"]


def test_the_seed_determines_the_run(few, tmp_path, finished):
    path = write_recipe(tmp_path / "mine.toml", few)
    _, out, _ = finished
    fit(path, tmp_path / "again", epochs=3)
    assert_bit_equal(left(tmp_path / "again"), left(out))
    fit(path, tmp_path / "other", epochs=3, seed=4)
    assert not np.array_equal(left(tmp_path / "other")[1][0], left(out)[1][0])


def test_a_used_directory_is_refused_and_not_changed(finished, tmp_path):
    path, out, _ = finished
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*")}
    with pytest.raises(ZooError, match="not empty; resume its run with --resume, or give another directory"):
        fit(path, out, epochs=3)
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*")} == before
    (tmp_path / "mine").mkdir()
    for name in ("letter.txt", ".part-of-a-letter"):
        (tmp_path / "mine" / name).write_text("mine")
    with pytest.raises(ZooError, match="not empty"):
        fit(path, tmp_path / "mine")
    assert len(list((tmp_path / "mine").iterdir())) == 2
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match="not empty"):
        fit(path, tmp_path / "file")


def test_resuming_another_recipe_or_nothing_is_refused(finished, tmp_path):
    path, out, _ = finished
    with pytest.raises(ZooError, match="another recipe"):
        fit(path, out, resume=True, epochs=3, seed=9)
    with pytest.raises(ZooError, match="no run to resume"):
        fit(path, tmp_path / "nothing", resume=True)
    assert not (tmp_path / "nothing").exists()


def test_a_recipe_with_other_comments_and_layout_is_the_same_recipe(finished, tmp_path):
    path, out, _ = finished
    same = recipe.load(path, epochs=3)
    text = (out / "recipe.toml").read_text().replace('model = "lenet5-modern"', "# a comment\nmodel = 'lenet5-modern'")
    assert "# a comment" in text
    (tmp_path / "recipe.toml").write_text(text)
    with run_directory.opened(tmp_path, same, resume=True):
        assert (tmp_path / "recipe.toml").read_text() == text
    other = same.model_copy(update={"seed": 9})
    message = "another recipe: seed is 3 in the run and 9 now; resume"
    with pytest.raises(ZooError, match=message), run_directory.opened(tmp_path, other, resume=True):
        pass


def test_resuming_with_other_images_is_refused(few, tmp_path):
    """Another split could put test images into the training split."""
    shutil.copytree(few, tmp_path / "digits")
    path = write_recipe(tmp_path / "mine.toml", tmp_path / "digits", "linear")
    fit(path, tmp_path / "run", epochs=1)
    before = (tmp_path / "run" / "last.npz").read_bytes()
    next((tmp_path / "digits" / "3").iterdir()).unlink()
    with pytest.raises(ZooError, match=r"the images have changed since .*run was started: 1 image removed .*; restore them"):
        fit(path, tmp_path / "run", resume=True, epochs=1)
    assert (tmp_path / "run" / "last.npz").read_bytes() == before


def test_partial_files_of_a_killed_run_are_removed(few, tmp_path):
    path = write_recipe(tmp_path / "mine.toml", few, "linear")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".part-0123-recipe.toml").write_text("mod")
    fit(path, tmp_path / "run", epochs=1)
    (tmp_path / "run" / ".part-0123-last.npz").write_bytes(b"PK")
    fit(path, tmp_path / "run", resume=True, epochs=1)
    assert not list((tmp_path / "run").glob(".part-*"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": {"class_name": "BinaryCrossentropy"}}, "loss binary_crossentropy"),
        ({"augmentation": [{"class_name": "RandomTranslatoin", "config": {}}]}, "RandomTranslatoin"),
    ],
    ids=["loss", "augmentation"],
)
def test_a_wrong_loss_or_augmentation_is_reported_before_the_first_epoch(few, tmp_path, changes, message):
    path = write_recipe(tmp_path / "mine.toml", few, "linear")
    with pytest.raises(ZooError, match=message):
        fit(path, tmp_path / "run", epochs=1, **changes)
    fit(path, tmp_path / "run", epochs=1)


def test_augmentation_with_keras_layers(few, tmp_path):
    path = write_recipe(tmp_path / "mine.toml", few, "linear")
    layer = {"class_name": "RandomTranslation", "config": {"height_factor": 0.1, "width_factor": 0.1}}
    fit(path, tmp_path / "run", epochs=1, augmentation=[layer])
    assert "augmentation" not in str(zoo.load(tmp_path / "run" / "best.keras").get_config())


def test_resuming_a_finished_run_trains_no_more(finished, tmp_path):
    path, out, metrics = finished
    shutil.copytree(out, tmp_path / "run")
    again = fit(path, tmp_path / "run", resume=True, epochs=3)
    assert_bit_equal(left(tmp_path / "run"), left(out))
    assert {key: again[key] for key in ("error", "best_epoch")} == {key: metrics[key] for key in ("error", "best_epoch")}


def test_a_damaged_checkpoint_is_refused(finished, tmp_path):
    path, out, _ = finished
    shutil.copytree(out, tmp_path / "run")
    last = tmp_path / "run" / "last.npz"
    whole = last.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (whole[: len(whole) // 2], b"", b"I am a text", bytes(flipped)):
        last.write_bytes(content)
        with pytest.raises(ZooError, match=r"last\.npz is damaged.*start a new run"):
            checkpoint.restore(last, [])
    with pytest.raises(ZooError, match=r"last\.npz is damaged.*start a new run"):
        fit(path, tmp_path / "run", resume=True, epochs=3)
    last.write_bytes(whole)
    with pytest.raises(ZooError, match="another model or optimizer"):
        checkpoint.restore(last, zoo.load("linear").weights)


def test_after_a_mistake_the_corrected_command_uses_the_same_directory(few, tmp_path):
    path = write_recipe(tmp_path / "mine.toml", few, "linear")
    for wrong in (
        {"optimizer.class_name": "Adamm"},
        {"model": "liniar"},
        {"data.name": str(tmp_path / "missing")},
        {"data.validation": 5},
    ):
        with pytest.raises(ZooError, match=r"Adamm|liniar|missing|validation"):
            fit(path, tmp_path / "run", **wrong)
    fit(path, tmp_path / "run", epochs=1)
    assert recipe.load(tmp_path / "run" / "recipe.toml") == recipe.load(path, epochs=1)


def all_finite(out):
    arrays, best, _ = left(out)
    return all(np.isfinite(array).all() for array in [*arrays.values(), *best] if array.dtype.kind == "f")


def test_a_loss_that_is_not_finite_stops_and_keeps_the_epochs_before(few, tmp_path):
    path = write_recipe(tmp_path / "mine.toml", few, "lenet5-modern")
    # 180 images in batches of 32 are six steps per epoch: two good epochs, then the rate explodes.
    schedule = {"class_name": "PiecewiseConstantDecay", "config": {"boundaries": [11], "values": [0.01, 1e30]}}
    changes = {"optimizer": {"class_name": "SGD", "config": {"learning_rate": schedule}}, "epochs": 4}
    with pytest.raises(CheckFailed, match=r"the loss is (nan|inf) in epoch 3 at step 2 of 6: the learning rate"):
        fit(path, tmp_path / "run", **changes)
    assert len(rows_of(tmp_path / "run")) == 2 and all_finite(tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_weights_that_explode_in_the_last_step_of_an_epoch_are_not_saved(few, tmp_path):
    """The loss of that epoch is still finite, because it is measured before the step."""
    path = write_recipe(tmp_path / "mine.toml", few, "lenet5-modern")
    schedule = {"class_name": "PiecewiseConstantDecay", "config": {"boundaries": [10], "values": [0.01, 1e30]}}
    changes = {"optimizer": {"class_name": "SGD", "config": {"learning_rate": schedule}}, "epochs": 4}
    with pytest.raises(CheckFailed, match="learning rate"):
        fit(path, tmp_path / "run", **changes)
    assert len(rows_of(tmp_path / "run")) == 1 and all_finite(tmp_path / "run")


# The training of 2012: random crops, mirror images, color changes, learning rates in epochs.

CUTTING = """
model = "linear"
epochs = 5
batch_size = 16
seed = 3
[options]
input_shape = [8, 8, 3]
[picture]
height = 8
width = 8
channels = 3
resize = "crop"
crop_from = 12
[data]
name = "colors"
validation = 0
[optimizer]
class_name = "zoo>MomentumWithDecay"
[optimizer.config.learning_rate]
class_name = "training>EpochSteps"
config = { values = [0.02, 0.002], boundaries = [4] }
[optimizer.config.rates.scores]
class_name = "training>EpochSteps"
config = { values = [0.01, 0.005], boundaries = [3] }
[[augmentation]]
class_name = "training>RandomCrop"
config = { size = 8 }
[[augmentation]]
class_name = "RandomFlip"
config = { mode = "horizontal" }
[[augmentation]]
class_name = "training>PCAColour"
config = { until = 4 }
"""


def colors(seed, rows, misleading=135):
    """Noisy images of 12x12: the central 8x8 has the color of the class, the border that of the next one."""
    generator = np.random.default_rng(seed)
    labels = np.arange(rows, dtype="int32") % 3
    images = generator.integers(0, 120, (rows, 12, 12, 3), "uint8")
    for image, label in zip(images, labels, strict=True):
        image[..., (label + 1) % 3] += misleading
        image[2:10, 2:10, (label + 1) % 3] -= misleading
        image[2:10, 2:10, label] += 60
    return Samples(images, labels)


TRAIN = colors(1, 70, misleading=0)


def colored(**parts):
    made = {"train": TRAIN, "validation": colors(2, 30), "test": colors(3, 30), **parts}
    return Source(("red", "green", "blue"), made)


def fit_colors(folder, resume=False, source=None, **changes):
    path = folder.parent / "cutting.toml"
    path.write_text(CUTTING)
    return training.fit(recipe.load(path, **changes), folder, resume=resume, source=source or colored(), console=QUIET)


@pytest.fixture(params=[fused_steps.TensorFlowResidentTrainer, Trainer], ids=["one graph per epoch", "one step at a time"])
def either_trainer(request, monkeypatch):
    if request.param is Trainer:
        monkeypatch.setattr(fused_steps, "RESIDENT_BYTES", 0)


def test_larger_images_are_cropped_at_random_and_evaluated_at_the_center(either_trainer, tmp_path):
    metrics = fit_colors(tmp_path / "run")
    rows, best, source = rows_of(tmp_path / "run"), zoo.load(tmp_path / "run" / "best.keras"), colored()
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert best.image_spec == {"height": 8, "width": 8, "channels": 3, "resize": "crop", "crop_from": 12}
    wrong = {}
    for part in ("validation", "test"):
        samples = source.splits[part]
        for place, cut in (("middle", np.s_[:, 2:10, 2:10]), ("corner", np.s_[:, :8, :8])):
            answers = best.predict_on_batch(samples.images[cut]).argmax(axis=1)
            wrong[part, place] = int((answers != samples.labels).sum())
    assert metrics["wrong"] == wrong["test", "middle"] < 5 < wrong["test", "corner"]
    assert metrics["validation_error"] == pytest.approx(100 * wrong["validation", "middle"] / 30, abs=1e-3)
    assert float(rows[metrics["best_epoch"] - 1]["val_error"]) == pytest.approx(metrics["validation_error"], abs=1e-3)


def test_an_interrupted_run_with_crops_flips_and_colors_ends_bit_identical(either_trainer, tmp_path, monkeypatch):
    fit_colors(tmp_path / "whole")
    save, saved = checkpoint.save, []

    def save_twice(*what):
        if len(saved) == 2:
            raise KeyboardInterrupt
        saved.append(what)
        save(*what)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save_twice)
        with pytest.raises(KeyboardInterrupt):
            fit_colors(tmp_path / "parts")
    assert len(rows_of(tmp_path / "parts")) == 2
    fit_colors(tmp_path / "parts", resume=True)
    assert_bit_equal(left(tmp_path / "parts"), left(tmp_path / "whole"))


def axes_of(out):
    """The principal axes of the colors and their deviations in a run's checkpoint."""
    found = [array for name, array in left(out)[0].items() if name.endswith(("/axes", "/deviations"))]
    assert [array.shape for array in found] == [(3, 3), (3,)]
    return found


def test_colors_are_fitted_to_the_training_split_only(tmp_path):
    fit_colors(tmp_path / "plain", epochs=1)
    fit_colors(tmp_path / "others", epochs=1, source=colored(validation=colors(4, 60), test=colors(5, 9)))
    for one, other in zip(axes_of(tmp_path / "plain"), axes_of(tmp_path / "others"), strict=True):
        np.testing.assert_array_equal(one, other)
    axes, deviations = axes_of(tmp_path / "plain")
    expected = np.cov(TRAIN.images.reshape(-1, 3).T.astype("float64"), bias=True)
    np.testing.assert_allclose(axes @ np.diag(deviations**2) @ axes.T, expected, rtol=1e-4, atol=1e-2)
    fit_colors(tmp_path / "fewer", epochs=1, source=colored(train=TRAIN[np.arange(60)]))
    assert not np.array_equal(axes_of(tmp_path / "fewer")[1], deviations)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (13, r"does not fit images of 12x12x3: .*cannot crop 13x13. Received: images of 12x12"),
        (7, r"turns images of 12x12x3 into images of 7x7x3, and linear takes 8x8x3; change the size"),
    ],
)
def test_a_crop_of_the_wrong_size_is_reported_before_the_first_epoch(tmp_path, size, message):
    crop = {"class_name": "training>RandomCrop", "config": {"size": size}}
    with pytest.raises(ZooError, match=message):
        fit_colors(tmp_path / "run", augmentation=[crop])
    assert not (tmp_path / "run" / "history.csv").exists()


@pytest.mark.parametrize("table", ["rates", "decays"])
def test_a_rate_for_a_missing_layer_is_reported_before_the_first_epoch(tmp_path, table):
    with pytest.raises(ZooError, match=f"{table} names 'score'.*did you mean 'scores'"):
        fit_colors(tmp_path / "run", **{f"optimizer.config.{table}": {"score": 0.1}})
    assert not (tmp_path / "run" / "history.csv").exists()


WITHOUT_RIGHTS = """
import os, sys
import keras, training.engine.fit
from zoo.cli import main
if os.geteuid() == 0:
    os.seteuid(65534)
sys.argv[0] = "zoo"
main()
"""


@pytest.mark.slow("starts the command in a process without rights")
def test_a_directory_without_write_permission_is_an_error_in_one_line():
    with tempfile.TemporaryDirectory() as closed:  # pytest's own is accessible to its owner only
        os.chmod(closed, 0o555)
        words = ["train", "linear-mnist", "--out", str(Path(closed) / "run")]
        done = subprocess.run([sys.executable, "-c", WITHOUT_RIGHTS, *words], capture_output=True, text=True, timeout=120)
        assert list(Path(closed).iterdir()) == []
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("zoo:")]
    assert line.startswith("zoo: Permission denied") and closed in line
    assert "Traceback" not in done.stderr


@pytest.mark.slow("starts a process on JAX, which compiles the net")
def test_a_model_trained_on_jax_is_loaded_on_tensorflow(few, zoo_command, tmp_path):
    pytest.importorskip("jax")
    path = write_recipe(tmp_path / "mine.toml", few, "lenet5-modern", DISTORTED)
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = zoo_command("train", path, "--out", tmp_path / "run", env=environment)
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "run")
    assert float(rows[1]["loss"]) < float(rows[0]["loss"]) and float(rows[1]["val_loss"]) < float(rows[0]["val_loss"])
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["backend"].startswith("jax") and keras.backend.backend() == "tensorflow"
    best = zoo.load(tmp_path / "run" / "best.keras")
    source = data.load(str(few), best.image_spec)
    test = data.split(source, 0.2, 0.2, 3)[2]
    assert int((best.predict(test.images, verbose=0).argmax(axis=1) != test.labels).sum()) == metrics["wrong"]
