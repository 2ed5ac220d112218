"""The named inputs and outputs of Keras models."""

import keras
import numpy as np
import pytest
from keras import layers

from exporters import free_sizes, signature
from zoo.errors import ZooError


class Pair(keras.Model):
    """A subclass that takes and returns a dict."""

    def call(self, inputs):
        return {"sum": inputs["left"] + inputs["right"], "all": [inputs["left"], inputs["right"]]}


def resolved(model):
    return free_sizes.resolve(model, signature.inputs_of(model))


def names(model):
    found, _ = resolved(model)
    return [each.name for each in found.inputs], [each.name for each in found.outputs]


def test_names_are_those_of_input_layers_keys_and_layers():
    left, right = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    dense = layers.Dense(2, name="dense")
    assert names(keras.Model([left, right], dense(left + right))) == (["left", "right"], ["dense"])
    shared = keras.Model([left, right], [dense(left), dense(right)])
    assert names(shared) == (["left", "right"], ["dense", "dense_2"])
    keyed = keras.Model({"right": right, "left": left}, {"heads": [dense(left), dense(right)], "class": left + right})
    assert names(keyed) == (["left", "right"], ["class", "heads/0", "heads/1"])
    pair = Pair()
    pair({"left": np.ones((2, 3)), "right": np.ones((2, 3))})
    assert names(pair) == (["left", "right"], ["all/0", "all/1", "sum"])


def test_input_without_a_name_is_called_input():
    one, other = keras.Input((3,)), keras.Input((3,))
    assert names(keras.Model([one, other], layers.Dense(2, name="d")(one + other))) == (["input", "input_2"], ["d"])


def test_output_that_is_called_like_an_input_gets_another_name():
    left = keras.Input((3,), name="left")
    right = keras.Input((3,), name="right")
    assert names(keras.Model([left, right], {"left": left + right})) == (["left", "right"], ["left_2"])


def test_call_packs_and_unpacks_structures():
    left, right = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    model = keras.Model({"b": {"right": right}, "a": [left]}, {"difference": left - right, "sum": (left + right,)})
    found, _ = resolved(model)
    order = [each.name for each in found.inputs]
    values = {"left": np.full((2, 3), 5.0, "float32"), "right": np.full((2, 3), 3.0, "float32")}
    outputs = dict(zip([each.name for each in found.outputs], found.call(model, [values[n] for n in order]), strict=True))
    assert (np.asarray(outputs["difference"]) == 2).all()
    assert (np.asarray(outputs["sum/0"]) == 8).all()


def test_only_one_tensor_of_fixed_size_is_single():
    image = keras.Input((4, 4, 1))
    dense = layers.Dense(2)
    assert resolved(keras.Model(image, dense(image)))[0].is_single
    assert resolved(keras.Model([image], dense(image)))[0].is_single
    assert not resolved(keras.Model(image, {"a": dense(image)}))[0].is_single
    free = keras.Input((None, None, 1))
    assert not resolved(keras.Model(free, dense(free)))[0].is_single


def test_channels_of_an_image_in_a_file_come_first():
    image = keras.Input((None, None, 3), name="image")
    found, _ = resolved(keras.Model(image, layers.Conv2D(2, 3, padding="same", name="mask")(image)))
    in_file = found.as_in_file(None, channels_first=True)
    assert in_file.inputs[0].named_shape() == ["batch", 3, "height", "width"]
    assert in_file.outputs[0].named_shape() == ["batch", "height", "width", 2]
    assert found.as_in_file(4, channels_first=False).inputs[0].named_shape() == [4, "height", "width", 3]


def test_input_without_batch_is_an_error():
    scale = keras.Input(batch_shape=(), name="scale")
    x = keras.Input((3,), name="x")
    with pytest.raises(ZooError, match="takes scale without a batch"):
        signature.inputs_of(keras.Model([x, scale], x * scale))
