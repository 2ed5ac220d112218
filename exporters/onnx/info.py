"""`zoo info FILE.onnx`: print the metadata and the content of an ONNX file, without running it."""

import json
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx_ir as ir

from exporters.onnx import files, metadata, saturation
from exporters.precision import Precision
from zoo import registry
from zoo.errors import printable

MAX_LINE = 2000  # characters; names in an untrusted file may be of any length
MAX_VALUES, MAX_CLASSES = 10, 20  # inputs or outputs, and class names, that are printed
RESIZING = {
    "pad": "is resized without distortion and padded with black",
    "crop": "is resized without distortion and cropped to the center",
    "stretch": "is resized to the full size, with distortion",
}


def print_info(path: str | Path, as_json: bool) -> None:
    """Print a description of an ONNX file, exported by the zoo or not.

    Args:
        path: ONNX file.
        as_json: print JSON.

    Raises:
        ZooError: if the file is missing, damaged or malicious.
    """
    facts = gather(path)
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    for line in _lines(path, facts):
        print(printable(line[:MAX_LINE]))


def gather(path: str | Path) -> dict[str, Any]:
    """Return a description of an ONNX file as a JSON-serializable dict; "about" is None if the zoo did not export it.

    Args:
        path: ONNX file.

    Raises:
        ZooError: if the file is missing, damaged or malicious.
    """
    path = Path(path)
    model = files.load(path)
    weights = [value.const_value for value in model.graph.initializers.values()]
    external = {each.path for each in weights if isinstance(each, ir.ExternalTensor)}
    operators = Counter(node.op_type for node in ir.traversal.RecursiveGraphIterator(model.graph))
    return {
        "file": metadata.facts(path),
        "data": [metadata.facts(each) for each in sorted(external)],
        "inputs": [_describe_value(value) for value in model.graph.inputs if value.name not in model.graph.initializers],
        "outputs": [_describe_value(value) for value in model.graph.outputs],
        "weights": sum(each.size for each in weights),
        "operators": dict(sorted(operators.items(), key=lambda each: (-each[1], each[0]))),
        "opset": dict(sorted(model.opset_imports.items())),
        "ir_version": model.ir_version,
        "full_range": saturation.may_saturate(model),
        "about": metadata.find(model),
    }


def _describe_value(value):
    """Return name, data type and shape of an input or output; None for unknown ones."""
    shape = None if value.shape is None else [each if isinstance(each, int) else each.value for each in value.shape]
    return {"name": value.name, "dtype": _dtype(value), "shape": shape}


def _dtype(value):
    if isinstance(value.type, ir.TensorType) and value.dtype not in (ir.DataType.STRING, ir.DataType.UNDEFINED):
        return str(value.dtype.numpy())
    return None if value.type is None else str(value.type)


def _lines(path: str | Path, facts: dict[str, Any]) -> Iterator[str]:
    """Yield the description of a file as lines of text."""
    about = facts["about"] and metadata.About.model_validate_json(json.dumps(facts["about"]), strict=True)
    for each in (facts["file"], *facts["data"]):
        yield f"{each['name']}: {each['bytes']:,} bytes, sha256 {each['sha256']}"
    if about is None:
        yield "not exported by the zoo: its metadata does not name a model"
    else:
        year = f" ({about.year})" if about.year is not None else ""
        yield f"{about.title or about.model}{year}, {about.precision}, exported from {about.model}"
    for kind in ("inputs", "outputs"):
        for each in facts[kind][:MAX_VALUES]:
            yield f"{kind[:-1]:8}{each['name']}: {each['dtype']} ({_format_shape(each['shape'])})"
        if len(facts[kind]) > MAX_VALUES:
            yield f"{kind[:-1]:8}and {len(facts[kind]) - MAX_VALUES:,} more"
    if about is not None:
        yield from _input_lines(about)
        yield from _weight_lines(about)
    if facts["full_range"]:
        yield f"note: {saturation.NOTE}"
    operators = ", ".join(f"{name} {count}" for name, count in facts["operators"].items())
    yield f"{facts['weights']:,} numbers in weights; {sum(facts['operators'].values()):,} nodes: {operators}"
    opsets = ", ".join(f"{domain or 'opset'} {version}" for domain, version in facts["opset"].items())
    versions = ", ".join(f"{name} {version}" for name, version in (about.versions if about else {}).items())
    yield f"{opsets}, IR {facts['ir_version']}{f'; made with {versions}' if versions else ''}"
    if about is not None:
        yield f"next: {shlex.join(_next_command(path, about.model))}"


def _next_command(path, model):
    """Return the command to run next. A model with random weights cannot be built again in another process."""
    if model in registry.list_models():
        return ["zoo", "list"]
    found = (not registry.is_path(model) and ":" not in model) or (Path(path).parent / model).is_file()
    return ["zoo", "verify", str(path), *([] if found else ["--against", model_path(path, model)])]


def model_path(path: str | Path, model: str) -> str:
    """Return the model that a file names as an argument of a command; FOLDER stands for an unknown folder.

    Args:
        path: ONNX file.
        model: name of a model, the name of a .keras file, or module:attribute.
    """
    if not registry.is_path(model):
        return model
    name = Path(model).name
    folders = [folder for folder in (Path(path).parent, Path()) if (folder / name).is_file()]
    return str(folders[0] / name) if folders else f"FOLDER/{name}"


def _format_shape(shape):
    return "unknown shape" if shape is None else ", ".join("?" if size is None else str(size) for size in shape)


def _input_lines(about: metadata.About) -> Iterator[str]:
    """Yield what a file says about its input images and its classes."""
    if spec := about.picture:
        crop = f"; the center of {spec.crop_from}x{spec.crop_from} pixels is cropped" if spec.crop_from else ""
        raw = f"raw 0-255 pixels of {spec.height}x{spec.width}x{spec.channels}"
        made = about.preprocessing
        formula = f": x {made.scale} + {made.shift}, after padding with {made.padding} raw zeros" if made else ""
        deskewed = ", after deskewing" if made and made.deskew else ""
        content = raw if about.raw_input else f"preprocessed {raw}{formula}{deskewed}"
        yield f"takes {content}, {about.layout or 'flat'}"
        yield f"an image of another size {RESIZING[spec.resize]}{crop}"
    if about.signature and about.signature.sizes:
        sizes = "; ".join(
            ", ".join(f"{name} {size}" for name, size in each.items()) for each in about.signature.sizes[:MAX_VALUES]
        )
        yield f"sizes that were verified: {sizes}"
    if about.value_range and about.raw_input:
        yield f"the model takes pixels from {about.value_range[0]:g} to {about.value_range[1]:g}; the file scales raw ones"
    if about.scores:
        yield f"scores: {about.scores}"
    for fact in about.assumed[:MAX_VALUES]:
        yield f"assumed: {fact}"
    names = about.class_names
    if len(names) > MAX_CLASSES:
        yield f"{len(names):,} classes, from {names[0]} to {names[-1]}; --json lists them"
    elif names:
        yield f"classes: {', '.join(names)}"


def _weight_lines(about: metadata.About) -> Iterator[str]:
    """Yield what a file says about the training, results and license of its weights."""
    in_float32 = "" if about.precision == Precision.FP32 else " in float32"
    if about.weights.recipe:
        yield f"trained by the recipe {about.weights.recipe}"
    for each in about.weights.measured:
        yield f"{each.result} {each.mean:.4g} {each.unit}, measured{in_float32}: {each.command}"
    for each in about.weights.published:
        yield f"{each.result} {each.value:g} {each.unit}, published for {each.dataset}: {each.source}"
    if about.licence:
        yield "license: " + ", ".join(f"{what} {name or 'not stated'}" for what, name in about.licence.items())
