"""Open an ONNX file of unknown origin together with the model that it names."""

import os
from pathlib import Path

import onnx_ir as ir

from exporters import description, source
from exporters.general import GeneralSource
from exporters.onnx import metadata
from exporters.onnx.untrusted import sandbox
from exporters.precision import Precision
from zoo import registry, schema
from zoo.errors import ZooError, printable

LARGEST_SIZE = 4096  # rows or columns of a model of any size
LONGEST_LINE = 500  # characters of an error; a file of unknown origin may have names of any length
LARGEST_STATIC_BATCH = 1024  # that is run; a larger one may exhaust the memory


def opened(path: Path, against: str | None = None) -> tuple[ir.Model, dict, source.Source | GeneralSource]:
    """Return an ONNX file of the zoo and the model that it was exported from.

    The file is first read and run in a sandbox; see `exporters.onnx.untrusted.sandbox`.

    Args:
        path: .onnx file.
        against: model, as in `exporters.to_onnx`. Default: the one that the file names, which is a model of the zoo or a
            .keras file in the same folder.

    Returns:
        (`onnx_ir.Model`, dict of its metadata, `exporters.source.Source`).

    Raises:
        ZooError: if the file is damaged or not of the zoo, or the model has other weights.
    """
    graph, about = metadata.opened(path, sandbox.load)
    graph_input = _check_signature(path, graph, about)
    claimed, precision = about.get("precision", Precision.FP32), metadata.precision_of(graph)
    if claimed not in (Precision.FP32, precision):  # only files that need a wider tolerance may have it
        raise ZooError(f"{path} says that it is {claimed}, but computes in {precision}; export it again")
    model = against or _find_origin(path, about["model"])
    pixels, general = str(graph_input.dtype.numpy()), "signature" in about
    exported = source.find(model, about.get("raw_input", True), pixels, _known(about), size=_size(about), general=general)
    if general != isinstance(exported, GeneralSource):
        raise ZooError(
            printable(f"{path} lists several inputs or outputs, {about['model']} has one of each; export it again")
        )
    if general:
        _check_tensors(path, graph, about, exported)
    else:
        _check_shape(path, graph_input, exported.shape, about.get("layout"))
    if exported.fingerprint() != about["weights_sha256"]:
        text = f"{path} was exported from {about['model']} with other weights than the model compared has"
        raise ZooError(printable(f"{text}; name the right model with --against, or export again"))
    return graph, about, exported


def _known(about):
    """Return the description of a model that is not of the zoo from the metadata of its file; None if there is none."""
    if "value_range" not in about and "scores" not in about:
        return None
    spec = about.get("picture") or {}
    known = {name: about.get(name) for name in ("title", "value_range", "preprocessing")}
    known |= {
        "classes": tuple(about.get("class_names") or ()),
        "resize": spec.get("resize"),
        "crop_from": spec.get("crop_from"),
    }
    return schema.validate(known, description.Known, "the metadata of the file")


def _size(about):
    """Return the size that a file gives to a model of any size, or None. The metadata are untrusted."""
    size = about.get("size")
    valid = isinstance(size, list) and all(isinstance(each, int) and 1 <= each <= LARGEST_SIZE for each in size)
    return tuple(size) if valid else None


def _check_signature(path, graph, about):
    """Return the first input of a graph. Raise `ZooError` unless its inputs and outputs are numeric.

    It has one of each, if its metadata do not list them.
    """
    inputs, outputs = list(graph.graph.inputs), list(graph.graph.outputs)
    single = len(inputs) == 1 and len(outputs) == 1
    if not (single or ("signature" in about and inputs)) or not all(map(_is_numeric, inputs + outputs)):
        raise ZooError(f"{path} must have one numeric input and one numeric output; export it again")
    batch = inputs[0].shape[0]
    if isinstance(batch, int) and not 1 <= batch <= LARGEST_STATIC_BATCH:
        raise ZooError(f"{path} takes {batch:,} inputs at a time; only 1 to {LARGEST_STATIC_BATCH:,} can be compared")
    return inputs[0]


def _check_shape(path, graph_input, shape, layout):
    """Raise `ZooError` if a file takes another shape than its model, whose shape is (height, width, channels)."""
    expected = (shape[2], *shape[:2]) if layout == "NCHW" and len(shape) == 3 else tuple(shape)
    sizes = tuple(graph_input.shape)[1:]
    equal = all(not isinstance(size, int) or size == own for size, own in zip(sizes, expected, strict=False))
    if len(sizes) != len(expected) or not equal:
        raise ZooError(printable(f"{path} takes inputs of {graph_input.shape}, the model of {expected}; export it again"))


def _check_tensors(path, graph, about, exported):
    """Raise `ZooError` unless a file has the inputs and outputs of its model, and its metadata list them."""
    batch = graph.graph.inputs[0].shape[0]
    batch = batch if isinstance(batch, int) else None
    signature = exported.signature.as_in_file(batch, about.get("layout") == "NCHW")
    own = metadata.about_signature(exported, signature)["signature"]
    listed = about["signature"]
    for kind, values in (("inputs", graph.graph.inputs), ("outputs", graph.graph.outputs)):
        in_file = [
            {
                "name": value.name,
                "dtype": str(value.dtype.numpy()),
                "shape": [size if isinstance(size, int) else size.value for size in value.shape],
            }
            for value in values
        ]
        for what, given in (("has", in_file), ("lists", listed[kind])):
            if given != own[kind]:
                wrong = next(
                    (pair for pair in zip(given, own[kind], strict=False) if pair[0] != pair[1]), (given, own[kind])
                )
                text = f"{path} {what} the {kind} {wrong[0]}, the model {wrong[1]}; export it again"
                raise ZooError(printable(text[:LONGEST_LINE]))
    # The trial run in the sandbox bounds the cost of the sizes that it was made with.
    for name in {name for each in exported.sizes for name in each}:
        tried, needed = (
            max((each.get(name, 0) for each in sizes), default=0) for sizes in (listed.get("sizes", ()), exported.sizes)
        )
        if tried < needed:
            raise ZooError(printable(f"{path} was proved for {name} up to {tried}, not {needed}; export it again"))


def _is_numeric(value):
    known = isinstance(value.type, ir.TensorType) and value.dtype not in (ir.DataType.STRING, ir.DataType.UNDEFINED)
    return known and value.shape is not None and len(value.shape) > 0


def _find_origin(path, origin):
    """Return the model that a file names. The name is untrusted: load only a model of the zoo or a .keras file beside it."""
    beside = path.parent / Path(origin).name
    if origin.endswith(".keras") and os.path.isfile(beside):  # also False for a name that the file system does not allow
        return beside
    if origin in registry.list_models() + registry.list_models(pretrained=True):
        return origin
    reason = "which is not in the same folder" if registry.is_path(origin) else "which is no name of the zoo"
    raise ZooError(printable(f"{path} was exported from {origin}, {reason}; name it with --against"))
