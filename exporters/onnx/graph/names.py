"""Node and value names from the Keras layers instead of tf2onnx's counters."""

import onnx
import onnx_ir as ir

from exporters.onnx.graph.edit import LAYER, WEIGHT, constant

LAYER_OF_NODE = "layer_of_node"  # key in a node's `meta`: path of the Keras layer in which it was traced


def rename(graph: ir.Graph) -> None:
    """Name every node and value of a graph in place.

    The output of a layer gets the path of the layer; a value inside a layer is named LAYER/OPERATOR. A constant that holds a
    weight is named LAYER/WEIGHT, any other constant NODE/INPUT after the node that reads it.

    Args:
        graph: graph to rename; its inputs and outputs keep their names.
    """
    fixed = {value.name for value in (*graph.inputs, *graph.outputs)}
    taken = set(fixed)
    for node in graph:
        for value in node.outputs:
            if value.name not in fixed and LAYER in value.meta and value.meta[LAYER] not in taken:
                taken.add(value.meta[LAYER])
            else:
                value.meta.pop(LAYER, None)
    for node in graph:
        layer = node.meta.get(LAYER_OF_NODE)
        base = f"{layer}/{node.op_type.lower()}" if layer else node.op_type.lower()
        for index, value in enumerate(node.outputs):
            if value.name not in fixed:
                value.name = value.meta.get(LAYER) or unique_name(base if index == 0 else f"{base}/output{index}", taken)
        node.name = unique_name(base, taken) if node.outputs[0].name in fixed else node.outputs[0].name
    _rename_constants(graph, taken)


def _rename_constants(graph, taken):
    values = []
    for node in graph:
        for position, value in enumerate(node.inputs):
            if value is not None and constant(value) is not None and value not in values:
                formal_inputs = onnx.defs.get_schema(node.op_type, graph.opset_imports[""]).inputs
                input_name = formal_inputs[min(position, len(formal_inputs) - 1)].name.lower()
                values.append(value)
                del graph.initializers[value.name]
                value.name = unique_name(value.meta.get(WEIGHT) or f"{node.name}/{input_name}", taken)
    for value in sorted(values, key=lambda value: value.name):
        value.const_value.name = value.name
        graph.register_initializer(value)


def unique_name(name: str, taken: set[str]) -> str:
    """Return a name, with the suffix _2, _3, ... if it is taken.

    Args:
        name: preferred name.
        taken: names in use; the returned name is added to it.
    """
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    taken.add(candidate)
    return candidate
