"""Indices outside of the table."""

import keras
import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from exporters import source
from exporters.onnx import convert


@pytest.mark.parametrize(("dtype", "output"), [("int32", "float32"), ("int64", "int32")])
def test_one_hot_of_an_index_outside_is_zeros(dtype, output):
    given = keras.Input((6,), dtype=dtype)
    model = keras.Model(given, keras.ops.one_hot(given, 4, dtype=output))
    proto = ir.to_proto(convert.convert(source.find(model)))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    indices = np.array([[-5, -1, 0, 3, 4, 2]], dtype)
    expected = np.zeros((1, 6, 4), output)
    for place, index in ((2, 0), (3, 3), (5, 2)):
        expected[0, place, index] = 1
    (result,) = session.run(None, {"input": indices})
    assert result.dtype == output
    np.testing.assert_array_equal(result, expected)
