"""Training on several devices: logical CPUs here, which share a batch as GPUs do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from training.distributed import devices
from zoo.errors import ZooError

# Prints JSON; the tests read the last line.
MIRRORED = """
import json, sys
import tensorflow as tf
cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
import numpy as np
import zoo
from training.distributed import devices
from training.engine import checkpoint, trainer
from training.distributed.strategy import Strategy

keras.utils.set_random_seed(0)
devices.prepare()
generator = np.random.default_rng(0)
samples = generator.integers(0, 256, (23, 28, 28, 1), "uint8"), generator.integers(0, 10, 23).astype("int32")
start = zoo.load("lenet5-modern").get_weights()

def train(strategy, name, until, since=None):
    with strategy.scope():
        classifier = zoo.load("lenet5-modern")
        classifier.set_weights(start)
        learner = trainer.Trainer(classifier, (), *samples, 8, trainer.TrainerOptions(strategy=strategy))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        learner.prepare(keras.optimizers.SGD(0.05, momentum=0.9), loss)
        state = [*learner.variables, *learner.metrics_variables, *learner.optimizer.variables]
        if since:
            checkpoint.restore(f"{sys.argv[1]}/{since}.npz", state)
        done = 1 if since else 0
        history = learner.fit(
            learner.train_dataset(5, done), steps_per_epoch=learner.steps_per_epoch, initial_epoch=done, epochs=until,
            shuffle=False, verbose=0, validation_data=learner.validation_dataset(*samples),
        ).history
        checkpoint.save(f"{sys.argv[1]}/{name}.npz", state, {})
        classifier.save(f"{sys.argv[1]}/{name}.keras")
    return classifier.get_weights(), history

def apart(first, second):
    return max(float(np.abs(one - two).max()) for one, two in zip(first, second, strict=True))

one, one_history = train(Strategy(), "one", 2)
two, two_history = train(devices.MirroredStrategy(2), "two", 2)
found = {"moved": apart(one, start), "apart": apart(one, two), "histories": [one_history, two_history]}
found["saved"] = apart(zoo.load(f"{sys.argv[1]}/two.keras").get_weights(), two)
train(devices.MirroredStrategy(2), "half", 1)
resumed, _ = train(devices.MirroredStrategy(2), "rest", 2, "half")
found["resumed"] = apart(two, resumed)
print(json.dumps(found))
"""


def run(script, *arguments):
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=Path(__file__).parents[3],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow("trains in a process with two devices")
def test_two_devices_give_the_weights_of_one_and_resume(tmp_path):
    found = run(MIRRORED, tmp_path)
    assert found["moved"] > 1e-2 and found["apart"] < 1e-5
    for one, two in zip(*(history.items() for history in found["histories"]), strict=True):
        assert one[0] == two[0] and two[1] == pytest.approx(one[1], abs=1e-5)
    assert "val_loss" in found["histories"][1] and found["saved"] == 0
    assert found["resumed"] == 0


# Prints metrics and weights of fine-tuning on one device and on two.
FINE_TUNED = """
import json, sys
import tensorflow as tf
cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import numpy as np
from PIL import Image
from pathlib import Path
from rich.console import Console
import training, zoo
from training.distributed import devices
from training.distributed.strategy import Strategy

folder, generator = Path(sys.argv[1]), np.random.default_rng(0)
for label in ("dark", "light"):
    (folder / "photos" / label).mkdir(parents=True)
    for number in range(13):
        pixels = generator.integers(0, 256, (28, 28), "uint8") // 2 + (127 if label == "light" else 0)
        Image.fromarray(pixels.astype("uint8")).save(folder / "photos" / label / f"{number}.png")
changes = {"epochs": 3, "augmentation": [], "data.repeat": 1, "thaw.epochs": 1, "batch_size": 8}
found = []
for name, strategy in (("one", Strategy()), ("two", devices.MirroredStrategy(2))):
    quiet = Console(quiet=True)
    metrics = training.finetune(
        "lenet5-modern.mnist", folder / "photos", folder / name, console=quiet, placement=strategy, **changes
    )
    found.append((metrics["pictures"], metrics["wrong"], metrics["class_counts"]))
weights = [zoo.load(folder / name / "best.keras").get_weights() for name in ("one", "two")]
start = zoo.load("lenet5-modern.mnist").get_weights()
apart = [max(float(np.abs(a - b).max()) for a, b in zip(weights[0][:-2], each[:-2])) for each in (weights[1], start)]
print(json.dumps([found, apart, sorted(path.name for path in (folder / "two").iterdir())]))
"""


@pytest.mark.slow("trains in a process with two devices")
def test_fine_tuning_on_two_devices_ends_as_on_one(tmp_path):
    (one, two), (apart, moved), left = run(FINE_TUNED, tmp_path)
    assert one == two and moved > 1e-4 and apart < 1e-5
    assert {"best.keras", "last.npz", "report.html", "metrics.json", "predictions.csv", "split.csv"} <= set(left)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the strategy is TensorFlow's")
def test_more_devices_than_there_are():
    import tensorflow as tf

    if tf.config.list_logical_devices("GPU"):
        pytest.skip("needs a machine without a GPU")
    with pytest.raises(ZooError, match="--devices 2: tensorflow sees no GPU here; zoo doctor"):
        devices.MirroredStrategy(2)


@pytest.mark.parametrize(
    "number, found, kind, said", [(5, 4, "GPU", "4 GPUs here"), (2, 1, "GPU", "one GPU here"), (0, 4, "GPU", "4 GPUs here")]
)
def test_the_error_names_the_number_of_devices(number, found, kind, said):
    with pytest.raises(ZooError, match=rf"--devices {number}: \w+ sees {said}"):
        devices.check_number(number, found, kind)
    devices.check_number(found, found, kind)


GROWTH = """
import json, os
from training.distributed import devices
devices.prepare()
import tensorflow as tf
from tensorflow.python.framework import config
growth, deterministic = os.environ["TF_FORCE_GPU_ALLOW_GROWTH"], config.is_op_determinism_enabled()
print(json.dumps([growth, deterministic, devices.describe_arithmetic("float32")]))
"""


def test_a_run_is_deterministic_and_allocates_gpu_memory_on_demand():
    growth, deterministic, words = run(GROWTH)
    assert (growth, deterministic) == ("true", True)
    assert "TF32" in words or words == ""
