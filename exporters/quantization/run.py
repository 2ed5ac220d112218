"""Graphs in onnxruntime, for what is measured of them and within them."""

import json
import tempfile
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from exporters.onnx import files, metadata, runtimes

BATCH = 64  # pictures at a time


def session(model, tensors=()):
    """Return an onnxruntime session on the CPU.

    Args:
        model: path of an ONNX file, or an `onnx_ir.Model`.
        tensors: names of float32 tensors within it that it shall give too.

    Raises:
        ZooError: if onnxruntime cannot read it.
    """
    if not isinstance(model, ir.Model):
        if not tensors:
            return runtimes.session(model)
        model = files.load(model)
    model = model.clone()
    inner = {value.name: value for node in model.graph for value in node.outputs if not value.is_graph_output()}
    for name in tensors:
        if name in inner:
            inner[name].type = ir.TensorType(ir.DataType.FLOAT)
            model.graph.outputs.append(inner[name])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        files.save(model, path)
        return runtimes.session(path)


def floats(model):
    """Return the names of all float32 tensors that an `onnx_ir.Model` takes, computes and gives, in order."""
    inferred = model.clone()
    ShapeInferencePass()(inferred)
    every = [*inferred.graph.inputs, *(value for node in inferred.graph for value in node.outputs)]
    return [value.name for value in every if value.dtype == ir.DataType.FLOAT]


def outputs(session, pictures, names):
    """Return tensors that a session computes of pictures, as a list of arrays.

    Args:
        session: of `session`.
        pictures: (batch, height, width, channels) uint8.
        names: of its outputs, or of its input.
    """
    about = json.loads(session.get_modelmeta().custom_metadata_map.get(metadata.KEY, "{}"))
    fed = runtimes.feeds(session, pictures, about.get("layout"))
    computed = [name for name in names if name not in fed]
    known = fed | dict(zip(computed, session.run(computed, fed), strict=True))
    return [known[name] for name in names]


def scores(session, pictures, advance=lambda pictures: None):
    """Return the (n, classes) float32 scores of any number of pictures; `advance` is told how many are done."""
    (result,) = session.get_outputs()
    found = []
    for start in range(0, len(pictures), BATCH):
        some = pictures[start : start + BATCH]
        found.append(outputs(session, some, [result.name])[0].astype("float32"))
        advance(len(some))
    return np.concatenate(found)
