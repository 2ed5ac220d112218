"""Quotients and remainders of both signs, compared with Python's."""

import keras
import numpy as np
import onnx.reference
import onnx_ir as ir
import onnxruntime
import pytest

from exporters import source
from exporters.onnx import convert
from zoo.errors import ZooError

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")


class Divided(keras.layers.Layer):
    """Quotient and remainder by a constant, side by side."""

    def __init__(self, divisor, dtype="float32"):
        super().__init__(dtype=dtype)
        self.divisor = divisor

    def call(self, x):
        divisor = keras.ops.cast(self.divisor, x.dtype)
        return keras.ops.concatenate([keras.ops.floor_divide(x, divisor), keras.ops.mod(x, divisor)], axis=-1)


def run(divided, values, opset=13):
    """Return what onnxruntime and ONNX' reference compute with a layer."""
    given = keras.Input(values.shape[1:], dtype=str(values.dtype))
    model = keras.Model(given, divided(given))
    proto = ir.to_proto(convert.convert(source.find(model), opset=opset))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    evaluator = onnx.reference.ReferenceEvaluator(proto)
    return [each.run(None, {"input": values})[0] for each in (session, evaluator)]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_divided_as_python_divides_them(dtype):
    bounds = np.iinfo(dtype)
    values = [number for number in (-100, -8, -7, -3, -1, 0, 1, 3, 7, 8, 100) if number >= bounds.min]
    values += [int(bounds.min), int(bounds.max)] if dtype != "int64" else []
    for divisor in (3, -3) if bounds.min < 0 else (3,):
        expected = [value // divisor for value in values] + [value % divisor for value in values]
        for result in run(Divided(divisor), np.array([values], dtype)):
            assert result.dtype == dtype and result[0].tolist() == expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_are_divided_as_numpy_divides_them(dtype):
    values = np.array([[-100.7, -7.5, -7, -0.3, 0, 0.3, 1, 7, 7.5, 1e6]], dtype)
    for divisor in (3, -2.5):
        expected = np.concatenate([np.floor_divide(values, divisor), np.mod(values, divisor)], axis=-1)
        for result in run(Divided(divisor, dtype), values):
            np.testing.assert_allclose(result, expected.astype(dtype), rtol=1e-6)


@pytest.mark.parametrize(("dtype", "opset"), [("int32", 9), ("int32", 13), ("float32", 10), ("float32", 13)])
def test_the_divisor_may_have_both_signs(dtype, opset):
    class ByOther(keras.layers.Layer):
        def call(self, x):
            x, y = x[:, 0], x[:, 1]
            if dtype == "int32":  # a division by zero is an error
                y = keras.ops.where(y == 0, 1, y)
            return keras.ops.concatenate([x // y, x % y], axis=-1)

    values = np.array([[[7, -7, 7, -7, 6, -6], [2, 2, -2, -2, 3, -3]]], dtype)
    for result in run(ByOther(dtype=dtype), values, opset):
        assert result[0].tolist() == [3, -4, -4, 3, 2, 2, 1, 1, -1, -1, 0, 0]


def test_a_remainder_of_floats_needs_opset_10_and_names_it():
    with pytest.raises(ZooError, match=r"layer divided\S* of \S+ cannot be exported: ONNX has no .*give --opset 10"):
        run(Divided(3), np.ones((1, 2), "float32"), opset=9)
