"""Which values are squares: they have twice the range of others, more than 8 or 16 bits have."""

from exporters.onnx.graph.edit import made_by

MOVING = ("MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze")  # give only values that they are given


def squares(node):
    """Tell whether a node computes squares or sums of them."""
    return node.op_type == "ReduceSumSquare" or (node.op_type == "Mul" and node.inputs[0] is node.inputs[1])


def is_square(value):
    """Tell whether a value is a square or a sum of squares, as in a normalization across maps."""
    while moved := made_by(value, *MOVING):
        value = moved.inputs[0]
    above = value.producer()
    return above is not None and squares(above)
