"""The tests run on the Keras backend that KERAS_BACKEND asks for."""

import os

import keras


def test_arrays_are_of_the_backend_in_use():
    asked = os.environ.get("KERAS_BACKEND") or "tensorflow"
    assert {"tensorflow": "tensorflow", "jax": "jaxlib"}[asked] == type(keras.ops.ones(1)).__module__.split(".")[0]
