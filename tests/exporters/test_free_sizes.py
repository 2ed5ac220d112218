"""Sizes for axes that are not fixed, and the shapes of outputs."""

import keras
import pytest
from keras import layers

from exporters import free_sizes, signature
from zoo.errors import ZooError


def resolved(model):
    return free_sizes.resolve(model, signature.inputs_of(model))


def test_axes_have_different_sizes_if_the_model_takes_them():
    image = keras.Input((None, None, 3), name="image")
    found, sizes = resolved(keras.Model(image, layers.Conv2D(2, 3, name="valid")(image)))
    assert all(each["height"] != each["width"] for each in sizes)
    assert {each["height"] % 32 for each in sizes} == {0, 5}  # also a size that is no multiple
    assert found.outputs[0].named_shape() == ["batch", "valid_height", "valid_width", 2]


def test_a_model_that_halves_and_doubles_is_run_with_multiples_alone():
    image = keras.Input((None, None, 3))
    x = layers.UpSampling2D()(layers.MaxPooling2D()(image))
    _, sizes = resolved(keras.Model(image, layers.Concatenate()([image, x])))
    assert {each["height"] % 32 for each in sizes} == {0}
    assert len(sizes) == 2


def test_axes_that_must_be_equal_share_a_name():
    one, other = keras.Input((None, 3), name="one"), keras.Input((None, 3), name="other")
    added, sizes = resolved(keras.Model([one, other], one + other))
    assert [each.named_shape() for each in added.inputs] == [["batch", "time", 3]] * 2
    assert len({each["time"] for each in sizes}) == 2
    apart, _ = resolved(keras.Model([one, other], layers.Attention()([one, other])))
    assert [each.named_shape()[1] for each in apart.inputs] == ["one_time", "other_time"]
    assert apart.outputs[0].named_shape()[1] == "one_time"


def test_a_model_that_needs_long_inputs_gets_them():
    series = keras.Input((None, 1))
    _, sizes = resolved(keras.Model(series, layers.Conv1D(2, 100)(series)))
    assert all(each["time"] >= 100 for each in sizes)


def test_a_model_that_fails_with_every_size_is_an_error():
    series = keras.Input((None, 1))
    model = keras.Model(series, layers.Reshape((5, 3))(series), name="picky")
    with pytest.raises(ZooError, match="picky fails on a batch of 2 zeros with every size that was tried for its free axes"):
        resolved(model)
