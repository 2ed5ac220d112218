"""The counts of parameters, connections and multiply-accumulates, against formulas and published numbers."""

import itertools
import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from zoo import ZooError
from zoo.analysis import arithmetic


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


def test_dense_at_every_position_of_a_map():
    row = count(layers.Dense(7, use_bias=False), (3, 4, 5))
    assert (row.parameters, row.connections, row.macs) == (35, 3 * 4 * 7 * 5, 3 * 4 * 7 * 5)


@pytest.mark.parametrize("pool", [layers.MaxPooling2D, layers.AveragePooling2D])
def test_pooling(pool):
    """Overlapping windows of 3x3 with stride 2, AlexNet's: 55 -> 27."""
    row = count(pool(3, strides=2), (55, 55, 96))
    assert row.shape == (27, 27, 96)
    assert (row.parameters, row.connections, row.macs) == (0, 27 * 27 * 96 * 9, 0)


@pytest.mark.parametrize("layer", [layers.Flatten(), layers.ReLU(), layers.Dropout(0.5)], ids=lambda layer: layer.name)
def test_layers_without_connections(layer):
    row = count(layer, (4, 4, 3))
    assert (row.parameters, row.connections, row.macs) == (0, 0, 0)


def test_unknown_layer_with_weights():
    """An error is better than a wrong count."""
    model = keras.Sequential([keras.Input((4, 3)), layers.SimpleRNN(2, name="odd")])
    with pytest.raises(ZooError, match=r"odd \(SimpleRNN\)"):
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
    """A nested net is replaced by its layers; frozen weights count as parameters, not as trainable ones."""
    inside = keras.Sequential([keras.Input((6,)), layers.Dense(5, name="inside")])
    inside.trainable = False
    model = keras.Sequential([keras.Input((6,)), inside, layers.Dense(2, name="outside")])
    rows = arithmetic.table(model)
    assert [(row.name, row.parameters, row.trainable) for row in rows] == [("inside", 35, 0), ("outside", 12, 12)]
    assert arithmetic.totals(rows) == {"parameters": 47, "trainable_parameters": 12, "connections": 47, "macs": 40}


ALEXNET = {
    "conv1": (layers.Conv2D(96, 11, strides=4), (227, 227, 3), (55, 55, 96), 34_944, 105_415_200),
    "pool1": (layers.MaxPooling2D(3, 2), (55, 55, 96), (27, 27, 96), 0, 0),
    "conv2": (layers.Conv2D(256, 5, padding="same", groups=2), (27, 27, 96), (27, 27, 256), 307_456, 223_948_800),
    "pool2": (layers.MaxPooling2D(3, 2), (27, 27, 256), (13, 13, 256), 0, 0),
    "conv3": (layers.Conv2D(384, 3, padding="same"), (13, 13, 256), (13, 13, 384), 885_120, 149_520_384),
    "conv4": (layers.Conv2D(384, 3, padding="same", groups=2), (13, 13, 384), (13, 13, 384), 663_936, 112_140_288),
    "conv5": (layers.Conv2D(256, 3, padding="same", groups=2), (13, 13, 384), (13, 13, 256), 442_624, 74_760_192),
    "pool5": (layers.MaxPooling2D(3, 2), (13, 13, 256), (6, 6, 256), 0, 0),
    "fc6": (layers.Dense(4096, kernel_initializer="zeros"), (9216,), (4096,), 37_752_832, 37_748_736),
    "fc7": (layers.Dense(4096, kernel_initializer="zeros"), (4096,), (4096,), 16_781_312, 16_777_216),
    "fc8": (layers.Dense(1000, kernel_initializer="zeros"), (4096,), (1000,), 4_097_000, 4_096_000),
}


def test_alexnet():
    """Layer by layer, 60,965,224 parameters and 724,406,816 multiply-accumulates."""
    rows = []
    for layer, shape, output, parameters, macs in ALEXNET.values():
        row = count(layer, shape)
        assert (row.shape, row.parameters, row.macs) == (output, parameters, macs)
        rows.append(row)
    totals = arithmetic.totals(rows)
    assert (totals["parameters"], totals["macs"]) == (60_965_224, 724_406_816)


# Counted one by one, with a window at every position.


def places(size, window, stride):
    return [start for start in range(0, size, stride) if start + window <= size]


def test_depthwise_convolution():
    """Each of three maps gives two, and each unit sees the window in one map."""
    row = count(layers.DepthwiseConv2D((3, 2), depth_multiplier=2), (7, 5, 3))
    macs = len(places(7, 3, 1)) * len(places(5, 2, 1)) * (3 * 2) * (3 * 2)
    assert (row.parameters, row.macs, row.connections) == (3 * 2 * 6 + 6, macs, macs + 5 * 4 * 6)


def test_separable_convolution():
    row = count(layers.SeparableConv2D(4, 3, depth_multiplier=2, use_bias=False), (7, 6, 3))
    assert (row.shape, row.parameters) == ((5, 4, 4), 9 * 6 + 6 * 4)
    assert row.macs == row.connections == 5 * 4 * (9 * 6 + 6 * 4)


def test_separable_convolution_is_its_two_halves():
    both = count(layers.SeparableConv1D(4, 3), (9, 5))
    depth = count(layers.DepthwiseConv1D(3, use_bias=False), (9, 5))
    point = count(layers.Conv1D(4, 1), depth.shape)
    assert both.parameters == depth.parameters + point.parameters
    assert (both.connections, both.macs) == (depth.connections + point.connections, depth.macs + point.macs)


def test_transposed_convolution():
    """Its connections are those of the convolution that it transposes."""
    there = count(layers.Conv2D(5, 3, strides=2, use_bias=False), (9, 7, 4))
    back = count(layers.Conv2DTranspose(4, 3, strides=2, use_bias=False), there.shape)
    assert back.shape == (9, 7, 4)
    assert (back.parameters, back.connections, back.macs) == (there.parameters, there.connections, there.macs)


def test_convolutions_along_one_and_three_axes():
    one = count(layers.Conv1D(4, 3, strides=2), (9, 5))
    assert (one.parameters, one.macs, one.connections) == (64, 4 * 4 * 15, 4 * 4 * 16)
    three = count(layers.Conv3D(2, (1, 2, 3)), (4, 4, 4, 3))
    assert (three.parameters, three.macs, three.connections) == (38, 4 * 3 * 2 * 2 * 18, 4 * 3 * 2 * 2 * 19)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("kind", ["Max", "Average"])
def test_pooling_along_any_axes(kind, axes):
    """Each output has the inputs of a window; global pooling has every input once."""
    shape = (6,) * axes + (2,)
    row = count(getattr(layers, f"{kind}Pooling{axes}D")(3, strides=1), shape)
    assert (row.parameters, row.connections, row.macs) == (0, 4**axes * 2 * 3**axes, 0)
    row = count(getattr(layers, f"Global{kind}Pooling{axes}D")(), shape)
    assert (row.shape, row.parameters, row.connections, row.macs) == ((2,), 0, 6**axes * 2, 0)


def test_batch_normalization():
    """Half of the parameters are trainable, and there are no connections."""
    row = count(layers.BatchNormalization(), (4, 4, 3))
    assert (row.parameters, row.trainable, row.connections, row.macs) == (12, 6, 0, 0)


# Output sizes.


@pytest.mark.parametrize(
    "size, window, stride, padding, expected",
    [
        (7, 3, 1, 0, 5),  # the lecture's
        (7, 3, 2, 0, 3),
        (7, 3, 1, 1, 7),
        (32, 5, 1, 0, 28),
        (28, 5, 1, 0, 24),
        (32, 5, 1, 2, 32),
        (227, 11, 4, 0, 55),
        (55, 3, 2, 0, 27),
        (5, 5, 3, 0, 1),
    ],
)
def test_output_size(size, window, stride, padding, expected):
    assert arithmetic.output_size(size, window, stride, padding) == expected


@pytest.mark.parametrize(
    "arguments, near",
    [
        ((7, 3, 3), "6 and 9"),
        ((4, 3, 3), "3 and 6"),
        ((224, 11, 4), "223 and 227"),
        ((2, 3), "sizes that fit: 3$"),
        ((2, 7, 2), "sizes that fit: 7$"),
        ((1, 7, 2, 2), "sizes that fit: 3$"),
    ],
)
def test_output_size_that_does_not_fit(arguments, near):
    """7, 3 and 3 of the lecture would give 2.33; the error names sizes that fit."""
    with pytest.raises(ZooError, match=near):
        arithmetic.output_size(*arguments)


@pytest.mark.parametrize("arguments", [(0, 1), (3, 0), (3, 1, 0), (3, 1, 1, -1)])
def test_output_size_of_invalid_arguments(arguments):
    with pytest.raises(ZooError, match="1 or more"):
        arithmetic.output_size(*arguments)


SIZES = st.tuples(st.integers(1, 30), st.integers(1, 9), st.integers(1, 5), st.integers(0, 4))


@settings(max_examples=200)
@given(SIZES)
def test_output_size_against_window_positions(sizes):
    """Windows are placed one by one. If pixels are left over, there is an error that names sizes that fit."""
    size, window, stride, padding = sizes
    found = places(size + 2 * padding, window, stride)
    if found and found[-1] + window == size + 2 * padding:
        assert arithmetic.output_size(*sizes) == len(found)
        return
    with pytest.raises(ZooError) as error:
        arithmetic.output_size(*sizes)
    near = [int(word) for word in str(error.value).partition("sizes that fit: ")[2].split(" and ")]
    for other in near:
        arithmetic.output_size(other, window, stride, padding)
    # No other size that fits is nearer.
    fitting = [n for n in range(1, 60) if (n + 2 * padding - window) % stride == 0 and n + 2 * padding >= window]
    assert min(abs(n - size) for n in fitting) == min(abs(n - size) for n in near)


@settings(max_examples=50)
@given(SIZES)
def test_output_size_against_keras(sizes):
    """Keras drops the pixels that do not fit."""
    size, window, stride, padding = sizes
    padded = size + 2 * padding
    if padded < window:
        return
    with_places = padded - (padded - window) % stride - 2 * padding
    if with_places < 1:
        return
    shape = (None, padded, padded, 1)
    expected = arithmetic.output_size(with_places, window, stride, padding)
    for layer in (layers.Conv2D(1, window, strides=stride), layers.MaxPooling2D(window, strides=stride)):
        assert layer.compute_output_shape(shape)[1:3] == (expected, expected)


@pytest.mark.parametrize("window, padding", [(1, 0), (3, 1), (5, 2), (7, 3)])
def test_same_padding(window, padding):
    """The lecture: (F - 1)/2."""
    assert arithmetic.same_padding(window) == padding
    assert arithmetic.output_size(17, window, padding=padding) == 17


def test_same_padding_of_an_even_window():
    with pytest.raises(ZooError, match="window of 4 needs different padding on both sides; choose an odd window, such as 5"):
        arithmetic.same_padding(4)


@pytest.mark.parametrize("size, maps", [(5, 6), (5, 10)])
def test_convolution_of_the_lecture(size, maps):
    """32x32x3 -> 28x28x6, and the counts as every unit's inputs, one by one."""
    row = count(layers.Conv2D(maps, size), (32, 32, 3))
    assert row.shape == (28, 28, maps)
    inputs = sum(1 for _ in itertools.product(places(32, size, 1), places(32, size, 1), range(maps))) * size * size * 3
    assert row.macs == inputs
    assert row.connections == inputs + np.prod(row.shape)
    assert row.parameters == maps * (math.prod((size, size, 3)) + 1)


def test_totals_of_nothing():
    assert set(arithmetic.totals([]).values()) == {0}
