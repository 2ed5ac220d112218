"""Keras nets of which tf2onnx alone writes a wrong graph."""

import keras
import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from keras import layers
from tf2onnx import optimizer, tfonnx

from exporters import source
from exporters.onnx import convert

NETS = {
    "mean_of_columns": lambda x: layers.Dense(6, activation="gelu")(keras.ops.mean(x, axis=2)),
    "max_of_rows": lambda x: layers.Dense(6)(keras.ops.max(x, axis=1)),
    "mean_of_channels": lambda x: layers.Dense(6)(keras.ops.mean(x, axis=3)),
    "celu": lambda x: layers.Activation("celu")(layers.Conv2D(3, 2)(x)),
    "transposed_behind_dense": lambda x: layers.Conv2DTranspose(3, 2, padding="same")(layers.Dense(4)(x)),
    "transposed_with_gaps": lambda x: layers.Conv2DTranspose(3, (1, 2), strides=(3, 2))(x),
    "padded_before_dilated": lambda x: layers.Conv2D(3, 3, padding="same", dilation_rate=2)(layers.ZeroPadding2D(1)(x)),
}


@pytest.mark.parametrize("name", NETS)
def test_the_graph_computes_what_keras_computes(name):
    own = dict(optimizer._optimizers), tfonnx.infer_shape, tfonnx.rewrite_conv2d_with_pad
    image = keras.Input((8, 9, 3))
    model = keras.Model(image, NETS[name](image))
    generator = np.random.default_rng(5)
    for weight in model.weights:
        weight.assign(generator.normal(0, 0.4, weight.shape))
    proto = ir.to_proto(convert.convert(source.find(model)))
    some = generator.normal(size=(2, 8, 9, 3)).astype("float32")
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"input": np.moveaxis(some, -1, 1)})
    np.testing.assert_allclose(result, keras.ops.convert_to_numpy(model(some)), rtol=1e-4, atol=1e-5)
    assert (dict(optimizer._optimizers), tfonnx.infer_shape, tfonnx.rewrite_conv2d_with_pad) == own
