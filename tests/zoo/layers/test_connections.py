"""Connections of layers in a model."""

import keras

from zoo.analysis import arithmetic
from zoo.layers import MaxNormConv2D, MaxNormDense, Maxout, StochasticDepth


def test_connections():
    """Maxout counts as a dense layer of all pieces; max-norm layers count as those of Keras."""
    shape = (5, 4, 2)
    x = image = keras.Input(shape)
    x = MaxNormConv2D(3, 2)(x)
    x = keras.layers.Flatten()(x)
    x = Maxout(6, 3)(x)
    x = StochasticDepth(0.5)([x, MaxNormDense(6, use_bias=False)(x)])
    rows = {row.kind: row for row in arithmetic.table(keras.Model(image, x))}
    assert (rows["MaxNormConv2D"].connections, rows["MaxNormConv2D"].macs) == (4 * 3 * 3 * 9, 4 * 3 * 3 * 8)
    assert rows["Maxout"].parameters == rows["Maxout"].connections == 37 * 18
    assert rows["Maxout"].macs == 36 * 18
    assert rows["MaxNormDense"].connections == rows["MaxNormDense"].macs == 36
    assert rows["StochasticDepth"].connections == 0
