"""Layers come back from their config and from files as they were."""

import json

import keras
import numpy as np
import pytest

from numeric import randomize, run
from zoo.constraints import MaxNorm
from zoo.layers import (
    GroupedConv2D,
    HingeLoss,
    LocallyConnected2D,
    LocalResponseNormalization,
    MaskedConv2D,
    MaxNormConv2D,
    MaxNormDense,
    Maxout,
    RBFOutput,
    ScaledTanh,
    StochasticDepth,
    TrainableSubsampling,
    WithinMapNormalization,
)
from zoo.preprocessing import Preprocessing

LAYERS = {
    "scaled tanh": (lambda: ScaledTanh(1.5, 0.5), (4, 4, 3)),
    "sub-sampling": (lambda: TrainableSubsampling(2), (4, 6, 3)),
    "masked convolution": (lambda: MaskedConv2D([[0, 2], [1], [2, 0, 1], [3, 1]], 3), (5, 6, 4)),
    "rbf": (lambda: RBFOutput(np.random.default_rng(5).choice([-1.0, 1.0], size=(3, 7))), (7,)),
    "preprocessing": (lambda: Preprocessing(0.005, -0.1, 2), (4, 5, 1)),
    "max-norm dense": (lambda: MaxNormDense(3, max_norm=1.5, activation="relu"), (4,)),
    "max-norm convolution": (lambda: MaxNormConv2D(3, (2, 1), max_norm=0.5, strides=2), (5, 4, 2)),
    "maxout": (lambda: Maxout(3, 4, kernel_constraint=MaxNorm(2.0)), (5,)),
    "maxout on maps": (lambda: Maxout(2, 3), (3, 4, 2)),
    "normalization across maps": (lambda: LocalResponseNormalization(3, 0.1, 0.5, 1.5, 2), (5, 5, 4)),
    "normalization within maps": (lambda: WithinMapNormalization(3, 0.1, 0.5, 2.0), (5, 5, 4)),
    "grouped convolution": (lambda: GroupedConv2D(4, 3, groups=2, padding="same", activation="tanh"), (5, 5, 4)),
    "locally connected": (lambda: LocallyConnected2D(3, 3, "tanh", "he_normal"), (5, 5, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_saved_and_loaded(rng, name, tmp_path):
    make, shape = LAYERS[name]
    layer = make()
    model = keras.Sequential([keras.Input(shape), layer])
    randomize(model, rng)
    x = rng.normal(size=(2, *shape)).astype("float32")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[0]) is type(layer)
    np.testing.assert_array_equal(run(loaded, x), run(model, x))
    assert loaded.layers[0].get_config() == layer.get_config()
    assert loaded.layers[0].compute_output_shape((2, *shape)) == run(model, x).shape


@pytest.mark.parametrize("name", LAYERS)
def test_config(name):
    """A layer made from a config, after JSON too, has the same config and the right shape before it runs."""
    make, shape = LAYERS[name]
    layer = make()
    config = layer.get_config()
    copy = type(layer).from_config(json.loads(json.dumps(config)))
    assert copy.get_config() == config
    x = np.zeros((2, *shape), "float32")
    assert copy.compute_output_shape(x.shape) == run(layer, x).shape
    constraints = [getattr(each, "kernel_constraint", None) for each in (layer, copy)]
    assert constraints[0] is constraints[1] is None or constraints[0].get_config() == constraints[1].get_config()


@pytest.mark.parametrize("layer", [HingeLoss(0.5, True), StochasticDepth(0.3, seed=4)], ids=lambda each: each.name)
def test_config_of_layers_with_two_inputs(layer):
    copy = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
    assert copy.get_config() == layer.get_config()
    assert copy.compute_output_shape([(None, 3), (None,)]) == (None, 3)
