"""Names from the Keras layers, in the place of tf2onnx's counters."""

import onnx

from exporters.onnx.graph.edit import LAYER, WEIGHT, constant

LAYER_OF_NODE = "layer_of_node"  # key in a node's `meta`: the path of the Keras layer in which it was traced


def rename(graph):
    """Name every node and value of a graph: the output of a layer as the layer, what lies within one LAYER/OPERATOR.

    A constant that holds a weight is LAYER/WEIGHT, any other is named after the node that reads it and the input that it is.

    Args:
        graph: `onnx_ir.Graph`; its inputs and outputs keep their names.
    """
    ends = {value.name for value in (*graph.inputs, *graph.outputs)}
    taken = set(ends)
    for node in graph:
        for value in node.outputs:
            if value.name not in ends and LAYER in value.meta and value.meta[LAYER] not in taken:
                taken.add(value.meta[LAYER])
            else:
                value.meta.pop(LAYER, None)
    for node in graph:
        layer = node.meta.get(LAYER_OF_NODE)
        kind = f"{layer}/{node.op_type.lower()}" if layer else node.op_type.lower()
        for number, value in enumerate(node.outputs):
            if value.name not in ends:
                value.name = value.meta.get(LAYER) or free(kind if number == 0 else f"{kind}/output{number}", taken)
        node.name = free(kind, taken) if node.outputs[0].name in ends else node.outputs[0].name
    _rename_constants(graph, taken)


def _rename_constants(graph, taken):
    values = []
    for node in graph:
        for place, value in enumerate(node.inputs):
            if value is not None and constant(value) is not None and value not in values:
                schema = onnx.defs.get_schema(node.op_type, graph.opset_imports[""]).inputs
                entry = schema[min(place, len(schema) - 1)].name.lower()
                values.append(value)
                del graph.initializers[value.name]
                value.name = free(value.meta.get(WEIGHT) or f"{node.name}/{entry}", taken)
    for value in sorted(values, key=lambda value: value.name):
        value.const_value.name = value.name
        graph.register_initializer(value)


def free(name, taken):
    """Return a name, with the first number behind it that makes it new, and take it.

    Args:
        name: that is wanted.
        taken: set of the names that others have; this one is added.
    """
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    taken.add(found)
    return found
