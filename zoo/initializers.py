"""Starting weights that Keras lacks, and what takes the place of any for weights that are to be loaded."""

import contextlib
import contextvars
import functools

import h5py
import keras
import numpy as np


@keras.saving.register_keras_serializable("zoo")
class FanInUniform(keras.initializers.Initializer):
    """Draw from U(±gain/F), F the fan-in: the start of the nets of the 1990s.

    Keras' own fan-in starts divide by the square root of F; this one divides by F, as the paper says.

    Args:
        fan_in: F, a number of inputs, or a list of them, one for each entry of the weight's last axis.
        gain: numerator of the bound.
        seed: an int, or None for a new draw at every call.

    References:
        LeCun et al. (1998): uniform within ±2.4/F_i, F_i the number of inputs of the unit.
    """

    def __init__(self, fan_in, gain=2.4, seed=None):
        self.fan_in = fan_in
        self.gain = gain
        self.seed = seed

    def __call__(self, shape, dtype=None):
        dtype = dtype or keras.config.floatx()
        limit = self.gain / np.asarray(self.fan_in, "float32")
        unit = keras.random.uniform(shape, -1.0, 1.0, dtype=dtype, seed=self.seed)
        return unit * keras.ops.cast(limit, dtype)

    def get_config(self):
        return {"fan_in": self.fan_in, "gain": self.gain, "seed": self.seed}


@contextlib.contextmanager
def starting_from_zero():
    """Within it all weights of new layers start from zero: those that are about to be loaded need no random start.

    For AlexNet that takes a second, and half a gigabyte which TensorFlow does not give back.
    """
    with _starting(lambda layer, name: "zeros"):
        yield


@contextlib.contextmanager
def starting_from(path):
    """Within it all weights of new layers start as a file has them, so that no others are held beside them.

    Args:
        path: an HDF5 file with each weight under the names of layer and weight, such as conv1/kernel.
    """
    with h5py.File(path) as file, _starting(lambda layer, name: lambda shape, dtype=None: file[f"{layer.name}/{name}"][()]):
        yield


@contextlib.contextmanager
def _starting(start):
    """Within it the function `start`, of a layer and the name of a weight, gives the initializer of each."""
    token = _START.set(start)
    try:
        yield
    finally:
        _START.reset(token)


# Keras has no hook for this. The one method is replaced once, for good, and asks what holds in its own thread.
_START = contextvars.ContextVar("start", default=None)
_add_weight = keras.layers.Layer.add_weight


@functools.wraps(_add_weight)
def _add_started(layer, shape=None, initializer=None, *args, name=None, **kwargs):
    start = _START.get()
    return _add_weight(layer, shape, start(layer, name) if start else initializer, *args, name=name, **kwargs)


keras.layers.Layer.add_weight = _add_started
