"""Lowering of recurrent layers: one TensorFlow operator per layer, which becomes the LSTM, GRU or RNN operator of ONNX.

Keras' own loop would become a Loop, which few runtimes read. TensorFlow has no such operators for every device, so a Python
call that is never executed carries the tensors and the settings to `exporters.onnx.converters.recurrent`.
"""

import json
from collections.abc import Callable

import keras
import tensorflow as tf

OPERATORS = {keras.layers.LSTM: "LSTM", keras.layers.GRU: "GRU", keras.layers.SimpleRNN: "RNN"}
CARRIER = "EagerPyFunc"  # type of the TensorFlow node
# Activations that the operators have, with their parameters.
ACTIVATIONS = {
    keras.activations.tanh: ("Tanh",),
    keras.activations.sigmoid: ("Sigmoid",),
    keras.activations.relu: ("Relu",),
    keras.activations.softsign: ("Softsign",),
    keras.activations.softplus: ("Softplus",),
    keras.activations.hard_sigmoid: ("HardSigmoid", 1 / 6, 0.5),
}


def methods(layer: keras.Layer) -> dict[str, Callable]:
    """Return the methods that replace those of a recurrent layer during tracing, by name; none for other layers.

    A layer with a mask keeps Keras' loop, since the operators of ONNX know only the lengths of sequences.
    """
    if isinstance(layer, keras.layers.Bidirectional):
        pair = layer.forward_layer, layer.backward_layer
        ordered = not pair[0].go_backwards  # else the layers have exchanged directions, which the operator has not
        if ordered and all(map(_has_operator, pair)) and _settings(pair[0]) == _settings(pair[1]):
            return {"call": lambda *args, **kwargs: _bidirectional(layer, *args, **kwargs)}
        return {}
    if not _has_operator(layer):
        return {}
    zeros = []

    def get_initial_state(batch_size):
        zeros.extend(states := type(layer).get_initial_state(layer, batch_size))
        return states

    def inner_loop(sequences, initial_state, mask, training=False):
        if any(each is not None for each in (mask if isinstance(mask, list | tuple) else [mask])):
            return type(layer).inner_loop(layer, sequences, initial_state, mask, training)
        default = all(any(state is each for each in zeros) for state in initial_state)
        outputs, *states = _run([layer], sequences, [] if default else initial_state)
        return states[0], outputs[:, ::-1] if layer.go_backwards else outputs, states

    return {"get_initial_state": get_initial_state, "inner_loop": inner_loop}


def _has_operator(layer):
    """Return whether an operator computes what a layer computes without a mask."""
    if type(layer) not in OPERATORS or layer.stateful or layer.compute_dtype != "float32":
        return False
    return all(each in ACTIVATIONS for each in _activations(layer.cell))


def _activations(cell):
    own = [] if isinstance(cell, keras.layers.SimpleRNNCell) else [cell.recurrent_activation]
    return [*own, cell.activation, *([cell.activation] if isinstance(cell, keras.layers.LSTMCell) else [])]


def _settings(layer):
    """Return what two layers of a bidirectional operator must have in common."""
    cell = layer.cell
    return type(layer), cell.units, _activations(cell), cell.use_bias, getattr(cell, "reset_after", None)


def _run(layers, sequences, states):
    """Return the carrier of an operator.

    Args:
        layers: one layer, or the forward and the backward layer of a bidirectional one.
        sequences: (batch, steps, features) tensor.
        states: initial states of all layers; empty for zeros.

    Returns:
        Outputs (batch, steps, units), time running forward, and last states (batch, units). The units of the backward layer
        follow those of the forward layer.
    """
    cell = layers[0].cell
    names, parameters = [], []
    for activation in _activations(cell) * len(layers):
        name, *values = ACTIVATIONS[activation]
        names.append(name)
        parameters.append(values)
    settings = {
        "operator": OPERATORS[type(layers[0])],
        "units": cell.units,
        "direction": "bidirectional" if len(layers) > 1 else "reverse" if layers[0].go_backwards else "forward",
        "activations": names,
        "parameters": parameters,
        "bias": cell.use_bias,
        "reset_after": bool(getattr(cell, "reset_after", False)),
    }
    weights = [weight for each in layers for weight in (each.cell.kernel, each.cell.recurrent_kernel, each.cell.bias)]
    inputs = [sequences, *(tf.convert_to_tensor(weight) for weight in weights if weight is not None), *states]
    count = 3 if settings["operator"] == "LSTM" else 2
    results = tf.raw_ops.EagerPyFunc(input=inputs, token=json.dumps(settings), Tout=[tf.float32] * count)
    batch, steps, _ = sequences.shape
    units = cell.units * len(layers)
    shapes = [(batch, steps, units), *[(batch, units)] * (count - 1)]
    return [tf.ensure_shape(result, shape) for result, shape in zip(results, shapes, strict=True)]


def _bidirectional(layer, sequences, initial_state=None, mask=None, training=None):
    """Compute a bidirectional layer with one operator."""
    if mask is not None:
        return type(layer).call(layer, sequences, initial_state=initial_state, mask=mask, training=training)
    outputs, *states = _run([layer.forward_layer, layer.backward_layer], sequences, list(initial_state or []))
    result = outputs if layer.return_sequences else states[0]
    if layer.merge_mode != "concat":
        forward, backward = tf.split(result, 2, axis=-1)
        merged = {
            "sum": lambda: forward + backward,
            "ave": lambda: (forward + backward) / 2,
            "mul": lambda: forward * backward,
        }
        result = merged[layer.merge_mode]() if layer.merge_mode else (forward, backward)
    if not layer.return_state:
        return result
    halves = [tf.split(state, 2, axis=-1) for state in states]
    states = tuple(half[direction] for direction in (0, 1) for half in halves)
    return (*result, *states) if layer.merge_mode is None else (result, *states)
