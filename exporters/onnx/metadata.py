"""What an exported file says about itself: one metadata entry, JSON, and the same in a file beside for other tools."""

import importlib.metadata
import json
from pathlib import Path
from typing import Literal

import onnx_ir as ir
import pydantic

from exporters.onnx import files
from exporters.precision import Precision
from zoo import registry, schema
from zoo.errors import ZooError
from zoo.files import atomic, sha256

KEY = "zoo"  # of the entry that holds all of it
PACKAGES = ("history-zoo", "tensorflow", "keras", "tf2onnx", "onnx", "onnx-ir")


class Trained(pydantic.BaseModel):
    """What a file says of weights that the zoo has a name for."""

    recipe: str | None = None
    published: tuple[schema.Published, ...] = ()
    measured: tuple[schema.Measured, ...] = ()


class About(pydantic.BaseModel):
    """What the commands rely on in a file's metadata, a stranger's too; a file may say more."""

    model: str
    weights_sha256: str
    title: str | None = None
    year: int | None = None
    precision: Precision = Precision.FP32
    class_names: tuple[str, ...] = ()
    picture: schema.ImageSpec | None = None
    layout: Literal["NCHW", "NHWC"] | None = None
    raw_input: bool = True
    preprocessing: schema.Preprocessing | None = None
    weights: Trained = Trained()
    licence: dict[str, str | None] = {}
    versions: dict[str, str] = {}


def about(source, layout=None, precision=Precision.FP32, runtime="tensorrt"):
    """Return what a file that is exported is to say of itself: nothing of when or where.

    Args:
        source: `exporters.source.Source`.
        layout: of an input that is a picture, "NCHW" or "NHWC"; None for another.
        precision: `exporters.precision.Precision`.
        runtime: what the file is to be fast in.

    Returns:
        dict that JSON can hold. Recipe, errors and licence of weights are told where the source's origin is their name: a
        file of a user may have been trained further.
    """
    return {
        "model": source.origin,
        "precision": precision,
        **({"layout": layout} if layout else {}),
        "runtime": str(runtime),
        "raw_input": source.raw_input,
        "weights_sha256": source.fingerprint(),
        **(_about_classifier(source.classifier, source.origin) if source.classifier else {}),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _about_classifier(classifier, origin):
    """Return what a classifier knows of itself, and the zoo of it."""
    card = registry.card(classifier.card)
    tag = None if registry.is_path(origin) or ":" in origin else registry.split_name(origin)[1]
    weights = card.weights[tag] if tag else None
    package = importlib.metadata.metadata("history-zoo")
    kept = {"recipe", "licence", "url", "sha256", "sha1", "published", "measured"}
    return {
        **({"started_from": classifier.weights_name} if classifier.weights_name not in (None, origin) else {}),
        "title": card.title,
        "year": card.year,
        "class_names": classifier.class_names,
        **({"class_ids": classifier.class_ids} if classifier.class_ids else {}),
        "picture": classifier.image_spec,
        "preprocessing": {name: getattr(classifier.preprocessing, name) for name in schema.Preprocessing.model_fields},
        **({"weights": _plain(weights, include=kept)} if weights else {}),
        "licence": {
            "code": package["License-Expression"] or package["License"],
            "weights": weights and weights.licence,
        },
        "card": _plain(card, exclude={"weights", "imports"}),
    }


def _plain(facts, **which):
    return facts.model_dump(mode="json", exclude_none=True, **which)


def describe(model, about):
    """Write into a model what it says about itself, in place; its opset, IR version and input type are its own.

    Args:
        model: `onnx_ir.Model`.
        about: dict, as the function of that name gives it.
    """
    own = {
        "pixels": str(model.graph.inputs[0].dtype.numpy()),
        "opset": model.opset_imports[""],
        "ir_version": model.ir_version,
    }
    model.metadata_props[KEY] = json.dumps({**about, **own}, ensure_ascii=False)
    title = f"{about['title']} ({about['year']})" if "title" in about else about["model"]
    given = "raw 0-255 pictures" if about.get("raw_input", True) else model.graph.inputs[0].name
    model.doc_string = f"{title}: {given} -> {'a score a class' if 'class_names' in about else model.graph.outputs[0].name}"


def read(path):
    """Return what an ONNX file of this zoo says about itself, as a dict; raises as `opened`."""
    return opened(path)[1]


def opened(path, load=files.load):
    """Return an ONNX file of this zoo and what it says about itself.

    Args:
        path: the file.
        load: `exporters.onnx.files.load`, or `probe.check`, which tries out what it has read.

    Returns:
        (`onnx_ir.Model`, dict).

    Raises:
        ZooError: if the file is missing, damaged or hostile, or is not of this zoo.
    """
    path = Path(path)
    if not path.is_file():
        raise ZooError(f"no file {path}")
    if path.suffix != ".onnx":
        raise ZooError(f"{path} is no ONNX file; only those can be verified")
    model = load(path)
    about = find(model)
    if about is None:
        raise ZooError(f"{path} was not exported by the zoo: it does not say which model it computes")
    return model, about


def find(model):
    """Return what an `onnx_ir.Model` says about itself, as a dict; None if it is not of this zoo."""
    text = model.metadata_props.get(KEY, "")
    try:
        About.model_validate_json(text, strict=True)
        return json.loads(text)
    except (ValueError, RecursionError):  # of pydantic, of JSON, and of a list in a list in a list
        return None


def precision_of(model):
    """Return the coarsest numbers in which a model computes, a `Precision`."""
    nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
    if any(node.op_type == "DequantizeLinear" for node in nodes):
        return Precision.INT8
    halves = [value for value in model.graph.initializers.values() if value.const_value.dtype == ir.DataType.FLOAT16]
    cast = [node for node in nodes if node.op_type == "Cast" and node.attributes["to"].value == ir.DataType.FLOAT16]
    return Precision.FP16 if halves or cast else Precision.FP32


def sidecar(path):
    """Return the path of the JSON file beside an .onnx file, FILE.json, once it is known that writing it destroys nothing.

    Raises:
        ZooError: if there is a file of that name which is none of ours.
    """
    beside = Path(path).with_suffix(".json")
    if beside.exists() and not _is_ours(beside):
        raise ZooError(
            f"{beside} is there, and is not what the zoo writes beside an exported file; move it, or export elsewhere"
        )
    return beside


def write_sidecar(path):
    """Write what an exported file says about itself, and the hash of it and of its weights' file, to FILE.json beside.

    Args:
        path: the .onnx file.

    Returns:
        Path of what was written, whole or not at all.

    Raises:
        ZooError: as for `read` and `sidecar`.
    """
    beside, about = sidecar(path), read(path)
    about["file"] = facts(path)
    if data := files.data_files(path):
        about["data"] = [facts(each) for each in data]
    with atomic(beside) as temporary:
        temporary.write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return beside


def facts(path):
    """Return the name, the size in bytes and the hash of a file, by which it is known again."""
    return {"name": Path(path).name, "bytes": Path(path).stat().st_size, "sha256": sha256(path)}


def _is_ours(path):
    """Tell whether a JSON file is one that `write_sidecar` wrote."""
    try:
        about = json.loads(path.read_text("utf-8"))
        return set(about["file"]) == {"name", "bytes", "sha256"}
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
