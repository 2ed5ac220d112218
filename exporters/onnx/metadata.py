"""Metadata of an exported file: one entry of JSON in the file, and the same in a JSON file beside it for other tools."""

import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import onnx_ir as ir
import pydantic

from exporters.choices import Layout, Runtime
from exporters.onnx import files
from exporters.precision import Precision
from zoo import registry, schema
from zoo.errors import ZooError, printable
from zoo.files import atomic, sha256

if TYPE_CHECKING:
    from exporters.general import GeneralSource
    from exporters.signature import Signature
    from exporters.source import Source

KEY = "zoo"  # of the metadata entry
LAYOUTS = tuple(layout.upper() for layout in Layout)
PACKAGES = ("history-zoo", "tensorflow", "keras", "tf2onnx", "onnx", "onnx-ir")


class Trained(pydantic.BaseModel):
    """Metadata of the zoo's pretrained weights."""

    recipe: str | None = None
    published: tuple[schema.Published, ...] = ()
    measured: tuple[schema.Measured, ...] = ()


class NamedTensor(pydantic.BaseModel):
    """An input or output: its shape has names for sizes that are not fixed."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class NamedTensors(pydantic.BaseModel):
    """The inputs and outputs of a model with several of them, or of free size."""

    inputs: tuple[NamedTensor, ...]
    outputs: tuple[NamedTensor, ...]
    sizes: tuple[dict[str, pydantic.PositiveInt], ...] = ()


class About(pydantic.BaseModel):
    """The metadata that commands read, also from files of unknown origin. A file may have more."""

    model: str
    weights_sha256: str
    title: str | None = None
    year: int | None = None
    precision: Precision = Precision.FP32
    class_names: tuple[str, ...] = ()
    picture: schema.ImageSpec | None = None
    signature: NamedTensors | None = None
    layout: Literal[LAYOUTS] | None = None
    raw_input: bool = True
    preprocessing: schema.Preprocessing | None = None
    value_range: tuple[float, float] | None = None
    scores: str | None = None
    assumed: tuple[str, ...] = ()
    weights: Trained = Trained()
    licence: dict[str, str | None] = {}
    versions: dict[str, str] = {}


def about(
    source: "Source", layout: str | None = None, precision: Precision = Precision.FP32, runtime: str = Runtime.TENSORRT
) -> dict:
    """Return the metadata of an exported file. They do not contain a time or place.

    Args:
        source: `exporters.source.Source`.
        layout: of an image input, "NCHW" or "NHWC"; None for other inputs.
        precision: `exporters.precision.Precision`.
        runtime: name of the `exporters.choices.Runtime` that the graph is optimized for.

    Returns:
        dict for JSON. It has the recipe, errors and license of weights only if the source's origin is their name, because
        a user's file may have been trained further.
    """
    return {
        "model": source.origin,
        "precision": precision,
        **({"layout": layout} if layout else {}),
        "runtime": str(runtime),
        "raw_input": source.raw_input,
        "weights_sha256": source.fingerprint(),
        **about_images(source),
        **({"policy": source.policy} if source.policy else {}),
        **({"size": list(source.size)} if source.size else {}),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def about_signature(exported: "GeneralSource", signature: "Signature") -> dict:
    """Return the metadata about the inputs and outputs of a model that is no classifier.

    Args:
        exported: the model.
        signature: inputs and outputs of the file.
    """
    inputs, outputs = ([each.plain() for each in tensors] for tensors in (signature.inputs, signature.outputs))
    return {"signature": {"inputs": inputs, "outputs": outputs, "sizes": [each for each in exported.sizes if each]}}


def about_images(source: "Source") -> dict:
    """Return the metadata about the images and classes of a model; none for a model that is not a classifier."""
    if source.described:
        return source.described.metadata()
    return _about_classifier(source.classifier, source.origin) if source.classifier else {}


def _about_classifier(classifier, origin):
    """Return the metadata of a classifier, from the classifier and its card."""
    card = registry.card(classifier.card)
    tag = None if registry.is_path(origin) or ":" in origin else registry.split_name(origin)[1]
    weights = card.weights[tag] if tag else None
    package = importlib.metadata.metadata("history-zoo")
    public = {"recipe", "licence", "url", "sha256", "sha1", "published", "measured"}
    return {
        **({"started_from": classifier.weights_name} if classifier.weights_name not in (None, origin) else {}),
        "title": card.title,
        "year": card.year,
        "class_names": classifier.class_names,
        **({"class_ids": classifier.class_ids} if classifier.class_ids else {}),
        "picture": classifier.image_spec,
        "preprocessing": {name: getattr(classifier.preprocessing, name) for name in schema.Preprocessing.model_fields},
        **({"weights": _plain(weights, include=public)} if weights else {}),
        "licence": {
            "code": package["License-Expression"] or package["License"],
            "weights": weights and weights.licence,
        },
        "card": _plain(card, exclude={"weights", "imports"}),
    }


def _plain(facts, **which):
    return facts.model_dump(mode="json", exclude_none=True, **which)


def describe(model: ir.Model, about: dict) -> None:
    """Write metadata into a model, in place. Opset, IR version and input type are read from the model.

    Args:
        model: `onnx_ir.Model`.
        about: dict, as returned by the function `about`.
    """
    own = {
        **({} if "signature" in about else {"pixels": str(model.graph.inputs[0].dtype.numpy())}),
        "opset": model.opset_imports[""],
        "ir_version": model.ir_version,
    }
    model.metadata_props[KEY] = json.dumps({**about, **own}, ensure_ascii=False)
    names = [", ".join(value.name for value in values) for values in (model.graph.inputs, model.graph.outputs)]
    model_input = "raw 0-255 pictures" if about.get("raw_input", True) else names[0]
    model_output = "a score a class" if "class_names" in about else names[1]
    model.doc_string = f"{title(about)}: {model_input} -> {model_output}"


def title(about: dict) -> str:
    """Return the title and the year of the model of a file; its name if there is no title."""
    year = f" ({about['year']})" if "year" in about else ""
    return f"{about['title']}{year}" if "title" in about else about["model"]


def check_single(path: str | Path, about: dict) -> None:
    """Raise `ZooError` for a file with several inputs or outputs, or of free size, from its metadata."""
    if "signature" in about:
        names = [", ".join(each["name"] for each in about["signature"][kind]) for kind in ("inputs", "outputs")]
        raise ZooError(
            printable(
                f"{path} takes {names[0]} and returns {names[1]}; only files with one input of fixed size and one output "
                "can be planned or quantized. `zoo verify` and `zoo info` read it"
            )
        )


def read(path: str | Path) -> dict:
    """Return the metadata of an ONNX file of the zoo; raise errors as `opened` does."""
    return opened(path)[1]


def opened(path: str | Path, load: Callable[[Path], ir.Model] = files.load) -> tuple[ir.Model, dict]:
    """Return an ONNX file of the zoo and its metadata.

    Args:
        path: of the file.
        load: `exporters.onnx.files.load`, or `exporters.onnx.untrusted.sandbox.load` for a file of unknown origin.

    Returns:
        (`onnx_ir.Model`, dict).

    Raises:
        ZooError: if the file is missing, damaged or malicious, or is not of the zoo.
    """
    path = Path(path)
    if not path.is_file():
        raise ZooError(f"no file {path}")
    if path.suffix != ".onnx":
        raise ZooError(f"{path} is not an ONNX file; only those can be verified")
    model = load(path)
    about = find(model)
    if about is None:
        raise ZooError(f"{path} was not exported by the zoo: its metadata do not name a model")
    return model, about


def find(model: ir.Model) -> dict | None:
    """Return the metadata of a model as a dict; None if it was not exported by the zoo."""
    text = model.metadata_props.get(KEY, "")
    try:
        About.model_validate_json(text, strict=True)
        return json.loads(text)
    except (ValueError, RecursionError):  # from pydantic, from JSON, and for deeply nested lists
        return None


def precision_of(model: ir.Model) -> Precision:
    """Return the lowest precision in which a model computes."""
    nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
    if any(node.op_type == "DequantizeLinear" for node in nodes):
        return Precision.INT8
    halves = [value for value in model.graph.initializers.values() if value.const_value.dtype == ir.DataType.FLOAT16]
    cast = [node for node in nodes if node.op_type == "Cast" and node.attributes["to"].value == ir.DataType.FLOAT16]
    return Precision.FP16 if halves or cast else Precision.FP32


def sidecar(path: str | Path) -> Path:
    """Return the path of the JSON file beside an .onnx file, FILE.json, after checking that it may be overwritten.

    Raises:
        ZooError: if a file of that name exists that the zoo did not write.
    """
    beside = Path(path).with_suffix(".json")
    if beside.exists() and not _is_ours(beside):
        raise ZooError(f"{beside} exists and was not written by the zoo; move it, or export to another folder")
    return beside


def write_sidecar(path: str | Path) -> Path:
    """Write the metadata of an exported file, and the hashes of the file and its weights' file, to FILE.json.

    Args:
        path: .onnx file.

    Returns:
        Path of the JSON file, which is written atomically.

    Raises:
        ZooError: as `read` and `sidecar`.
    """
    beside, about = sidecar(path), read(path)
    about["file"] = facts(path)
    if data := files.data_files(path):
        about["data"] = [facts(each) for each in data]
    with atomic(beside) as temporary:
        temporary.write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return beside


def facts(path: str | Path) -> dict:
    """Return the name, the size in bytes and the hash of a file, to recognize it."""
    return {"name": Path(path).name, "bytes": Path(path).stat().st_size, "sha256": sha256(path)}


def _is_ours(path):
    """Return whether `write_sidecar` wrote a JSON file."""
    try:
        about = json.loads(path.read_text("utf-8"))
        return set(about["file"]) == {"name", "bytes", "sha256"}
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
