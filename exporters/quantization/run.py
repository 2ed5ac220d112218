"""Execution of graphs in onnxruntime, to read their scores and intermediate tensors."""

import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
from onnx_ir.passes.common import ShapeInferencePass

from exporters.onnx import files, metadata, runtimes

BATCH = 64  # images per run


def session(model: str | Path | ir.Model, tensors: Iterable[str] = ()) -> onnxruntime.InferenceSession:
    """Return an onnxruntime session on the CPU.

    Args:
        model: path of an ONNX file, or a model.
        tensors: names of float32 tensors in it to return as additional outputs.

    Raises:
        ZooError: if onnxruntime cannot read the model.
    """
    if not isinstance(model, ir.Model):
        if not tensors:
            return runtimes.session(model)
        model = files.load(model)
    model = model.clone()
    intermediate = {value.name: value for node in model.graph for value in node.outputs if not value.is_graph_output()}
    for name in tensors:
        if name in intermediate:
            intermediate[name].type = ir.TensorType(ir.DataType.FLOAT)
            model.graph.outputs.append(intermediate[name])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        files.save(model, path)
        return runtimes.session(path)


def float_tensors(model: ir.Model) -> list[str]:
    """Return the names of all float32 inputs, intermediate tensors and outputs of a model, in order."""
    inferred = model.clone()
    ShapeInferencePass()(inferred)
    every = [*inferred.graph.inputs, *(value for node in inferred.graph for value in node.outputs)]
    return [value.name for value in every if value.dtype == ir.DataType.FLOAT]


def outputs(session: onnxruntime.InferenceSession, images: np.ndarray, names: Sequence[str]) -> list[np.ndarray]:
    """Run a session on a batch of images and return some of its tensors.

    Args:
        session: session from `session`.
        images: (batch, height, width, channels) uint8.
        names: names of its outputs or of its input.
    """
    about = json.loads(session.get_modelmeta().custom_metadata_map.get(metadata.KEY, "{}"))
    feeds = runtimes.feeds(session, images, about.get("layout"))
    computed = [name for name in names if name not in feeds]
    tensors = feeds | dict(zip(computed, session.run(computed, feeds), strict=True))
    return [tensors[name] for name in names]


def scores(
    session: onnxruntime.InferenceSession, images: np.ndarray, advance: Callable[[int], object] = lambda images: None
) -> np.ndarray:
    """Return the scores of images, computed in batches.

    Args:
        session: session from `session`.
        images: (n, height, width, channels) uint8.
        advance: called with the number of images of each batch.

    Returns:
        (n, classes) float32.
    """
    (result,) = session.get_outputs()
    batches = []
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        batches.append(outputs(session, batch, [result.name])[0].astype("float32"))
        advance(len(batch))
    return np.concatenate(batches)
