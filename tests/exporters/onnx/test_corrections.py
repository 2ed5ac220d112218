"""Keras nets of which tf2onnx alone writes a wrong graph."""

import keras
import pytest
from keras import layers
from tf2onnx import optimizer, tfonnx
from tf2onnx.optimizer import einsum_optimizer

NETS = {
    "mean_of_columns": lambda x: layers.Dense(6, activation="gelu")(keras.ops.mean(x, axis=2)),
    "max_of_rows": lambda x: layers.Dense(6)(keras.ops.max(x, axis=1)),
    "mean_of_channels": lambda x: layers.Dense(6)(keras.ops.mean(x, axis=3)),
    "celu": lambda x: layers.Activation("celu")(layers.Conv2D(3, 2)(x)),
    "transposed_behind_dense": lambda x: layers.Conv2DTranspose(3, 2, padding="same")(layers.Dense(4)(x)),
    "transposed_with_gaps": lambda x: layers.Conv2DTranspose(3, (1, 2), strides=(3, 2))(x),
    "resized_behind_roll": lambda x: layers.UpSampling2D()(keras.ops.roll(x, 1, axis=1)),
    "transposed_rows": lambda x: layers.Conv1DTranspose(4, 3, strides=2)(layers.Reshape((72, 3))(x)),
    "padded_before_dilated": lambda x: layers.Conv2D(3, 3, padding="same", dilation_rate=2)(layers.ZeroPadding2D(1)(x)),
}
OPSETS = {"resized_behind_roll": 10, "transposed_rows": 9}  # others: 13


@pytest.mark.parametrize("name", NETS)
def test_the_graph_computes_what_keras_computes(name, compare):
    own = dict(optimizer._optimizers), tfonnx.infer_shape, tfonnx.rewrite_conv2d_with_pad
    compare((8, 9, 3), NETS[name], opset=OPSETS.get(name, 13))
    assert (dict(optimizer._optimizers), tfonnx.infer_shape, tfonnx.rewrite_conv2d_with_pad) == own


def test_few_orders_of_the_letters_of_an_einsum_are_tried_and_none_is_left(compare, monkeypatch):
    """Attention over two axes has products of seven letters, which have 5,040 orders."""
    tried, own = [], einsum_optimizer.decompose_einsum_equation
    monkeypatch.setattr(
        einsum_optimizer, "decompose_einsum_equation", lambda equation: tried.append(equation) or own(equation)
    )
    monkeypatch.setattr(einsum_optimizer.CachedEinsum, "einsum_cache", {})
    operators = compare((3, 2, 4), lambda x: layers.MultiHeadAttention(2, 3, attention_axes=(1, 2))(x, x))
    assert "Einsum" not in operators and 100 < len(tried) < 700
