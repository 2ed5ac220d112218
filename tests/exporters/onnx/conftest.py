"""Keras nets that are converted and compared in onnxruntime."""

import keras
import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from exporters import source
from exporters.onnx import convert


def convert_and_compare(shape, build, **options):
    """Convert a net with random weights, and check that the graph computes what Keras computes.

    Args:
        shape: of an input image, (rows, columns, channels).
        build: function from the input of the net to its output.
        options: of `convert.convert`.

    Returns:
        list of the operators of the graph.
    """
    image = keras.Input(shape)
    model = keras.Model(image, build(image))
    generator = np.random.default_rng(5)
    for weight in model.weights:
        drawn = generator.normal(0, 0.4, weight.shape)
        weight.assign(0.5 + np.abs(drawn) if "variance" in weight.path else drawn)
    proto = ir.to_proto(convert.convert(source.find(model), **options))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        some = generator.normal(size=(batch, *shape)).astype("float32")
        (result,) = session.run(None, {"input": np.moveaxis(some, -1, 1)})
        np.testing.assert_allclose(result, keras.ops.convert_to_numpy(model(some)), rtol=1e-4, atol=1e-5)
    return [node.op_type for node in proto.graph.node]


@pytest.fixture
def compare():
    """Return `convert_and_compare`."""
    return convert_and_compare
