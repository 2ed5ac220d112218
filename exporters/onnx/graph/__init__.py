"""The clean-up of a graph: from what tf2onnx writes to what an engineer would have drawn by hand."""

import numpy as np
from onnx_ir.passes import common

from exporters.onnx.graph import affine, constants, layout, names, operators
from exporters.onnx.graph.edit import WEIGHT, constant

# In the order in which they are tried on each node, from the first to the last; and all over again until none applies.
RULES = (
    constants.fold,
    constants.drop_idle,
    constants.write_shape,
    constants.join_reshapes,
    operators.erfc,
    operators.where,
    operators.sum_of_squares,
    operators.mean,
    operators.by_place,
    layout.name_before,
    layout.see_transpose,
    layout.join,
    layout.sink,
    layout.lift,
    layout.into_letters,
    layout.flatten,
    layout.flatten_single,
    operators.gemm,
    operators.pad_sum_of_squares,
    affine.constant_last,
    affine.normalization,
    affine.pool_as_convolution,
    affine.after_product,
    affine.into_choice,
)
# What the product before it could not take goes to the one behind it.
DOWNWARD = (affine.before_product, affine.join, affine.sink, operators.pads)
LAST = (layout.single_channel, constants.join_reshapes, constants.plain_attributes)
MOST_ROUNDS = 100


# Normalization across maps: one operator to most readers, but slow in onnxruntime.
BY_RUNTIME = {"tensorrt": operators.regroup, "onnxruntime": operators.normalization_as_convolution}


def clean(model, runtime="tensorrt"):
    """Clean up a graph in place; what it computes stays, and so do the names of its inputs and outputs.

    Args:
        model: `onnx_ir.Model` of one graph.
        runtime: what the graph is to be fast in, "tensorrt" or "onnxruntime".
    """
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    _until_none_applies(model, RULES)
    _until_none_applies(model, RULES + DOWNWARD)
    _until_none_applies(model, (BY_RUNTIME[runtime], *LAST))
    _share_constants(model.graph)
    _order(model.graph)
    names.rename(model.graph)


def _until_none_applies(model, rules):
    for _ in range(MOST_ROUNDS):
        common.ShapeInferencePass()(model)
        applied = False
        for node in list(model.graph):
            # A rule puts another node in the place of this one; that one has its turn in the next round.
            if node.graph is not None and any(rule(node) for rule in rules):
                applied = True
        common.RemoveUnusedNodesPass()(model)
        if not applied:
            return
    raise RuntimeError(f"the rules of the clean-up do not come to an end in {MOST_ROUNDS} rounds")


def _order(graph):
    """Put nodes in the one order that follows the inputs back from the outputs; tf2onnx' own is not always the same."""
    ordered, waiting = {}, [(value.producer(), False) for value in reversed(graph.outputs)]
    while waiting:
        node, inputs_done = waiting.pop()
        if node is None or node in ordered:
            continue
        if inputs_done:
            ordered[node] = None
        else:
            waiting.append((node, True))
            waiting.extend((value.producer(), False) for value in reversed(node.inputs) if value is not None)
    rest = [node for node in graph if node not in ordered]  # read by a graph within a node alone
    graph.remove(list(graph))
    graph.extend([*rest, *ordered])
    graph.sort()


def _share_constants(graph):
    """Keep one of the constants that are equal; a weight stays its own, whatever its values."""
    first = {}
    for value in list(graph.initializers.values()):
        array = constant(value)
        if WEIGHT in value.meta or value.is_graph_output():
            continue
        key = array.dtype.str, array.shape, np.ascontiguousarray(array).tobytes()
        if key in first:
            value.replace_all_uses_with(first[key])
            del graph.initializers[value.name]
        else:
            first[key] = value
