"""Every command that a command suggests after `next:` runs, and so does the one that it suggests itself, to the end."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from exporters import targets
from exporters.options import EngineOptions
from exporters.planner import settings
from training import experiments, recipe
from zoo import registry
from zoo.commands import doctor

ROOT = Path(__file__).parents[1]
NEXT = re.compile(r"^next(?:,[^:\n]*)?: (.+)$", re.MULTILINE)
PLACEHOLDERS = {"IMAGE": "image.png", "FOLDER": "digits", "LOW,HIGH": "0,1", "FILE": "names.txt"}
PLACEHOLDERS |= {"FOLDER/apart.keras": "kept/apart.keras", "FOLDER/best.keras": "first/best.keras"}

# The first commands. What they suggest is followed until a command suggests none or one that has run.
COMMANDS = (
    "list",
    "targets",
    "targets tk1",
    "export xor.patterns --to tflite",
    "export xor --to onnx",  # random weights cannot be verified again
    "plan othernets:net --target orin-nano",
    "plan othernets:raw --target nano",
    "plan othernets:up --target nano",
    "plan net.keras --target orin-nano --precision int8 --value-range -1,1 --classes names.txt",
    "quantize net.keras --precision fp16 --value-range -1,1",
    "export kept/apart.keras --to onnx --value-range -1,1 --classes names.txt --out out/apart.onnx",
    "plan out/apart.onnx --target orin-nano",
    "plan xor.patterns.onnx --target orin-nano",
    "train xor --set epochs=1 --out first",
    "report first",
    "report first second",
    "evaluate first/best.keras --data drawn:xor",
    "features lenet5-modern.mnist digits",
    "similar image.png digits --model lenet5-modern.mnist",
    "experiment",
)
# Source files that print such a line and whose commands are run by other tests.
ELSEWHERE = {
    "zoo/commands/import_weights.py": "tests/zoo/converters/test_caffe.py",
    "zoo/commands/doctor.py": "tests/zoo/commands/test_doctor.py",
    **{
        f"exporters/runner/{name}.py": "tests/exporters/runner/test_scripts.py"
        for name in ("bench", "infer", "build_engine")
    },
}
NETS = """
import keras
layers = keras.layers
def classifier(*first):
    keras.utils.set_random_seed(7)
    last = [layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(3)]
    return keras.Sequential([keras.Input((9, 9, 3)), *first, *last])
def net():
    return classifier()
def raw():
    return classifier(layers.Rescaling(1 / 255))
def up():
    keras.utils.set_random_seed(7)
    return keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2DTranspose(4, 2, strides=2)])
"""


@pytest.fixture(scope="module")
def folder(digits, tmp_path_factory):
    """A folder with all that the commands read."""
    folder = tmp_path_factory.mktemp("next")
    for digit in "012":
        (folder / "digits" / digit).mkdir(parents=True)
        for file in sorted((digits / digit).iterdir())[:12]:
            shutil.copy(file, folder / "digits" / digit)
    Image.open(folder / "digits" / "0" / "0000.png").save(folder / "image.png")
    (folder / "names.txt").write_text("zero\none\ntwo\n")
    (folder / "othernets.py").write_text(NETS)
    namespace = {}
    exec(NETS, namespace)
    namespace["net"]().save(folder / "net.keras")
    (folder / "kept").mkdir()
    shutil.copy(folder / "net.keras", folder / "kept" / "apart.keras")
    return folder


@pytest.fixture(scope="module")
def ran():
    """Commands that have run."""
    return set()


def suggested(printed):
    """Return the words of the suggested command, with a value for each placeholder; None if there is none."""
    found = NEXT.findall(printed)
    assert len(found) <= 1, found
    return [PLACEHOLDERS.get(word, word) for word in shlex.split(found[0])] if found else None


@pytest.mark.parametrize("command", COMMANDS)
def test_a_suggested_command_runs(command, folder, ran, zoo_in_process, monkeypatch):
    """An experiment takes minutes and is not run itself."""
    if "second" in command:
        shutil.copytree(folder / "first", folder / "second")
    monkeypatch.setattr(experiments, "load", lambda name: type("Quick", (), {"run": staticmethod(lambda out: {})}))
    words = ["zoo", *command.split()]
    while words and shlex.join(words) not in ran:
        if words[0] == "zoo":
            done = zoo_in_process(*words[1:], cwd=folder)
        else:
            assert words[0].startswith("python")
            done = subprocess.run([sys.executable, *words[1:]], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{shlex.join(words)}: {done.stderr or done.stdout}"
        ran.add(shlex.join(words))
        if words[:3] == ["zoo", "info", "lenet5"] or words[0] != "zoo":
            return  # the first suggests a data set, the programs of a bundle one another: both have their own tests
        words = suggested(done.stdout + done.stderr)


def test_plan_is_suggested_for_targets_that_can_be_planned():
    for name in targets.names():
        board = targets.target(name)
        if not board.is_jetson or board.jetpack().tensorrt:
            assert settings.resolve(EngineOptions(target=name)).target == board


def test_what_doctor_and_info_suggest_exists():
    found = {"nvidia": {"error": "", "gpus": [], "driver": None, "board": None}, "data": {"prepared": ["mnist"]}}
    parts = [doctor.Part("Keras", "ok", "", True), doctor.Part("TensorFlow", "ok", "", True)]
    assert doctor.advise(parts, found)["next"] == "zoo train lenet5-modern-fast" and recipe.load("lenet5-modern-fast").model
    assert doctor.advise(parts, {**found, "data": {"prepared": []}})["next"] == "zoo list"
    for name in registry.list_models():
        weights = registry.card(name).weights
        for each in list(weights.values())[:1]:
            assert not each.measured or re.fullmatch(r"mnist|cifar10|drawn:\w+", each.measured[0].dataset)


@pytest.mark.mnist
@pytest.mark.slow("evaluates on 10,000 images")
def test_the_evaluation_that_info_suggests_runs(zoo_in_process):
    words = suggested(zoo_in_process("info", "lenet5").stdout)
    done = zoo_in_process(*words[1:])
    assert done.returncode == 0 and suggested(done.stdout)[:3] == ["zoo", "export", "lenet5.mnist"]


def test_no_source_of_such_a_line_is_forgotten():
    """A new one needs a command above, or an entry in ELSEWHERE."""
    sources = {
        path.relative_to(ROOT).as_posix()
        for package in ("zoo", "training", "exporters")
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"""["\\n]next[^:"]*: """, path.read_text("utf-8"))
    }
    followed = {
        *("zoo/commands/list_models.py", "zoo/commands/info.py", "zoo/commands/features.py"),
        *("zoo/commands/similar.py", "training/commands/report.py", "training/commands/runs.py"),
        *("training/commands/experiment.py", "training/commands/evaluate.py", "exporters/commands/shared.py"),
        *("exporters/commands/targets.py", "exporters/planner/show.py", "exporters/onnx/info.py"),
        "exporters/runner/verify.py",
    }
    assert sources == followed | set(ELSEWHERE)
    for test in ELSEWHERE.values():
        assert "next: " in (ROOT / test).read_text("utf-8")
