"""Does a layer or loss have the gradient that it should? Back-propagation beside differences of the values themselves."""

import contextlib
import json
import tempfile
from pathlib import Path

import keras
import numpy as np

from zoo.errors import ZooError


def gradcheck(model, x, loss=None, labels=None, h=1e-5):
    """Compare the gradient of a model, layer or loss with centred differences (f(x + h) - f(x - h)) / 2h, in float64.

    A copy is checked, as it runs in use, not in training; what was given keeps its weights. Take inputs that are not near
    a kink, such as the zero of a ReLU: there the two rightly differ.

    Args:
        model: Keras layer or model that can be serialized; `keras.layers.Identity()` to check a loss alone.
        x: array of inputs, (batch, ...), or a list of arrays where there are several; those of integers get no gradient.
        loss: Keras loss of the outputs. Without one it is a fixed random weighted sum of them. Losses that layers add count.
        labels: for the loss.
        h: the step.

    Returns:
        dict: for each trainable variable, by its path, and for each input, "input 0" the first, the largest difference in
        any entry, relative to the largest entry of the gradient. Below 1e-7 the gradient is right. It is infinite where one
        of the two is no finite number.

    Raises:
        ZooError: if Keras does not run on TensorFlow. On JAX several of its operations round float64 to float32.

    References:
        CS231n (2017), lecture 3, whose formula is the one-sided (f(x + h) - f(x)) / h, which is less exact.
    """
    if keras.backend.backend() != "tensorflow":
        raise ZooError("gradients can be checked on TensorFlow alone; set KERAS_BACKEND=tensorflow")
    if isinstance(model, keras.losses.Loss):
        raise ZooError("a loss alone is checked as gradcheck(keras.layers.Identity(), scores, loss=..., labels=...)")
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
        for number, each in enumerate(inputs):
            if is_float[number]:
                arrays[f"input {number}"] = each.astype("float64")
        value, gradients = _compiled(objective)
        every = list(arrays.values())
        return {
            name: _error(gradient, _differences(lambda: value(every), array, h))
            for (name, array), gradient in zip(arrays.items(), gradients(every), strict=True)
        }


def _compiled(objective):
    """Return functions of a list of NumPy arrays: the objective, a float, and its gradients, NumPy arrays."""
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
    """Return (f(x + h) - f(x - h)) / 2h for each entry of an array that the function `value` reads."""
    found = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + h
        above = value()
        array[index] = kept - h
        found[index] = (above - value()) / (2 * h)
        array[index] = kept
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


def _in_float64(thing):
    """Return a copy of a Keras object that computes in float64, because its description says so; its weights are new."""
    described = json.dumps(keras.saving.serialize_keras_object(thing)).replace('"float32"', '"float64"')
    parts = thing._flatten_layers() if isinstance(thing, keras.layers.Layer) else [thing]
    own = {type(part).__name__: type(part) for part in parts if not type(part).__module__.startswith("keras.")}
    return keras.saving.deserialize_keras_object(json.loads(described), custom_objects=own)


@contextlib.contextmanager
def _double_precision():
    """Make float64 the default of Keras for a while."""
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(before)
