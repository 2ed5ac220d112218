"""Detection of squares: their range is twice as wide (in bits) as that of other values, too wide for 8 or 16 bits."""

import onnx_ir as ir

from exporters.onnx.graph.edit import producer_of_type

DATA_MOVEMENT = (
    "MaxPool",
    "Reshape",
    "Flatten",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
)  # every output value is an input value


def computes_squares(node: ir.Node) -> bool:
    """Return whether a node computes squares or sums of squares."""
    return node.op_type == "ReduceSumSquare" or (node.op_type == "Mul" and node.inputs[0] is node.inputs[1])


def is_square(value: ir.Value) -> bool:
    """Return whether a value is a square or a sum of squares, as in normalization across channels."""
    while node := producer_of_type(value, *DATA_MOVEMENT):
        value = node.inputs[0]
    producer = value.producer()
    return producer is not None and computes_squares(producer)
