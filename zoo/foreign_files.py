"""Files of other formats in place of a `.keras` file: what they are, and the step that makes a `.keras` file of them."""

import zipfile
from pathlib import Path

HDF5 = b"\x89HDF\r\n\x1a\n"  # first bytes of a file
LITERT = b"TFL3"  # bytes 4 to 7 of a file


def refusal(path: Path) -> str:
    """Return why an existing file or folder is not loaded as a Keras model, and what to do."""
    kind, step = _kind(Path(path))
    return f"{path} is not a .keras file but {kind}; {step}"


def _kind(path):
    """Return what a path is, and the step to a model that can be loaded."""
    target = path.name.removesuffix(".h5").removesuffix(".weights")
    target = Path(target).stem if target == path.name else target
    save = f"save it from Keras with model.save('{target}.keras')"
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "a SavedModel, which has no Keras layers", f"{save} before it is exported"
        return "a folder", "give the .keras file in it, or a name of `zoo list`"
    with path.open("rb") as file:
        start = file.read(8)
    if start == HDF5 and path.name.endswith(".weights.h5"):
        return "weights without a model", f"build the model, load them with model.load_weights('{path.name}') and {save}"
    if start == HDF5:
        command = f"keras.models.load_model('{path.name}', compile=False).save('{target}.keras')"
        return "a model in the older HDF5 format", f'convert it: python -c "import keras; {command}"'
    if zipfile.is_zipfile(path):
        return _kind_of_archive(path, target, save)
    if start[4:] == LITERT:
        return "a LiteRT file", f"a .tflite file has no Keras layers; {save}"
    if path.suffix == ".onnx":
        return "an ONNX file, which is already exported", "`zoo verify` and `zoo quantize` read it"
    if path.suffix in (".json", ".yaml"):
        return "an architecture without weights", f"build it with keras.models.model_from_json, load its weights and {save}"
    return "another kind of file", f"{save}, or give a name of `zoo list`"


def _kind_of_archive(path, target, save):
    names = zipfile.ZipFile(path).namelist()
    if "config.json" in names:
        return "a Keras model with another suffix", f"rename it to {target}.keras"
    if any(name.endswith("data.pkl") for name in names):
        return "a file of PyTorch", f"`zoo import {path.name} --as MODEL` reads the weights of a model of the zoo"
    return "an archive", save
