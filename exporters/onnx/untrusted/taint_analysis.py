"""A taint analysis: how much a graph computes is to follow from the shapes of its inputs, and never from their values.

Of such a graph a trial run tells what the next run costs, whatever the pictures. One of a stranger may pass a trial on a
black picture, and never end on a white one.
"""

import onnx_ir as ir

from exporters.onnx.untrusted.limits import Refused

# The inputs of an operator that decide how large its output is, or how often it runs.
DECIDING = {
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
# Their outputs have as many values as the values of their inputs say, or they hold graphs that no file of the zoo needs.
REFUSED = ("Compress", "NonMaxSuppression", "NonZero", "Unique", "Scan", "SequenceMap", "Optional", "StringSplit")
SHAPES = ("Shape", "Size")


def check(model):
    """Refuse a model whose work depends on the values of its inputs, or is not in ONNX' own operators.

    Args:
        model: `onnx_ir.Model`, its nodes in order.

    Raises:
        Refused: with the operator.
    """
    if model.functions:
        raise Refused("has functions of its own, which are not run")
    _follow(model.graph, set(model.graph.inputs))


def _follow(graph, tainted):
    """Add to a set of values those of a graph that depend on it."""
    for node in graph:
        if node.domain not in ("", "ai.onnx") or node.op_type in REFUSED:
            raise Refused(f"has the operator {node.domain}{'.' if node.domain else ''}{node.op_type}, which is not run")
        for place in DECIDING.get(node.op_type, ()):
            if place < len(node.inputs) and node.inputs[place] in tainted:
                raise _depends(node)
        if node.op_type == "Loop":
            _follow_loop(node, tainted)
        elif node.op_type == "If":
            for branch in (attribute.value for attribute in node.attributes.values()):
                _follow(branch, tainted)
                tainted.update(outer for outer, own in zip(node.outputs, branch.outputs, strict=True) if own in tainted)
        elif any(
            attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for attribute in node.attributes.values()
        ):
            raise Refused(f"has a graph within {node.op_type}, which is not run")
        elif node.op_type not in SHAPES and not tainted.isdisjoint(node.inputs):
            tainted.update(node.outputs)


def _follow_loop(node, tainted):
    """Follow a loop until no turn taints what the turn before it did not."""
    body = node.attributes["body"].value
    states, left = body.inputs[2:], body.outputs[1:]
    tainted.update(own for own, outer in zip(states, node.inputs[2:], strict=True) if outer in tainted)
    known = -1
    while known < len(tainted):
        known = len(tainted)
        _follow(body, tainted)
        tainted.update(own for own, made in zip(states, left, strict=False) if made in tainted)
    if body.outputs[0] in tainted:
        raise _depends(node)
    tainted.update(outer for outer, made in zip(node.outputs, left, strict=True) if made in tainted)


def _depends(node):
    return Refused(
        f"has a {node.op_type} whose work depends on the pixels, so that it might never end; export it again, which proves "
        "what is your own"
    )
