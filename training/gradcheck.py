"""Gradient check: compares the gradients of a layer, model or loss with finite differences."""

import contextlib
import json
import tempfile
from pathlib import Path

import keras
import numpy as np

from zoo.errors import ZooError


def gradcheck(
    model: "keras.Layer",
    x: "np.ndarray | list[np.ndarray]",
    loss: "keras.Loss | None" = None,
    labels: np.ndarray | None = None,
    h: float = 1e-5,
) -> dict[str, float]:
    """Compare the gradients of a model, layer or loss with central differences (f(x + h) - f(x - h)) / 2h, in float64.

    The check uses a copy of the model in inference mode; the model itself does not change. Choose inputs away from kinks,
    such as the zero of a ReLU, where the gradient and the differences legitimately disagree.

    Args:
        model: serializable Keras layer or model; `keras.layers.Identity()` to check a loss alone.
        x: inputs, (batch, ...), or a list of arrays for several inputs. Integer inputs get no gradient.
        loss: Keras loss of the outputs. Default: a fixed random weighted sum of them. Losses added by layers are included.
        labels: labels for the loss.
        h: step size.

    Returns:
        For each trainable variable, by its path, and for each float input ("input 0" for the first), the largest absolute
        difference of an entry divided by the largest entry of the gradient. Below 1e-7 the gradient is correct. It is
        infinite if a gradient or difference is not finite.

    Raises:
        ZooError: if the backend is not TensorFlow. On JAX several operations of Keras round float64 to float32.

    References:
        CS231n (2017), lecture 3, with the less accurate one-sided formula (f(x + h) - f(x)) / h.
    """
    if keras.backend.backend() != "tensorflow":
        raise ZooError("gradcheck needs the TensorFlow backend; set KERAS_BACKEND=tensorflow")
    if isinstance(model, keras.losses.Loss):
        raise ZooError("check a loss alone with gradcheck(keras.layers.Identity(), scores, loss=..., labels=...)")
    inputs = [np.asarray(each) for each in (x if isinstance(x, list | tuple) else [x])]
    is_float = [np.issubdtype(each.dtype, np.floating) for each in inputs]
    with _double_precision():
        model = _model_in_float64(model, inputs)
        loss = loss and _in_float64(loss)
        constant = [variable.value for variable in model.non_trainable_variables]
        weighting = np.random.default_rng(0).uniform(0.5, 1.5, size=(len(inputs[0]), *model.outputs[0].shape[1:]))
        count = len(model.trainable_variables)

        def objective(arrays):
            floats = iter(arrays[count:])
            given = [next(floats) if takes else each for each, takes in zip(inputs, is_float, strict=True)]
            outputs, _, added = model.stateless_call(
                arrays[:count], constant, given if len(given) > 1 else given[0], training=False, return_losses=True
            )
            return sum(added, keras.ops.sum(outputs * weighting) if loss is None else loss(labels, outputs))

        arrays = {variable.path: variable.numpy() for variable in model.trainable_variables}
        arrays |= {f"input {number}": x.astype("float64") for number, x in enumerate(inputs) if is_float[number]}
        value, gradients = _compiled(objective)
        every = list(arrays.values())
        return {
            name: _error(gradient, _differences(lambda: value(every), array, h))
            for (name, array), gradient in zip(arrays.items(), gradients(every), strict=True)
        }


def _compiled(objective):
    """Return two functions of a list of NumPy arrays: the value of the objective, and its gradients as NumPy arrays."""
    import tensorflow as tf

    function = tf.function(objective)

    def value(arrays):
        return float(function([tf.constant(array) for array in arrays]))

    def gradients(arrays):
        tensors = [tf.constant(array) for array in arrays]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            result = objective(tensors)
        return [each.numpy() for each in tape.gradient(result, tensors, unconnected_gradients="zero")]

    return value, gradients


def _differences(value, array, h):
    """Return (f(x + h) - f(x - h)) / 2h for each entry of an array, modified in place, that the function `value` reads."""
    found = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        original = array[index]
        array[index] = original + h
        above = value()
        array[index] = original - h
        found[index] = (above - value()) / (2 * h)
        array[index] = original
    return found


def _error(analytic, numeric):
    largest = max(np.abs(analytic).max(), np.abs(numeric).max())
    if not np.isfinite(largest):
        return float("inf")
    return float(np.abs(analytic - numeric).max() / largest) if largest else 0.0


def _model_in_float64(model, inputs):
    """Return a copy of a model, or of a layer as a model, that computes in float64."""
    if not (isinstance(model, keras.Model) and model.built):
        ends = [keras.Input(each.shape[1:], dtype=each.dtype.name) for each in inputs]
        ends = ends if len(ends) > 1 else ends[0]
        model = keras.Model(ends, model(ends))
    copy = _in_float64(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "copy.weights.h5")
        model.save_weights(path)
        copy.load_weights(path)
    return copy


def _in_float64(keras_object):
    """Return a copy of a Keras object with float64 in its configuration and newly initialized weights."""
    config = json.dumps(keras.saving.serialize_keras_object(keras_object)).replace('"float32"', '"float64"')
    parts = keras_object._flatten_layers() if isinstance(keras_object, keras.layers.Layer) else [keras_object]
    own = {type(part).__name__: type(part) for part in parts if not type(part).__module__.startswith("keras.")}
    return keras.saving.deserialize_keras_object(json.loads(config), custom_objects=own)


@contextlib.contextmanager
def _double_precision():
    """Make float64 the default of Keras temporarily."""
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(before)
