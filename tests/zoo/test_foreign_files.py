"""A file of another format is refused with the step that makes a .keras file of it."""

import json
import shutil
import zipfile

import keras
import numpy as np
import pytest

import zoo
from zoo import registry
from zoo.errors import ZooError


def net():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Files of a stranger, in the working directory."""
    monkeypatch.chdir(tmp_path)
    net().save("mine.h5")
    shutil.copy("mine.h5", "mine.hdf5")
    shutil.copy("mine.h5", "mask_detector.model")
    net().save_weights("mine.weights.h5")
    net().save("mine.keras")
    shutil.copy("mine.keras", "mine.zip")
    (tmp_path / "mine.json").write_text(json.dumps({}))
    (tmp_path / "mine.tflite").write_bytes(bytes(4) + b"TFL3")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved/saved_model.pb").touch()
    (tmp_path / "notes").write_text("x")
    with zipfile.ZipFile("mine.pt", "w") as archive:
        archive.writestr("mine/data.pkl", b"")
    return tmp_path


def test_each_kind_of_file_is_refused_with_a_step(files):
    expected = {
        "mine.h5": r"a model in the older HDF5 format; convert it: python -c .*.*'mine.h5'.*save\('mine.keras'\)\"$",
        "mine.hdf5": r"a model in the older HDF5 format; convert it: .*'mine.hdf5'.*save\('mine.keras'\)",
        "mask_detector.model": r"a model in the older HDF5 format; convert it: .*save\('mask_detector.keras'\)",
        "mine.weights.h5": r"weights without a model; build the model, .*load_weights\('mine.weights.h5'\).*'mine.keras'",
        "mine.zip": r"a Keras model with another suffix; rename it to mine.keras",
        "mine.pt": r"a file of PyTorch; `zoo import mine.pt --as MODEL`",
        "mine.json": r"an architecture without weights; build it with keras.models.model_from_json",
        "mine.tflite": r"a LiteRT file.*model.save\('mine.keras'\)",
        "saved": r"a SavedModel.*model.save\('saved.keras'\)",
        "notes": r"another kind of file; save it from Keras",
    }
    for name, message in expected.items():
        with pytest.raises(ZooError, match=f"{name} is not a .keras file but {message}") as error:
            zoo.load(name)
        assert "did you mean" not in str(error.value)


def test_the_step_for_an_older_file_works(files):
    """The command of the message, without the start of another Python."""
    with pytest.raises(ZooError) as error:
        zoo.load("mine.h5")
    exec(str(error.value).partition('python -c "')[2].rstrip('"'))
    keras.models.load_model("mine.keras")
    images = np.ones((1, 4), "float32")
    expected = keras.models.load_model("mine.h5", compile=False)(images)
    np.testing.assert_array_equal(registry.load_file("mine.keras")(images), expected)


def test_a_lambda_layer_is_refused_with_the_way_to_trust_it(tmp_path):
    given = keras.Input((4,))
    keras.Model(given, keras.layers.Lambda(lambda x: x * 2)(given)).save(tmp_path / "doubled.keras")
    with pytest.raises(ZooError, match=r"its Lambda layer contains Python code.*safe_mode=False.*give mynets:net"):
        registry.load_file(tmp_path / "doubled.keras")
