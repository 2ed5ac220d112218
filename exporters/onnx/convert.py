"""From a Keras model to an ONNX graph as an engineer would have drawn it, that says what it is."""

import onnx
import onnx_ir as ir

from exporters.onnx import metadata
from exporters.precision import Precision
from exporters.source import check_backend
from exporters.targets import NEWEST_IR, OPSET, Runtime
from zoo.errors import ZooError, did_you_mean

BATCH = "batch"


def convert(source, opset=OPSET, ir_version=NEWEST_IR, layout="nchw", batch=None, runtime="tensorrt"):
    """Return a model as a checked `onnx_ir.Model`.

    Args:
        source: `exporters.source.Source`.
        opset: ONNX operator set.
        ir_version: version of the ONNX file format.
        layout: of an input that is a picture, "nchw" or "nhwc".
        batch: the one number of pictures that the file takes at a time; by default any.
        runtime: what the graph is to be fast in, of `exporters.targets.Runtime`; the other computes the same.

    Raises:
        ZooError: if the backend is not TensorFlow, or tf2onnx or ONNX know no operator for a part of the model.
    """
    check_backend()
    if layout not in ("nchw", "nhwc"):
        raise ZooError(f"the layout of pictures is nchw or nhwc; given was '{layout}'")
    if runtime not in (known := [each.value for each in Runtime]):
        raise ZooError(f"no runtime '{runtime}'{did_you_mean(runtime, known)} There are {' and '.join(known)}")
    if opset < Precision.FP32.oldest_opset:
        raise ZooError(f"opset {opset} is too old; the oldest that is exported is {Precision.FP32.oldest_opset}")
    if batch is not None and batch < 1:
        raise ZooError(f"a static batch is at least 1; given was {batch}")
    from exporters.onnx import trace

    channels_first = source.is_picture and layout == "nchw"
    shape = (source.shape[-1], *source.shape[:-1]) if channels_first else source.shape
    model = trace.trace(source.model, ((batch, *shape), source.dtype, source.ends[0]), channels_first, opset, runtime)
    model.ir_version = ir_version
    model.producer_name, model.producer_version = "history-zoo", None
    model.graph.doc_string = None  # tf2onnx names a temporary file there
    for value, name in zip((model.graph.inputs[0], model.graph.outputs[0]), source.ends, strict=True):
        value.name = name  # before the others get theirs: a layer may be called the same
    _clean(model, source.model.name, runtime)
    _write_shapes(model.graph, batch)
    used = {node.domain for node in model.graph}  # tf2onnx imports ai.onnx.ml without using it
    for domain in set(model.opset_imports) - used:
        del model.opset_imports[domain]
    metadata.describe(model, metadata.about(source, layout.upper() if source.is_picture else None, runtime=runtime))
    _check(model, source, opset, ir_version)
    return model


def _clean(model, name, runtime):
    """Clean up a graph, or raise `ZooError`."""
    from exporters.onnx import graph

    try:
        graph.simplify(model, runtime)
    except Exception as error:  # a rule met a graph that it was not written for
        reason = f"the clean-up of its graph failed with {type(error).__name__}: {error}"
        raise ZooError(f"{name} cannot be exported: {reason}. This is a bug of the zoo; please report it") from error


def _write_shapes(graph, batch):
    """Give the batch dimension the name that a client may rely on, and leave the shapes within to the reader."""
    for value in (graph.inputs[0], graph.outputs[0]):
        if batch is None:
            value.shape = ir.Shape([BATCH, *value.shape[1:]])
    for node in graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None


def _check(model, source, opset, ir_version):
    """Raise `ZooError` if ONNX does not know the graph; of the large constants it sees the shapes alone."""
    from onnx_ir.passes.common import CheckerPass

    try:
        CheckerPass(full_check=True)(model)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ZooError(f"{source.model.name} cannot be exported at opset {opset}, IR {ir_version}: {error}") from error
