"""What Keras' own exporters write, behind the same gate as an ONNX file: LiteRT (.tflite) and TensorFlow's SavedModel.

Of a classifier both take raw uint8 pictures, channels last, and carry its preprocessing; the batch may be of any size.
"""

import contextlib
import dataclasses
import json
import os
import re
import secrets
import shutil
import warnings
from pathlib import Path

import numpy as np

from exporters import parity, source
from exporters.onnx import metadata
from exporters.onnx.runtimes import first_line
from zoo.errors import ZooError
from zoo.files import PART, atomic

SAVED_MODEL = {"saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra"}  # what TensorFlow writes
ABOUT = "assets.extra/zoo.json"  # of a SavedModel; assets.extra is for the files of others, which TensorFlow leaves alone


def to_tflite(model, path, data=None):
    """Export a model to a LiteRT file of built-in operators, and prove the file before it gets its name.

    Args:
        model: as `exporters.source.find` takes it, such as a `zoo.Classifier` or a name of the zoo.
        path: the .tflite file to write; what it says about itself is written to FILE.tflite.json beside.
        data: a folder of pictures for the proof; by default some real ones that ship with scikit-learn.

    Returns:
        `exporters.parity.Report` of the proof.

    Raises:
        ZooError: if the path is not named .tflite, what lies beside it is not the zoo's, or LiteRT has no operator for a
            part of the model.
        CheckFailed: if the file does not compute what the model computes; no file is left.

    References:
        LiteRT, https://ai.google.dev/edge/litert; the file format was TensorFlow Lite's.
    """
    path = Path(path)
    if path.suffix != ".tflite":
        raise ZooError(f"a LiteRT file is named .tflite; given was {path}")
    beside = metadata.sidecar(path.with_name(f"{path.name}.json"))
    found = _found(model)
    import tensorflow as tf

    with atomic(path) as temporary:
        # Operators of TensorFlow itself, which Keras would allow, need a runtime that few boards have.
        target = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
        try:
            _export(found, temporary, "litert", target_spec=target)
        except OSError:
            raise
        except Exception as error:  # the converter raises whatever its passes do
            raise ZooError(f"{found.model.name} cannot be a LiteRT file: {_reason(error, found)}") from error
        report = _prove(found, path, "LiteRT", lambda: _litert(temporary), data)
        about = _about(found, file={**metadata.facts(temporary), "name": path.name})
        with atomic(beside) as sidecar:
            sidecar.write_text(about, "utf-8")
    return report


def to_savedmodel(model, path, data=None):
    """Export a model to a SavedModel, and prove it before it gets its name.

    Args:
        model, data: as for `to_tflite`.
        path: the folder to write. One that is there is replaced if it is empty or a SavedModel and no more.

    Returns:
        `exporters.parity.Report` of the proof.

    Raises:
        ZooError: if there is something else at the path, or the model cannot be traced.
        CheckFailed: if the SavedModel does not compute what the model computes; nothing is left.
    """
    path = Path(path)
    _check_replaceable(path)
    found = _found(model)
    with _whole_folder(path) as temporary:
        try:
            _export(found, temporary, "tf_saved_model")
        except OSError:
            raise
        except Exception as error:  # TensorFlow raises whatever a trace does
            raise ZooError(f"{found.model.name} cannot be a SavedModel: {first_line(error)}; use --to onnx") from error
        about = temporary / ABOUT
        about.parent.mkdir()
        about.write_text(_about(found), "utf-8")
        report = _prove(found, path, "TensorFlow", lambda: _served(temporary), data)
    return report


def _found(model):
    """Return what is to be exported as an `exporters.source.Source`."""
    source.check_backend()
    return source.find(model)


def _export(found, path, format, **options):
    """Let Keras write a model."""
    import tensorflow as tf

    given = tf.TensorSpec((None, *found.shape), found.dtype, name=found.input_name)
    with _quiet():
        found.model.export(path, format=format, verbose=False, input_signature=[given], **options)


def _prove(found, path, runtime, open_file, data):
    """Compare what was written with the model; `open_file` returns a function of keyword arguments that gives a dict."""

    def opened():
        run, name = open_file(), found.input_name
        return lambda batch: np.asarray(next(iter(run(**{name: batch}).values())))

    inputs, real = found.inputs(data)
    report = parity.compare(found.predict, {runtime: parity.Candidate(opened)}, inputs, real=real)
    report.raise_if_failed()
    return dataclasses.replace(report, file=str(path))


def _litert(path):
    """Return LiteRT's interpreter of a file as a function."""
    import tensorflow as tf

    with _quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the interpreter is to move to a package of its own
        interpreter = tf.lite.Interpreter(str(path))
        interpreter.allocate_tensors()  # it tells of its delegate here
    return interpreter.get_signature_runner()


def _served(folder):
    """Return what a server calls of a SavedModel as a function."""
    import tensorflow as tf

    loaded = tf.saved_model.load(folder)  # it owns the variables; a signature alone would lose them

    def run(**given):
        return loaded.signatures["serving_default"](**{name: tf.constant(value) for name, value in given.items()})

    return run


def _about(found, **more):
    """Return what a file says about itself, as JSON."""
    layout = "NHWC" if found.is_image else None
    about = metadata.about(found, layout) | {"pixels": found.dtype} | more
    return json.dumps(about, indent=2, ensure_ascii=False) + "\n"


def _reason(error, found):
    """Return in one line why LiteRT's converter failed: the layer and the operator, where it says them."""
    missing = re.findall(r"(?:TF Select|Custom) ops: (.+)", str(error))
    if not missing:
        return f"{first_line(error)}; use --to onnx"
    layers = {layer.name for layer in found.model._flatten_layers()}
    scope = re.search(rf'fused\["{missing[0].split(", ")[0]}:", "([^"@]+)', str(error))
    # TensorFlow numbers the scopes, one of which is the layer.
    parts = re.sub(r"_\d+(/|$)", r"\1", scope[1]).split("/") + scope[1].split("/") if scope else []
    named = [part for part in parts if part in layers]
    where = f"its layer {named[-1]}" if named else "it"
    return f"{where} needs {', '.join(missing)}, for which LiteRT has no operator of its own; use --to onnx"


def _check_replaceable(path):
    """Raise `ZooError` if a SavedModel at the path would destroy anything but a SavedModel."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise ZooError(f"a SavedModel is a folder, and {path} is none; name another")
    inside = {each.name for each in path.iterdir()} if path.exists() else set()
    if inside and (strange := sorted(inside - SAVED_MODEL) or "saved_model.pb" not in inside):
        what = f"it holds {strange[0]}" if strange is not True else "it has no saved_model.pb"
        raise ZooError(f"{path} is there and is not a SavedModel alone: {what}; name another folder")


@contextlib.contextmanager
def _whole_folder(path):
    """Yield a temporary folder beside `path`; on leaving, sync it and give it the final name, on an error remove it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, older = (path.parent / f"{PART}{secrets.token_hex(8)}-{path.name}" for _ in range(2))
    try:
        temporary.mkdir()
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with file.open("rb+") as opened:
                    os.fsync(opened.fileno())
        try:
            if path.exists():
                path.rename(older)
            temporary.rename(path)
        except BaseException:  # Ctrl-C too
            if older.exists() and not path.exists():
                older.rename(path)
            raise
    finally:
        for folder in (temporary, older):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _quiet():
    """Within it, nothing is printed to standard error: TensorFlow's converter and interpreter write there past any log."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
