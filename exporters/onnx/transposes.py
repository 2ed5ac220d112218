"""tf2onnx' optimizer of transposes, with the right shapes.

When tf2onnx 1.17 moves a Transpose below a reduction that drops axes, it keeps the shape that the Transpose had before. It
then computes constants from that shape, such as the target of a Reshape, and the graph is wrong.
"""

import contextlib
from collections.abc import Iterator

from tf2onnx import optimizer
from tf2onnx.optimizer.transpose_optimizer import TransposeOptimizer

NAME = "optimize_transpose"  # key of the optimizer in tf2onnx


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


@contextlib.contextmanager
def right_shapes() -> Iterator[None]:
    """Within the context, tf2onnx uses `Transposes` in place of its own optimizer."""
    optimizers = optimizer._get_optimizers()
    own = optimizers[NAME]
    optimizers[NAME] = Transposes
    try:
        yield
    finally:
        optimizers[NAME] = own
