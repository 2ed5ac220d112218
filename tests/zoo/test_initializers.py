"""What takes the place of starting weights while others are loaded, in one thread and in several."""

import threading

import h5py
import keras
import numpy as np
import pytest

import zoo
from zoo import initializers


def dense():
    layer = keras.layers.Dense(3, kernel_initializer="ones", bias_initializer="ones", name="d")
    layer.build((None, 2))
    return layer.get_weights()


def test_zero_in_place_of_any_start():
    with initializers.starting_from_zero():
        assert not any(value.any() for value in dense())
    assert all((value == 1).all() for value in dense())


def test_the_values_of_a_file(tmp_path):
    kernel, bias = np.arange(6, dtype="float32").reshape(2, 3), np.array([7, 8, 9], "float32")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["d/kernel"], file["d/bias"] = kernel, bias
    with initializers.starting_from(tmp_path / "w.h5"):
        found = dense()
    np.testing.assert_array_equal(found[0], kernel)
    np.testing.assert_array_equal(found[1], bias)


def test_after_an_error_layers_start_as_ever():
    with pytest.raises(ZeroDivisionError), initializers.starting_from_zero():
        _ = 1 / 0
    assert all((value == 1).all() for value in dense())


def test_other_threads_are_left_alone():
    """What is built there meanwhile is random, also where two loads end in the order in which they began."""
    inside, done, found = threading.Barrier(3), threading.Barrier(2), []

    def load(wait):
        with initializers.starting_from_zero():
            inside.wait(10)
            found.append(("loading", dense()[0].any()))
            if wait:
                done.wait(10)
        if not wait:
            done.wait(10)

    threads = [threading.Thread(target=load, args=(wait,)) for wait in (False, True)]
    for thread in threads:
        thread.start()
    inside.wait(10)
    found.append(("building", dense()[0].all()))
    for thread in threads:
        thread.join(10)
    assert sorted(found) == [("building", True), ("loading", False), ("loading", False)]
    assert zoo.build("lenet5-modern").get_weights()[0].all()
