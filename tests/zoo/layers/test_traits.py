"""Every layer of the zoo declares its traits, and they are true of it."""

import inspect

import keras
import numpy as np
import pytest

import zoo
from zoo import layers
from zoo.layers import traits
from zoo.layers.traits import Traits

LAYERS = {name: each for name, each in vars(layers).items() if inspect.isclass(each)}
POINTWISE = {
    "LocalResponseNormalization": layers.LocalResponseNormalization(3),
    "ScaledTanh": layers.ScaledTanh(),
    "Signum": layers.Signum(),
    "Step": layers.Step(),
}
WINDOWS = {
    "LocallyConnected2D": layers.LocallyConnected2D(2, 5),
    "MaskedConv2D": layers.MaskedConv2D([[0], [0, 1]], 3),
    "TrainableSubsampling": layers.TrainableSubsampling(2),
    "WithinMapNormalization": layers.WithinMapNormalization(3),
}


def named(trait):
    """Return the names of the zoo's layer classes that declare a trait."""
    return {name for name, kind in LAYERS.items() if getattr(kind.traits, trait)}


@pytest.mark.parametrize("name", LAYERS)
def test_each_layer_declares_its_traits(name):
    """Itself, or in a base class of the zoo: a new layer must decide."""
    declaring = [kind for kind in LAYERS[name].__mro__ if isinstance(vars(kind).get("traits"), Traits)]
    assert declaring and declaring[0].__module__.startswith("zoo.layers.")


def test_traits_of_the_layers():
    assert named("pointwise") == set(POINTWISE)
    assert named("fast_under_xla") == {"RBFOutput", "ScaledTanh"}
    whitening = {"PCAWhitening", "ZCAWhitening", "ZeroCenter"}
    assert named("keep_float32") == whitening | {
        *("AssociationUnits", "Deskew", "NearestNeighbors", "RBFOutput", "Signum", "Step")
    }


def test_keras_layers():
    assert traits.of(keras.layers.Dense(2)) == Traits(fast_under_xla=True)
    assert traits.of(keras.layers.ReLU()) == traits.of(keras.layers.SpatialDropout2D(0.5)) == Traits(pointwise=True)
    assert traits.of(keras.layers.Conv2D(2, 3)) == traits.of(layers.GroupedConv2D(2, 3)) == Traits()


def test_a_subclass_inherits_traits_but_not_what_was_measured():
    class Mine(layers.ScaledTanh):
        pass

    class Dense(keras.layers.Dense):
        traits = "an attribute of a user's own"

    assert traits.of(Mine()) == Traits(pointwise=True)
    assert traits.of(Dense(2)) == Traits()


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise_layers_see_no_other_position(name):
    assert changed(POINTWISE[name], (4, 4)) == {(4, 4)}


@pytest.mark.parametrize("name", WINDOWS)
def test_receptive_windows(name):
    """Of the outputs those change whose window holds the changed input."""
    layer, (row, column) = WINDOWS[name], (4, 5)
    places = changed(layer, (row, column))
    size, stride, before = layer.receptive_window()

    def seen(output, place):
        return 0 <= place - (output * stride - before) < size

    _, height, width, _ = layer.compute_output_shape((1, 10, 10, 2))
    assert places == {(i, j) for i in range(height) for j in range(width) if seen(i, row) and seen(j, column)}


def changed(layer, place):
    """Return the output positions that change when the input does at one place of a 10x10 map."""
    keras.utils.set_random_seed(1)
    x = np.random.default_rng(1).uniform(-2, -1, (1, 10, 10, 2)).astype("float32")
    first = keras.ops.convert_to_numpy(layer(x))
    x[:, place[0], place[1]] = 3
    second = keras.ops.convert_to_numpy(layer(x))
    return set(map(tuple, np.argwhere((first != second).any(axis=(0, 3))).tolist()))


def test_the_nets_that_xla_trains_faster():
    """Those of dense layers; a convolution's gradient is slow there."""

    def fast(name):
        return all(traits.of(layer).fast_under_xla for layer in zoo.build(name).layers)

    assert fast("mlp") and fast("linear")
    assert not fast("lenet5") and not fast("mark1")
