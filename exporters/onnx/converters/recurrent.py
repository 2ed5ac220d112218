"""Conversion of the carrier of a recurrent layer, `exporters.onnx.recurrent`, to LSTM, GRU or RNN."""

import json
from typing import Any

import numpy as np
from tf2onnx.graph_builder import GraphBuilder

from exporters.onnx.converters.nodes import NotConvertible, insert, new_constant

DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}  # activations
GATES = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2), "RNN": (0,)}  # place of ONNX' gates among those of Keras


def recurrent(ctx: Any, node: Any) -> None:
    """Convert the carrier of a recurrent layer.

    Args:
        ctx, node: graph and node of tf2onnx.

    Raises:
        NotConvertible: for a Python function of the model.
    """
    settings = _settings(node)
    directions = 2 if settings["direction"] == "bidirectional" else 1
    weights = 3 if settings["bias"] else 2
    sequences, *rest = node.input
    sets = [rest[start : start + weights] for start in range(0, directions * weights, weights)]
    states = rest[directions * weights :]
    inputs = [
        insert(ctx, node, "Transpose", [sequences], {"perm": (1, 0, 2)}),
        _join(ctx, node, [_matrix(ctx, node, each[0], settings) for each in sets]),
        _join(ctx, node, [_matrix(ctx, node, each[1], settings) for each in sets]),
        _join(ctx, node, [_bias(ctx, node, each[2], settings) for each in sets]) if settings["bias"] else "",
    ]
    if states:  # all states of the forward layer are followed by those of the backward layer
        count = len(states) // directions
        inputs += ["", *(_join(ctx, node, [_unsqueeze(ctx, each) for each in states[kind::count]]) for kind in range(count))]
    while not inputs[-1]:
        inputs.pop()
    default = DEFAULTS[settings["operator"]] * directions
    attributes = {
        "hidden_size": settings["units"],
        "direction": settings["direction"],
        **({} if settings["activations"] == default else {"activations": settings["activations"]}),
        **({"linear_before_reset": int(settings["reset_after"])} if settings["operator"] == "GRU" else {}),
    }
    parameters = [each for each in settings["parameters"] if each]
    if parameters:
        attributes |= {
            "activation_alpha": [each[0] for each in parameters],
            "activation_beta": [each[1] for each in parameters],
        }
    outputs, shapes, dtypes = node.output, node.output_shapes, node.output_dtypes
    ctx.remove_node(node.name)
    made = ctx.make_node(settings["operator"], inputs, attributes, output_count=len(outputs), op_name_scope=node.name)
    for index, (name, shape, dtype) in enumerate(zip(outputs, shapes, dtypes, strict=True)):
        _finish(
            ctx, node, made.output[index], directions, index == 0, {"outputs": [name], "shapes": [shape], "dtypes": [dtype]}
        )


def _settings(node):
    try:
        settings = json.loads(node.get_attr_value("token"))
    except ValueError:
        settings = None
    if not isinstance(settings, dict) or settings.get("operator") not in GATES:
        raise NotConvertible(node, "it calls a Python function; write it with operators of keras.ops")
    return settings


def _matrix(ctx, node, weight, settings):
    """Return a kernel as (1, gates * units, inputs), with the gates in the order of ONNX."""
    transposed = insert(ctx, node, "Transpose", [weight], {"perm": (1, 0)})
    return _unsqueeze(ctx, _gates(ctx, node, transposed, settings))


def _gates(ctx, node, value, settings):
    """Return a value whose first axis has the gates in the order of ONNX."""
    gates, units = GATES[settings["operator"]], settings["units"]
    if gates == tuple(sorted(gates)):
        return value
    rows = np.concatenate([np.arange(gate * units, (gate + 1) * units) for gate in gates])
    return insert(ctx, node, "Gather", [value, new_constant(ctx, rows.astype("int64"))], {"axis": 0})


def _bias(ctx, node, weight, settings):
    """Return a bias as (1, 2 * gates * units): that of the input, and that of the state, which only GRU has in Keras."""
    size = len(GATES[settings["operator"]]) * settings["units"]
    if settings["reset_after"]:
        return insert(ctx, node, "Reshape", [weight, new_constant(ctx, np.array([1, 2 * size], "int64"))])
    ordered = _gates(ctx, node, weight, settings)
    both = insert(ctx, node, "Concat", [ordered, new_constant(ctx, np.zeros(size, "float32"))], {"axis": 0})
    return _unsqueeze(ctx, both)


def _join(ctx, node, values):
    """Return the values of the directions along the first axis."""
    return values[0] if len(values) == 1 else insert(ctx, node, "Concat", values, {"axis": 0})


def _unsqueeze(ctx, value):
    return GraphBuilder(ctx).make_unsqueeze({"data": value, "axes": [0]})


def _finish(ctx, node, value, directions, sequences, made):
    """Turn an output of the operator into that of Keras: the batch comes first, and the directions are side by side."""
    if directions == 1:
        value = GraphBuilder(ctx).make_squeeze({"data": value, "axes": [1 if sequences else 0]})
        if sequences:
            ctx.make_node("Transpose", [value], {"perm": (1, 0, 2)}, op_name_scope=node.name, **made)
        else:
            ctx.make_node("Identity", [value], op_name_scope=node.name, **made)
        return
    value = insert(ctx, node, "Transpose", [value], {"perm": (2, 0, 1, 3) if sequences else (1, 0, 2)})
    target = new_constant(ctx, np.array([0, 0, -1] if sequences else [0, -1], "int64"))
    ctx.make_node("Reshape", [value, target], op_name_scope=node.name, **made)
