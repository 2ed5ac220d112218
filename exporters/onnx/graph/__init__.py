"""Graph simplification: from tf2onnx's output to the graph that an engineer would draw by hand."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from exporters.choices import Runtime
from exporters.onnx.graph import (
    affine,
    affine_sinking,
    constants,
    layout,
    lrn,
    names,
    operators,
    transpose_sinking,
)
from exporters.onnx.graph.edit import WEIGHT, constant

# A rule takes a node, rewrites the graph around it if it applies, and returns whether it did. The rules are tried on each
# node in this order, and repeatedly until none applies.
RULES = (
    constants.fold,
    constants.eliminate_identity,
    constants.fold_batch_shape,
    constants.fuse_reshapes,
    operators.expand_erfc,
    operators.products_to_where,
    operators.fuse_sum_of_squares,
    operators.fuse_mean,
    operators.matmul_to_einsum,
    layout.move_layer_name_above_transpose,
    layout.reshape_to_transpose,
    layout.fuse_transposes,
    transpose_sinking.sink,
    layout.lift_transpose,
    transpose_sinking.fuse_into_einsum,
    layout.fuse_transpose_into_dense,
    layout.drop_transpose_before_reshape,
    operators.matmul_to_gemm,
    operators.sink_pad_below_sum_of_squares,
    affine.move_constant_last,
    affine.batch_normalization_to_affine,
    affine.pool_to_convolution,
    affine.fold_into_producer,
    affine.fold_into_where,
)
# In a second phase, scales and offsets that the preceding product could not take move to the following one.
SINKING_RULES = (affine.fold_into_consumer, affine_sinking.fuse, affine_sinking.sink, operators.fuse_pad)
FINAL_RULES = (layout.transpose_to_reshape, constants.fuse_reshapes, constants.drop_default_attributes)
# Normalization across channels: one operator for most runtimes, but LRN is slow in onnxruntime.
NORMALIZATION_RULE = {Runtime.TENSORRT: lrn.groups_to_batch, Runtime.ONNXRUNTIME: lrn.lrn_to_convolution}
MAX_ROUNDS = 100


def simplify(model: ir.Model, runtime: str = Runtime.TENSORRT) -> None:
    """Simplify a graph in place, without changing what it computes or the names of its inputs and outputs.

    Args:
        model: model to simplify.
        runtime: name of the `Runtime` to optimize the graph for.

    Raises:
        RuntimeError: if the rules still apply after `MAX_ROUNDS` rounds.
    """
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    _apply_until_stable(model, RULES)
    _apply_until_stable(model, RULES + SINKING_RULES)
    _apply_until_stable(model, (NORMALIZATION_RULE[runtime], *FINAL_RULES))
    _deduplicate_constants(model.graph)
    _sort_topologically(model.graph)
    names.rename(model.graph)


def _apply_until_stable(model: ir.Model, rules: tuple[Callable[[ir.Node], bool], ...]) -> None:
    for _ in range(MAX_ROUNDS):
        common.ShapeInferencePass()(model)
        applied = False
        for node in list(model.graph):
            # A rule may remove later nodes. Nodes that it inserts are visited in the next round.
            if node.graph is not None and any(rule(node) for rule in rules):
                applied = True
        common.RemoveUnusedNodesPass()(model)
        if not applied:
            return
    raise RuntimeError(f"the simplification rules still apply after {MAX_ROUNDS} rounds")


def _sort_topologically(graph):
    """Sort the nodes depth-first from the outputs. The result is deterministic; tf2onnx's order is not."""
    ordered, stack = {}, [(value.producer(), False) for value in reversed(graph.outputs)]
    while stack:
        node, inputs_done = stack.pop()
        if node is None or node in ordered:
            continue
        if inputs_done:
            ordered[node] = None
        else:
            stack.append((node, True))
            stack.extend((value.producer(), False) for value in reversed(node.inputs) if value is not None)
    rest = [node for node in graph if node not in ordered]  # read by subgraphs only
    graph.remove(list(graph))
    graph.extend([*rest, *ordered])
    graph.sort()


def _deduplicate_constants(graph):
    """Merge equal constants. Weights stay separate, whatever their values."""
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
