"""Graph simplification: from tf2onnx's output to the graph that an engineer would draw by hand."""

import logging
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
    shapes,
    transpose_sinking,
)
from exporters.onnx.graph.edit import WEIGHT, constant

log = logging.getLogger(__name__)

# A rule takes a node, rewrites the graph around it if it applies, and returns whether it did. The rules are tried on each
# node in this order, and repeatedly until none applies.
RULES = (
    constants.fold,
    constants.eliminate_identity,
    constants.fold_batch_shape,
    constants.fuse_reshapes,
    operators.expand_erfc,
    operators.expand_expm1,
    operators.crop_to_output_padding,
    operators.products_to_where,
    operators.fuse_sum_of_squares,
    operators.fuse_mean,
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
FINAL_RULES = (
    layout.transpose_to_reshape,
    constants.fuse_reshapes,
    constants.drop_default_attributes,
    operators.add_gemm_bias,
)
# Normalization across channels: LRN is slow in onnxruntime, and a convolution of few channels is fast everywhere.
NORMALIZATION_RULES = {
    Runtime.TENSORRT: (lrn.narrow_lrn_to_convolution, lrn.groups_to_batch),
    Runtime.ONNXRUNTIME: (lrn.lrn_to_convolution,),
}
MAX_ROUNDS = 100


def simplify(model: ir.Model, runtime: str = Runtime.TENSORRT) -> None:
    """Simplify a graph in place, without changing what it computes or the names of its inputs and outputs.

    A rule that fails is undone and logged as a warning, and the graph keeps what the rule would have simplified. A graph to
    which rules still apply after `MAX_ROUNDS` rounds stays as it is then, with a warning.

    Args:
        model: model to simplify.
        runtime: name of the `Runtime` to optimize the graph for.
    """
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    # One normalization rule after the other: LRN per group, which stays one operator, may have few channels.
    final = [(rule, *FINAL_RULES) for rule in NORMALIZATION_RULES[runtime]]
    failed = set()
    for rules in (RULES, RULES + SINKING_RULES, *final):
        _apply_until_stable(model, rules, failed)
    _deduplicate_constants(model.graph)
    _sort_topologically(model.graph)
    names.rename(model.graph)


def _apply_until_stable(model: ir.Model, rules: tuple[Callable[[ir.Node], bool], ...], failed: set[tuple[str, str]]) -> None:
    for _ in range(MAX_ROUNDS):
        shapes.infer(model)
        before = model.graph.clone()
        while (applied := _apply_to_each_node(model, rules, failed)) is None:  # a rule failed
            model.graph, before = before, before.clone()
        common.RemoveUnusedNodesPass()(model)
        if not applied:
            return
    log.warning("the graph is written before it is as simple as possible: rules still apply after %d rounds", MAX_ROUNDS)


def _apply_to_each_node(model, rules, failed):
    """Apply the first rule that applies to each node of a graph.

    Args:
        model: `onnx_ir.Model`, changed in place.
        rules: rules to try, in this order.
        failed: set of (name of a rule, name of the first output of a node) to skip. A rule that fails is added and logged.

    Returns:
        Whether a rule applied, or None if one failed; it may have left the graph half changed.
    """
    applied = False
    for node in list(model.graph):
        for rule in rules:
            # A rule may remove later nodes. Nodes that it inserts are visited in the next round.
            if node.graph is None:
                break
            attempt = f"{rule.__module__.rpartition('.')[2]}.{rule.__name__}", node.outputs[0].name
            if attempt in failed:
                continue
            try:
                if rule(node):
                    applied = True
                    break
            except Exception as error:  # the rule met a graph that it was not written for
                failed.add(attempt)
                place = node.meta.get(names.LAYER_OF_NODE) or node.outputs[0].name
                log.warning(
                    "the graph is written without a simplification of %s at %s: rule %s failed with %s: %s. "
                    "This is a bug of the zoo; please report it",
                    node.op_type, place, attempt[0], type(error).__name__, error,
                )  # fmt: skip
                return None
    return applied


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
