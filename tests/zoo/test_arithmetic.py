"""The counts of parameters, connections and multiply-accumulates, against formulas and published numbers."""

import keras
import pytest
from keras import layers

from zoo import ZooError, arithmetic


def count(layer, shape):
    """Return the row of one layer on an input of a shape."""
    (row,) = arithmetic.table(keras.Sequential([keras.Input(shape), layer]))
    return row


def test_convolution():
    """The lecture: ten filters of 5x5 on 32x32x3 with padding 2 have 760 parameters."""
    row = count(layers.Conv2D(10, 5, padding="same", name="conv"), (32, 32, 3))
    macs = 32 * 32 * 10 * (5 * 5 * 3)
    assert row == arithmetic.Row("conv", "Conv2D", (32, 32, 10), 760, 760, macs + 32 * 32 * 10, macs)


def test_convolution_with_stride_without_bias():
    row = count(layers.Conv2D(4, (3, 2), strides=2, use_bias=False), (9, 8, 5))
    macs = (4 * 4 * 4) * (3 * 2 * 5)
    assert row.shape == (4, 4, 4)
    assert (row.parameters, row.connections, row.macs) == (4 * 3 * 2 * 5, macs, macs)


def test_grouped_convolution():
    """AlexNet's second layer on two GPUs: 307,456 parameters, 223,948,800 multiply-accumulates."""
    row = count(layers.Conv2D(256, 5, padding="same", groups=2), (27, 27, 96))
    assert (row.parameters, row.macs) == (307_456, 223_948_800)
    assert row.connections == 223_948_800 + 27 * 27 * 256


def test_dense():
    """AlexNet's last layer: 4,097,000 parameters, 4,096,000 multiply-accumulates."""
    row = count(layers.Dense(1000), (4096,))
    assert (row.parameters, row.connections, row.macs) == (4_097_000, 4_097_000, 4_096_000)


def test_dense_on_every_place_of_a_map():
    row = count(layers.Dense(7, use_bias=False), (3, 4, 5))
    assert (row.parameters, row.connections, row.macs) == (35, 3 * 4 * 7 * 5, 3 * 4 * 7 * 5)


@pytest.mark.parametrize("pool", [layers.MaxPooling2D, layers.AveragePooling2D])
def test_pooling(pool):
    """Overlapping windows of 3x3 with stride 2, AlexNet's: 55 -> 27."""
    row = count(pool(3, strides=2), (55, 55, 96))
    assert row.shape == (27, 27, 96)
    assert (row.parameters, row.connections, row.macs) == (0, 27 * 27 * 96 * 9, 0)


@pytest.mark.parametrize("layer", [layers.Flatten(), layers.ReLU(), layers.Dropout(0.5)], ids=lambda layer: layer.name)
def test_layers_that_connect_nothing(layer):
    row = count(layer, (4, 4, 3))
    assert (row.parameters, row.connections, row.macs) == (0, 0, 0)


def test_unknown_layer_with_weights():
    """No count is better than a wrong one."""
    model = keras.Sequential([keras.Input((4, 4, 3)), layers.DepthwiseConv2D(3, name="odd")])
    with pytest.raises(ZooError, match=r"odd \(DepthwiseConv2D\)"):
        arithmetic.table(model)


def test_layer_that_counts_itself():
    class Pairs(layers.Layer):
        def build(self, input_shape):
            self.kernel = self.add_weight((input_shape[-1] // 2,))

        def call(self, x):
            return x[:, ::2] * self.kernel + x[:, 1::2]

        def connections(self):
            return 2 * self.output.shape[-1], self.output.shape[-1]

    row = count(Pairs(), (8,))
    assert (row.parameters, row.connections, row.macs) == (4, 8, 4)


def test_nets_inside_nets_and_frozen_layers():
    """The layers of a net inside stand in its place; what is frozen counts as a parameter and not as a trainable one."""
    inside = keras.Sequential([keras.Input((6,)), layers.Dense(5, name="inside")])
    inside.trainable = False
    model = keras.Sequential([keras.Input((6,)), inside, layers.Dense(2, name="outside")])
    rows = arithmetic.table(model)
    assert [(row.name, row.parameters, row.trainable) for row in rows] == [("inside", 35, 0), ("outside", 12, 12)]
    assert arithmetic.totals(rows) == {"parameters": 47, "trainable_parameters": 12, "connections": 47, "macs": 40}


def test_totals_of_nothing():
    assert set(arithmetic.totals([]).values()) == {0}
