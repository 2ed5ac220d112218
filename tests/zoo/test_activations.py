"""leaky_relu has the slope of the lecture, also in a saved layer."""

import json

import keras
import numpy as np

from numeric import run
from zoo import activations


def test_leaky_relu():
    x = np.float32([-20, -1, 0, 0.5, 3])
    np.testing.assert_allclose(run(activations.leaky_relu, x), np.maximum(0.1 * x, x), rtol=1e-6)


def test_leaky_relu_in_a_saved_layer():
    layer = keras.layers.Dense(2, activation=activations.leaky_relu)
    copy = keras.layers.deserialize(json.loads(json.dumps(keras.layers.serialize(layer))))
    assert copy.activation is activations.leaky_relu
