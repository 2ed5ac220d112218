"""Convert a Keras model to a simplified ONNX graph with metadata."""

import onnx
import onnx_ir as ir

from exporters.choices import Layout, Runtime
from exporters.general import GeneralSource
from exporters.onnx import metadata
from exporters.source import Source, check_backend
from exporters.targets import NEWEST_IR, OPSET
from zoo.errors import ZooError

BATCH = "batch"


def convert(
    source: Source | GeneralSource,
    opset: int = OPSET,
    ir_version: int = NEWEST_IR,
    layout: Layout = Layout.NCHW,
    batch: int | None = None,
    runtime: Runtime = Runtime.TENSORRT,
) -> ir.Model:
    """Convert a model to a checked `onnx_ir.Model` with metadata.

    Args:
        source: `exporters.source.Source`, or a model with several inputs or outputs.
        opset: ONNX operator set.
        ir_version: version of the ONNX file format.
        layout: order of the axes of input images.
        batch: the only batch size that the file takes. Default: any.
        runtime: runtime that the graph is optimized for. The other one computes the same.

    Raises:
        ZooError: if the backend is not TensorFlow, or tf2onnx or ONNX have no operator for a part of the model.
    """
    check_backend()
    from exporters.onnx import trace

    channels_first = source.is_image and layout == Layout.NCHW
    signature = source.signature.as_in_file(batch, channels_first)
    model = trace.trace(source.model, signature, channels_first, opset)
    model.ir_version = ir_version
    model.producer_name, model.producer_version = "history-zoo", None
    model.graph.doc_string = None  # tf2onnx writes the name of a temporary file
    _clean(model, source.model.name, runtime)
    _write_shapes(model.graph, signature)
    used = {node.domain for node in model.graph}  # tf2onnx imports ai.onnx.ml without using it
    for domain in set(model.opset_imports) - used:
        del model.opset_imports[domain]
    about = metadata.about(source, layout.upper() if source.is_image else None, runtime=runtime)
    if isinstance(source, GeneralSource):
        about |= metadata.about_signature(source, signature)
    metadata.describe(model, about)
    _check(model, source, opset, ir_version)
    return model


def _clean(model, name, runtime):
    """Simplify a graph, or raise `ZooError`."""
    from exporters.onnx import graph

    try:
        graph.simplify(model, runtime)
    except Exception as error:  # a rule met a graph that it was not written for
        reason = f"simplifying its graph failed with {type(error).__name__}: {error}"
        raise ZooError(f"{name} cannot be exported: {reason}. This is a bug of the zoo; please report it") from error


def _write_shapes(graph, signature):
    """Name the dimensions of the inputs and outputs that are not fixed, and remove inner shapes, which a runtime infers."""
    tensors = [*signature.inputs, *signature.outputs]
    for value, tensor in zip([*graph.inputs, *graph.outputs], tensors, strict=True):
        if not signature.is_single:
            value.shape = ir.Shape(tensor.named_shape(BATCH))
        elif tensor.shape[0] is None:
            value.shape = ir.Shape([BATCH, *value.shape[1:]])
    for node in graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None


def _check(model, source, opset, ir_version):
    """Raise `ZooError` if ONNX's checker refuses the graph. It sees only the shapes of large constants."""
    from onnx_ir.passes.common import CheckerPass

    try:
        CheckerPass(full_check=True)(model)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ZooError(f"{source.model.name} cannot be exported at opset {opset}, IR {ir_version}: {error}") from error
