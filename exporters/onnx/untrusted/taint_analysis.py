"""Taint analysis: the cost of running a graph may depend on the shapes of its inputs, but never on their values.

For such a graph, one trial run bounds the cost of every later run. A malicious graph may otherwise pass a trial run on a
black image and never terminate on a white one.
"""

import onnx_ir as ir

from exporters.onnx.untrusted.limits import RejectedFileError

# Indices of the inputs that determine how large the output of an operator is or how often it runs.
COST_INPUTS = {
    **dict.fromkeys(("ConstantOfShape", "EyeLike", "If", "HannWindow", "HammingWindow", "BlackmanWindow"), (0,)),
    **dict.fromkeys(
        ("AffineGrid", "CenterCropPad", "Expand", "OneHot", "Reshape", "Split", "Squeeze", "Tile", "TopK"), (1,)
    ),
    **dict.fromkeys(("Unsqueeze", "Upsample", "DFT"), (1,)),
    **dict.fromkeys(("Range", "MelWeightMatrix"), (0, 1, 2, 3)),
    **dict.fromkeys(("Slice", "Resize", "Pad", "STFT", "Col2Im"), (1, 2, 3, 4)),
    **dict.fromkeys(("MaxUnpool", "NonMaxSuppression"), (2,)),
    "Loop": (0, 1),
}
# Their output size depends on the values of their inputs, or they hold subgraphs that no model of the zoo needs.
REJECTED = ("Compress", "NonMaxSuppression", "NonZero", "Unique", "Scan", "SequenceMap", "Optional", "StringSplit")
SHAPE_OPERATORS = ("Shape", "Size")


def check(model: ir.Model) -> None:
    """Reject a model whose cost depends on input values, or that uses operators outside the ONNX standard.

    Args:
        model: model with topologically sorted nodes.

    Raises:
        RejectedFileError: with the operator.
    """
    if model.functions:
        raise RejectedFileError("has model-local functions, which are not run")
    _propagate(model.graph, set(model.graph.inputs))


def _propagate(graph, tainted):
    """Add the values of a graph that depend on tainted values to the set of tainted values."""
    for node in graph:
        if node.domain not in ("", "ai.onnx") or node.op_type in REJECTED:
            operator = f"{node.domain}{'.' if node.domain else ''}{node.op_type}"
            raise RejectedFileError(f"has the operator {operator}, which is not run")
        for position in COST_INPUTS.get(node.op_type, ()):
            if position < len(node.inputs) and node.inputs[position] in tainted:
                raise _tainted_cost(node)
        if node.op_type == "Loop":
            _propagate_loop(node, tainted)
        elif node.op_type == "If":
            for branch in (attribute.value for attribute in node.attributes.values()):
                _propagate(branch, tainted)
                tainted.update(outer for outer, inner in zip(node.outputs, branch.outputs, strict=True) if inner in tainted)
        elif any(
            attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for attribute in node.attributes.values()
        ):
            raise RejectedFileError(f"has a subgraph in {node.op_type}, which is not run")
        elif node.op_type not in SHAPE_OPERATORS and not tainted.isdisjoint(node.inputs):
            tainted.update(node.outputs)


def _propagate_loop(node, tainted):
    """Propagate through the body of a loop until an iteration taints nothing new (a fixed point)."""
    body = node.attributes["body"].value
    states, results = body.inputs[2:], body.outputs[1:]
    tainted.update(inner for inner, outer in zip(states, node.inputs[2:], strict=True) if outer in tainted)
    size = -1
    while size < len(tainted):
        size = len(tainted)
        _propagate(body, tainted)
        tainted.update(inner for inner, result in zip(states, results, strict=False) if result in tainted)
    if body.outputs[0] in tainted:
        raise _tainted_cost(node)
    tainted.update(outer for outer, result in zip(node.outputs, results, strict=True) if result in tainted)


def _tainted_cost(node):
    cost = f"has a {node.op_type} whose cost depends on the pixel values, so it might never terminate"
    return RejectedFileError(f"{cost}; if the model is your own, export it again")
