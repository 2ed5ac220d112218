"""Initializers, and the contexts that replace them while weights are loaded."""

import json
import threading

import h5py
import keras
import numpy as np
import pytest

import zoo
from numeric import assert_uniform, draw
from zoo import initializers
from zoo.initializers import FanInUniform


def dense():
    layer = keras.layers.Dense(3, kernel_initializer="ones", bias_initializer="ones", name="d")
    layer.build((None, 2))
    return layer.get_weights()


def test_starting_from_zero():
    with initializers.starting_from_zero():
        assert not any(value.any() for value in dense())
    assert all((value == 1).all() for value in dense())


def test_starting_from_a_file(tmp_path):
    kernel, bias = np.arange(6, dtype="float32").reshape(2, 3), np.array([7, 8, 9], "float32")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["d/kernel"], file["d/bias"] = kernel, bias
    with initializers.starting_from(tmp_path / "w.h5"):
        found = dense()
    np.testing.assert_array_equal(found[0], kernel)
    np.testing.assert_array_equal(found[1], bias)


def test_after_an_error_layers_are_initialized_as_usual():
    with pytest.raises(ZeroDivisionError), initializers.starting_from_zero():
        _ = 1 / 0
    assert all((value == 1).all() for value in dense())


def test_other_threads_are_not_affected():
    """Layers built there meanwhile are random, also if two loads end in the order in which they began."""
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


def test_fan_in_uniform(rng):
    assert_uniform(draw(FanInUniform(400), (2000,)), 2.4 / 400)
    assert_uniform(draw(FanInUniform(3, gain=1.0), (40, 50)), 1 / 3)


def test_fan_in_uniform_by_entry(rng):
    values = draw(FanInUniform([1, 10, 100]), (2000, 3))
    for column, fan_in in enumerate([1, 10, 100]):
        assert_uniform(values[:, column], 2.4 / fan_in)


def test_fan_in_uniform_seeds(rng):
    seeded, free = FanInUniform(4, seed=1), FanInUniform(4)
    assert (draw(seeded, (9,)) == draw(seeded, (9,))).all()
    assert (draw(seeded, (9,)) != draw(FanInUniform(4, seed=2), (9,))).any()
    assert (draw(free, (9,)) != draw(free, (9,))).any()


def test_fan_in_uniform_config():
    start = FanInUniform([3, 4], gain=2.0, seed=7)
    copy = keras.initializers.deserialize(json.loads(json.dumps(keras.initializers.serialize(start))))
    assert copy.get_config() == {"fan_in": [3, 4], "gain": 2.0, "seed": 7}
    assert (draw(copy, (5, 2)) == draw(start, (5, 2))).all()
