"""`zoo info FILE.onnx`: what an ONNX file says about itself and what is in it; it is not run."""

import json
import shlex
from collections import Counter
from pathlib import Path

import onnx_ir as ir

from exporters.onnx import files, metadata
from exporters.precision import Precision
from zoo import registry
from zoo.errors import printable

LONGEST = 2000  # characters of a line: a stranger's names may be of any length
MOST_ENDS, MOST_NAMES = 10, 20  # inputs or outputs, and classes, that are printed
RESIZED = {
    "pad": "keeps its proportions between black bars",
    "crop": "keeps its proportions and its middle",
    "stretch": "is stretched",
}


def tell(path, as_json):
    """Print what is known of an ONNX file, of the zoo or not.

    Args:
        path: the file.
        as_json: print JSON.

    Raises:
        ZooError: if the file is missing, damaged or hostile.
    """
    facts = gather(path)
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    for line in _lines(path, facts):
        print(printable(line[:LONGEST]))


def gather(path):
    """Return what is known of an ONNX file, as a dict that JSON can hold; "about" is None where the zoo did not write it.

    Args:
        path: the file.

    Raises:
        ZooError: if the file is missing, damaged or hostile.
    """
    path = Path(path)
    model = files.load(path)
    weights = [value.const_value for value in model.graph.initializers.values()]
    outside = {each.path for each in weights if isinstance(each, ir.ExternalTensor)}
    operators = Counter(node.op_type for node in ir.traversal.RecursiveGraphIterator(model.graph))
    return {
        "file": metadata.facts(path),
        "data": [metadata.facts(each) for each in sorted(outside)],
        "inputs": [_end(value) for value in model.graph.inputs if value.name not in model.graph.initializers],
        "outputs": [_end(value) for value in model.graph.outputs],
        "weights": sum(each.size for each in weights),
        "operators": dict(sorted(operators.items(), key=lambda each: (-each[1], each[0]))),
        "opset": dict(sorted(model.opset_imports.items())),
        "ir_version": model.ir_version,
        "about": metadata.find(model),
    }


def _end(value):
    """Return name, type and shape of an input or an output; None for what it does not say."""
    shape = None if value.shape is None else [each if isinstance(each, int) else each.value for each in value.shape]
    return {"name": value.name, "dtype": _dtype(value), "shape": shape}


def _dtype(value):
    if isinstance(value.type, ir.TensorType) and value.dtype not in (ir.DataType.STRING, ir.DataType.UNDEFINED):
        return str(value.dtype.numpy())
    return None if value.type is None else str(value.type)


def _lines(path, facts):
    """Yield the lines that say it to a reader."""
    about = facts["about"] and metadata.About.model_validate_json(json.dumps(facts["about"]), strict=True)
    for each in (facts["file"], *facts["data"]):
        yield f"{each['name']}: {each['bytes']:,} bytes, sha256 {each['sha256']}"
    if about is None:
        yield "not exported by the zoo: it does not say which model it computes"
    else:
        year = f" ({about.year})" if about.year is not None else ""
        yield f"{about.title or about.model}{year}, {about.precision}, exported from {about.model}"
    for kind in ("inputs", "outputs"):
        for each in facts[kind][:MOST_ENDS]:
            yield f"{kind[:-1]:8}{each['name']}: {each['dtype']} ({_axes(each['shape'])})"
        if len(facts[kind]) > MOST_ENDS:
            yield f"{kind[:-1]:8}and {len(facts[kind]) - MOST_ENDS:,} more"
    if about is not None:
        yield from _promises(about)
    operators = ", ".join(f"{name} {count}" for name, count in facts["operators"].items())
    yield f"{facts['weights']:,} numbers in weights; {sum(facts['operators'].values()):,} nodes: {operators}"
    opsets = ", ".join(f"{domain or 'opset'} {version}" for domain, version in facts["opset"].items())
    versions = ", ".join(f"{name} {version}" for name, version in (about.versions if about else {}).items())
    yield f"{opsets}, IR {facts['ir_version']}{f'; made with {versions}' if versions else ''}"
    if about is not None:
        yield f"next: {shlex.join(_next(path, about.model))}"


def _next(path, model):
    """Return the command that a person would run next; a net with random weights is in no other process again."""
    if model in registry.list_models():
        return ["zoo", "list"]
    beside = (not registry.is_path(model) and ":" not in model) or (Path(path).parent / model).is_file()
    return ["zoo", "verify", str(path), *([] if beside else ["--against", model])]


def _axes(shape):
    return "of unknown shape" if shape is None else ", ".join("?" if size is None else str(size) for size in shape)


def _promises(about):
    """Yield what a file of the zoo says of its pictures, classes and weights."""
    if picture := about.picture:
        cut = f"; of {picture.crop_from}x{picture.crop_from} of it the middle is cut out" if picture.crop_from else ""
        raw = f"raw 0-255 pixels of {picture.height}x{picture.width}x{picture.channels}"
        made = about.preprocessing
        how = f": x {made.scale} + {made.shift}, after a border of {made.padding} raw zeros" if made else ""
        takes = (
            raw if about.raw_input else f"what is made of {raw}{how}{', deskewed before' if made and made.deskew else ''}"
        )
        yield f"takes {takes}, {about.layout or 'flat'}"
        yield f"a picture of another size {RESIZED[picture.resize]}{cut}"
    names = about.class_names
    if len(names) > MOST_NAMES:
        yield f"{len(names):,} classes, from {names[0]} to {names[-1]}; --json lists them"
    elif names:
        yield f"classes: {', '.join(names)}"
    in_float32 = "" if about.precision == Precision.FP32 else " in float32"
    if about.weights.recipe:
        yield f"trained by the recipe {about.weights.recipe}"
    for each in about.weights.measured:
        yield f"{each.result} {each.mean:.4g} {each.unit}, measured{in_float32}: {each.command}"
    for each in about.weights.published:
        yield f"{each.result} {each.value:g} {each.unit}, published for {each.dataset}: {each.source}"
    if about.licence:
        yield "licence: " + ", ".join(f"{what} {name or 'not stated'}" for what, name in about.licence.items())
