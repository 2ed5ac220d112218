"""Corrections of tf2onnx 1.17, which otherwise writes wrong graphs for some models.

- TensorFlow knows some shapes only while it traces. tf2onnx reads a frozen graph without them, and has to guess a padding.
- A value that replaces another one, such as a Concat in place of a Roll, does not get its shape.
- The shape of a one-dimensional transposed convolution is not read from its parts; operator set 9 cannot compute it.
- A Transpose below a reduction that drops axes keeps its former shape, from which tf2onnx computes constants.
- A Pad before a convolution with explicit padding replaces that padding instead of adding to it.
- An Einsum is tried in every order of its letters, which takes minutes for many letters, as of attention over two axes.
"""

import contextlib
import itertools
from collections.abc import Iterator

import tensorflow as tf
from tf2onnx import optimizer, tfonnx
from tf2onnx.graph import Graph
from tf2onnx.onnx_opset import nn
from tf2onnx.optimizer import einsum_optimizer
from tf2onnx.optimizer.transpose_optimizer import TransposeOptimizer

TRANSPOSES = "optimize_transpose"  # key of the optimizer in tf2onnx
REPLACED = (  # functions of tf2onnx
    (tfonnx, "infer_shape"),
    (tfonnx, "rewrite_conv2d_with_pad"),
    (nn, "get_shape_from_const_or_concat"),
    (Graph, "replace_all_inputs"),
    (einsum_optimizer, "permutations"),
)
ORDERS = 120  # of the letters of an Einsum that are tried: all of five letters


@contextlib.contextmanager
def corrected(traced: tf.Graph) -> Iterator[None]:
    """Within the context, tf2onnx converts a graph without these errors.

    Args:
        traced: graph whose shapes are used for the tensors of the same name.
    """
    infer_shape, fuse_pad, target_shape, redirect, permutations = (getattr(module, name) for module, name in REPLACED)

    def infer(graph, overridden):
        _copy_shapes(traced, graph)
        return infer_shape(graph, overridden)

    def fuse(graph, nodes):
        fuse_pad(graph, [node for node in nodes if node.get_attr_value("padding") != b"EXPLICIT"])
        return nodes

    def shape(graph, node):
        return target_shape(graph, node) or _shape_of_reader(graph, node)

    def keep_shape(graph, old, new, *nodes, **options):
        found, known = graph._output_shapes.get(new), graph._output_shapes.get(old)
        if known is not None and (found is None or (len(found) == len(known) and -1 in found)):
            graph.set_shape(new, [size if size >= 0 else other for size, other in zip(found or known, known, strict=True)])
        return redirect(graph, old, new, *nodes, **options)

    def orders(letters):
        return itertools.islice(permutations(letters), ORDERS)

    with contextlib.ExitStack() as undo:
        for (module, name), function in zip(REPLACED, (infer, fuse, shape, keep_shape, orders), strict=True):
            undo.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, function)
        undo.callback(optimizer._optimizers.__setitem__, TRANSPOSES, optimizer._optimizers[TRANSPOSES])
        optimizer._optimizers[TRANSPOSES] = Transposes
        yield


def _shape_of_reader(graph, node):
    """Return the shape of the transposed convolution whose shape a node computes, or None if it is unknown."""
    for reader in graph.find_output_consumers(node.output[0]):
        sizes = graph.get_shape(reader.output[0])
        if reader.type.startswith("Conv") and sizes and min(sizes[1:]) > 0:
            return sizes
    return None


def _copy_shapes(traced, graph):
    """Give the tensors of a frozen graph the shapes of those of the traced graph that have the same name."""
    shapes = {tensor.name: tensor.shape for node in traced.get_operations() for tensor in node.outputs}
    for node in graph.get_operations():
        for tensor in node.outputs:
            if tensor.name in shapes and tensor.shape.is_compatible_with(shapes[tensor.name]):
                tensor.set_shape(shapes[tensor.name])


class Transposes(TransposeOptimizer):
    """Moves each Transpose down, as tf2onnx does, and writes the shapes of both values that change."""

    def _handle_nhwc_tranpose(self, trans):
        readers = self._g.find_output_consumers(trans.output[0])
        reader = readers[0] if len(readers) == 1 and len(readers[0].output) == 1 else None
        shape = self._g.get_shape(reader.output[0]) if reader else None
        moved = super()._handle_nhwc_tranpose(trans)
        if moved and shape and self._g.get_node_by_name(trans.name) is trans and trans.input[0] == reader.output[0]:
            order = trans.get_attr_value("perm")
            if len(order) == len(shape):
                self._g.set_shape(trans.output[0], shape)
                self._g.set_shape(reader.output[0], [shape[order.index(axis)] for axis in range(len(order))])
        return moved
