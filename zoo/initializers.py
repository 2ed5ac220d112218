"""Initializers that Keras lacks, and contexts that skip the random initialization of weights that are then loaded."""

import contextlib
import contextvars
import functools
import os
from collections.abc import Iterator, Sequence

import h5py
import keras
import numpy as np

from zoo.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class FanInUniform(keras.initializers.Initializer):
    """Uniform initialization within ±gain/F, where F is the fan-in, as in the networks of the 1990s.

    Keras' fan-in initializers divide by the square root of F; this one divides by F, as in the paper.

    Args:
        fan_in: F, the number of inputs, or a list with one number per entry of the last axis of the weight.
        gain: numerator of the bound.
        seed: random seed. Default: new random values at every call.

    References:
        LeCun et al. (1998): uniform within ±2.4/F_i, F_i the number of inputs of the unit.
    """

    def __init__(self, fan_in: float | Sequence[float], gain: float = 2.4, seed: int | None = None) -> None:
        self.fan_in = fan_in
        self.gain = gain
        self.seed = seed

    def __call__(self, shape: Shape, dtype: str | None = None) -> Tensor:
        dtype = dtype or keras.config.floatx()
        limit = self.gain / np.asarray(self.fan_in, "float32")
        unit = keras.random.uniform(shape, -1.0, 1.0, dtype=dtype, seed=self.seed)
        return unit * keras.ops.cast(limit, dtype)

    def get_config(self) -> Config:
        return {"fan_in": self.fan_in, "gain": self.gain, "seed": self.seed}


@contextlib.contextmanager
def starting_from_zero() -> Iterator[None]:
    """Initialize all weights of new layers with zeros, because they are loaded afterwards.

    The random initialization of AlexNet takes a second, and half a gigabyte that TensorFlow does not release.
    """
    with _starting(lambda layer, name: "zeros"):
        yield


@contextlib.contextmanager
def starting_from(path: str | os.PathLike) -> Iterator[None]:
    """Initialize all weights of new layers with those of a file, so that only one copy of them is in memory.

    Args:
        path: HDF5 file with each weight under the names of its layer and itself, such as conv1/kernel.
    """
    with h5py.File(path) as file, _starting(lambda layer, name: lambda shape, dtype=None: file[f"{layer.name}/{name}"][()]):
        yield


@contextlib.contextmanager
def _starting(start):
    """Initialize each weight with the initializer that `start(layer, name of the weight)` returns."""
    token = _START.set(start)
    try:
        yield
    finally:
        _START.reset(token)


# Keras has no hook for this. Its one method is replaced once; the context variable holds for the current thread only.
_START = contextvars.ContextVar("start", default=None)
_add_weight = keras.layers.Layer.add_weight


@functools.wraps(_add_weight)
def _add_started(layer, shape=None, initializer=None, *args, name=None, **kwargs):
    start = _START.get()
    return _add_weight(layer, shape, start(layer, name) if start else initializer, *args, name=name, **kwargs)


keras.layers.Layer.add_weight = _add_started
