"""Export with Keras' own exporters, with the same comparison as an ONNX file: LiteRT (.tflite) and TensorFlow's SavedModel.

Both take raw uint8 images, channels last, include the preprocessing of a classifier, and accept any batch size. A LiteRT
file of a recurrent model takes a batch of 1.
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
from typing import TYPE_CHECKING

import numpy as np

from exporters import archives, parity, source
from exporters.general import GeneralSource
from exporters.onnx import metadata
from exporters.onnx.runtimes import first_line
from exporters.options import check_suffix
from zoo.errors import ZooError
from zoo.files import PART, atomic

if TYPE_CHECKING:
    import keras

SAVED_MODEL = {"saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra"}  # written by TensorFlow
CALLING = "Exception encountered when calling"  # first words of Keras' errors
METADATA = "assets.extra/zoo.json"  # in a SavedModel; assets.extra is for files that TensorFlow does not read


def to_tflite(model: "keras.Model | str | Path", path: str | Path, data: str | Path | None = None) -> parity.Report:
    """Export a model to a LiteRT file of built-in operators. The file gets its name only after the comparison.

    Args:
        model: as in `exporters.source.find`, such as a `zoo.classifier.Classifier` or a name of the zoo.
        path: .tflite file to write; its metadata are written to FILE.tflite.json.
        data: folder of images for the comparison. Default: images that scikit-learn ships.

    Returns:
        `exporters.parity.Report` of the comparison.

    Raises:
        ZooError: if the path does not end in .tflite, FILE.tflite.json is not a file of the zoo, or LiteRT has no operator
            for a part of the model.
        CheckFailed: if the file does not compute what the model computes; no file is written.

    References:
        LiteRT, https://ai.google.dev/edge/litert; the file format was TensorFlow Lite's.
    """
    path = Path(path)
    check_suffix(path, ".tflite")
    sidecar = metadata.sidecar(path.with_name(f"{path.name}.json"))
    exported = _find(model)
    import tensorflow as tf

    from exporters.onnx import lowering

    lowering.check(exported.model)
    batch = 1 if _is_recurrent(exported.model) else None
    with atomic(path) as temporary:
        # Keras also allows operators of TensorFlow itself, which need a runtime that few boards have.
        target = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
        try:
            with lowering.indices_of_extremes():
                _export(exported, temporary, "litert", batch, target_spec=target)
        except OSError:
            raise
        except Exception as error:  # the converter raises any exception of its passes
            raise ZooError(f"{exported.model.name} cannot be converted to LiteRT: {_reason(error, exported)}") from error
        report = _prove(exported, path, "LiteRT", lambda: _litert(temporary), data, batch)
        about = _about(
            exported, **({"batch": batch} if batch else {}), file={**metadata.facts(temporary), "name": path.name}
        )
        with atomic(sidecar) as temporary_sidecar:
            temporary_sidecar.write_text(about, "utf-8")
    return report


def to_savedmodel(model: "keras.Model | str | Path", path: str | Path, data: str | Path | None = None) -> parity.Report:
    """Export a model to a SavedModel. The folder gets its name only after the comparison.

    Args:
        model, data: as in `to_tflite`.
        path: folder to write. An existing folder is replaced if it is empty or contains only a SavedModel.

    Returns:
        `exporters.parity.Report` of the comparison.

    Raises:
        ZooError: if the path contains something else, or the model cannot be traced.
        CheckFailed: if the SavedModel does not compute what the model computes; nothing is written.
    """
    path = Path(path)
    _check_replaceable(path)
    exported = _find(model)
    with _whole_folder(path) as temporary:
        try:
            _export(exported, temporary, "tf_saved_model")
        except OSError:
            raise
        except Exception as error:  # TensorFlow raises any exception of the trace
            reason = f"cannot be converted to a SavedModel: {_line(error)}"
            raise ZooError(f"{exported.model.name} {reason}; {_instead(exported)}") from error
        about = temporary / METADATA
        about.parent.mkdir()
        about.write_text(_about(exported), "utf-8")
        report = _prove(exported, path, "TensorFlow", lambda: _served(temporary), data)
    return report


def _find(model):
    """Return the model to export as an `exporters.source.Source`."""
    source.check_backend()
    return source.find(model, general=True)


def _is_recurrent(model):
    """Return whether a model has a loop over steps. LiteRT has loops only over states of a known size."""
    import keras

    loops = [each for each in model._flatten_layers() if isinstance(each, keras.layers.RNN)]
    return any(not each.unroll for each in loops)


def _export(exported, path, format, batch=None, **options):
    """Write a model with Keras' exporter."""
    import tensorflow as tf

    if isinstance(exported, GeneralSource):
        with _quiet():
            if format == "litert":
                archives.export_litert(exported, path, options["target_spec"]["supported_ops"], batch)
            else:
                archives.export_savedmodel(exported, path, batch)
        return
    signature = tf.TensorSpec((batch, *exported.shape), exported.dtype, name=exported.input_name)
    with _quiet():
        exported.model.export(path, format=format, verbose=False, input_signature=[signature], **options)


def _prove(exported, path, runtime, open_file, data, batch=None):
    """Compare a file with its model.

    Args:
        open_file: function that returns a function of keyword arguments that returns a dict.
        batch: the only batch size that the file takes, or None for any.
    """

    static = (f"a batch of {batch}, because LiteRT has no loop over steps for any batch",) if batch else ()
    if isinstance(exported, GeneralSource):
        if data:
            raise ZooError(f"--data needs a model with one input and one output; {exported.origin} has {exported.signature}")
        report = archives.prove(exported, runtime, open_file, batch)
        return dataclasses.replace(report, file=str(path), assumed=(*report.assumed, *static))

    def opened():
        run, name = open_file(), exported.input_name
        return lambda batch: np.asarray(next(iter(run(**{name: batch}).values())))

    found, exact = exported.samples(data), exported.compiled.float64
    dtype = str(exported.predict(found.inputs[: batch or 2]).dtype)
    spec = parity.FileSpec(dtype=dtype, batches=(batch,) if batch else exported.compiled.batches)
    exported.compiled.check_eager(found.inputs)
    report = parity.compare(
        exported.predict, {runtime: parity.Candidate(opened)}, found.inputs, spec, found.real, exact=exact
    )
    report.raise_if_failed()
    skipped = {**found.skipped, **report.skipped}
    return dataclasses.replace(report, file=str(path), skipped=skipped, assumed=(*exported.assumed, *static))


def _litert(path):
    """Return a function that runs a file in LiteRT's interpreter."""
    import tensorflow as tf

    with _quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it announces that the interpreter moves to another package
        interpreter = tf.lite.Interpreter(str(path))
        interpreter.allocate_tensors()  # it prints a message about its delegate
    return interpreter.get_signature_runner()


def _served(folder):
    """Return a function that runs the serving signature of a SavedModel."""
    import tensorflow as tf

    loaded = tf.saved_model.load(folder)  # keep it: it owns the variables of its signatures

    def run(**inputs):
        return loaded.signatures["serving_default"](**{name: tf.constant(value) for name, value in inputs.items()})

    return run


def _about(exported, **more):
    """Return the metadata of a file as JSON."""
    layout = "NHWC" if exported.is_image else None
    about = metadata.about(exported, layout)
    if isinstance(exported, GeneralSource):
        about |= archives.about_signature(exported, more.get("batch"))
    else:
        about |= {"pixels": exported.dtype}
    about |= more
    return json.dumps(about, indent=2, ensure_ascii=False) + "\n"


def _reason(error, exported):
    """Return in one line why LiteRT's converter failed, with the layer and the operator if it names them."""
    missing = re.findall(r"(?:TF Select|Custom) ops: (.+)", str(error))
    if not missing:
        return f"{_line(error)}; {_instead(exported)}"
    layers = {layer.name for layer in exported.model._flatten_layers()}
    scope = re.search(rf'fused\["{missing[0].split(", ")[0]}:", "([^"@]+)', str(error))
    # One of the scopes is the layer; TensorFlow appends numbers to them.
    parts = re.sub(r"_\d+(/|$)", r"\1", scope[1]).split("/") + scope[1].split("/") if scope else []
    names = [part for part in parts if part in layers]
    where = f"its layer {names[-1]}" if names else "it"
    return f"{where} needs {', '.join(missing)}, for which LiteRT has no built-in operator; {_instead(exported)}"


def _line(error):
    """Return the reason of an error in one line, without the line that Keras puts before it."""
    lines = [line for line in re.sub(r"\x1b\[[0-9;]*m", "", str(error)).splitlines() if not line.startswith(CALLING)]
    return first_line(Exception("\n".join(lines)))


def _instead(exported):
    """Return the advice to export to ONNX, if that works, or why it does not."""
    from exporters.onnx import convert

    try:
        convert.convert(exported)
    except ZooError as error:
        return f"--to onnx fails too: {first_line(error)}"
    return "use --to onnx"


def _check_replaceable(path):
    """Raise `ZooError` if writing to the path would delete anything but a SavedModel."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise ZooError(f"a SavedModel is a folder, but {path} is a file or a link; choose another path")
    inside = {each.name for each in path.iterdir()} if path.exists() else set()
    others = sorted(inside - SAVED_MODEL)
    if others or (inside and "saved_model.pb" not in inside):
        reason = f"it contains {others[0]}" if others else "it has no saved_model.pb"
        raise ZooError(f"{path} exists and is not only a SavedModel: {reason}; choose another folder")


@contextlib.contextmanager
def _whole_folder(path):
    """Yield a temporary folder beside `path`. At the end sync and rename it to `path`; after an error remove it."""
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
    """Silence the standard error: TensorFlow's converter and interpreter write to it without a log."""
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
