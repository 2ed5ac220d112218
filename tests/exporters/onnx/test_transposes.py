"""Keras nets in which tf2onnx gives a Transpose the wrong shape."""

import keras
import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from tf2onnx import optimizer
from tf2onnx.optimizer.transpose_optimizer import TransposeOptimizer

from exporters import source
from exporters.onnx import convert


@pytest.mark.parametrize(("reduce", "axis"), [(keras.ops.mean, 2), (keras.ops.max, 1), (keras.ops.mean, 3)])
def test_a_dense_layer_behind_a_reduction_of_one_axis(reduce, axis):
    keras.utils.set_random_seed(1)
    image = keras.Input((8, 9, 3))
    model = keras.Model(image, keras.layers.Dense(6, activation="gelu")(reduce(image, axis=axis)))
    proto = ir.to_proto(convert.convert(source.find(model)))
    some = np.random.default_rng(5).normal(size=(2, 8, 9, 3)).astype("float32")
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"input": np.moveaxis(some, -1, 1)})
    np.testing.assert_allclose(result, keras.ops.convert_to_numpy(model(some)), rtol=1e-4, atol=1e-5)
    assert optimizer._get_optimizers()["optimize_transpose"] is TransposeOptimizer
