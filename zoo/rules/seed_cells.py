from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from zoo.errors import ZooError
from zoo.layers.s_cells import SCells
from zoo.rules.rule import Rule
from zoo.types import Config, Tensor


@keras.saving.register_keras_serializable("zoo")
class SeedCells(Rule):
    """The Neocognitron's unsupervised rule for the S-planes, followed by supervised training of a linear read-out.

    For each of the first images, in all S-layers at once: the largest response in each S-column is a candidate; the largest
    candidate in a plane is its seed cell; the connections of the plane grow by Δa = q·c·u_C and Δb = q/2·v_C, where u_C and
    v_C are the inputs of the seed cell. Labels are not used.

    After that the planes are frozen, and the read-out is trained on the labels by the softmax delta rule, one batch at a
    time. The paper has no read-out: a person looks which plane responds.

    Args:
        q: reinforcement of one image, for each S-layer.
        column: side of an S-column, in cells. A smaller layer is one column. There is a column around every cell that is far
            enough from the border. That is a reconstruction: the paper says that columns overlap.
        presentations: number of images that train the planes. The batch that contains the last one is used as a whole.
        rate: learning rate of the delta rule, whose step is divided by the squared norm of the features. It is stable below
            4, and for more if the features of successive images differ.

    References:
        Fukushima (1980), Neocognitron, Biological Cybernetics 36, section 3.
    """

    def __init__(
        self, q: Sequence[float] = (1.0, 16.0, 16.0), column: int = 5, presentations: int = 100, rate: float = 1.0
    ) -> None:
        self.q = tuple(q)
        self.column = column
        self.presentations = presentations
        self.rate = rate

    def prepare(self, net: keras.Model, rows: int, presentations: int) -> None:
        found = len(self._planes(net))
        if found != len(self.q) or not isinstance(net.layers[-1], keras.layers.Dense):
            raise ZooError(
                f"SeedCells with {len(self.q)} values of q trains a network of as many SCells layers and a Dense read-out; "
                f"{net.name} has {found} SCells layers and ends in a {type(net.layers[-1]).__name__}"
            )
        if presentations < self.presentations:
            raise ZooError(
                f"the first {self.presentations:,} presentations train the planes and the run has {presentations:,}, so the "
                f"read-out is not trained; use --set rule.config.presentations={presentations // 2}, or more epochs"
            )

    @staticmethod
    def _planes(net):
        return [layer for layer in net.layers if isinstance(layer, SCells)]

    def train_on_batch(self, net: keras.Model, x: Tensor, labels: Tensor) -> Tensor:
        *_, readout = net.layers
        layers = self._planes(net)
        self_organizing = layers[0].shown < self.presentations
        features = x
        for layer in net.layers[1:-1]:
            features = layer(features)
        scores = readout(features)
        error = ops.one_hot(labels, scores.shape[-1], dtype=scores.dtype) - ops.softmax(scores)
        # Division by the squared norm makes the step independent of the number and scale of the features.
        step = ops.matmul(ops.transpose(features), error) / ops.maximum(ops.sum(ops.square(features)), 1e-6)

        before = [value for layer in layers for value in (ops.convert_to_tensor(layer.a), ops.convert_to_tensor(layer.b))]
        after = ops.cond(self_organizing, lambda: self._present_all(net, x, before), lambda: before)
        readout.kernel.assign_add(ops.where(self_organizing, 0.0, self.rate) * step)
        for layer, a, b in zip(layers, after[::2], after[1::2], strict=True):
            layer.a.assign(a)
            layer.b.assign(b)
            layer.shown.assign_add(ops.cast(ops.shape(x)[0], "int32"))
        return scores

    def _present_all(self, net, x, connections):
        """Return the connections [a, b, a, b, ...] of the S-layers after presenting the rows of x one by one."""

        def present(row, connections):
            return self._present(net, ops.take(x, [row], axis=0), connections)

        return ops.fori_loop(0, ops.shape(x)[0], present, connections)

    def _present(self, net, u, connections):
        """Return the connections after presenting one image, (1, height, width, channels)."""
        learned = []
        for layer in net.layers[1:-1]:
            if len(learned) == len(connections):
                break
            if isinstance(layer, SCells):
                a, b = connections[len(learned) : len(learned) + 2]
                responses = layer.respond(u, a, b)
                more_a, more_b = self.reinforcement(layer, u, responses)
                q = self.q[len(learned) // 2]
                learned += [a + q * more_a, b + q * more_b]
                u = responses
            else:
                u = layer(u)
        return learned

    def reinforcement(self, layer: SCells, u: Tensor, responses: Tensor) -> tuple[Tensor, Tensor]:
        """Return (Δa, Δb) for q = 1, of the shapes of a and b; they are zero for a plane without a seed cell.

        Args:
            layer: the S-layer.
            u: (1, height, width, input planes), its input.
            responses: (1, height, width, planes), its output u_S.
        """
        _, height, width, planes = responses.shape
        seeds, found = self._seeds(ops.reshape(responses, (-1,)), height, width, planes)
        bordered = layer.bordered(u)
        places = ops.take(ops.convert_to_tensor(_windows(bordered.shape[1], bordered.shape[2], layer.window)), seeds, axis=0)
        seen = ops.take(ops.reshape(bordered, (-1, bordered.shape[-1])), places, axis=0)  # planes, window², input planes
        seen = ops.reshape(ops.transpose(seen, (1, 2, 0)), layer.a.shape)
        a = ops.cast(layer.c[..., None, None], u.dtype) * seen
        b = ops.take(ops.reshape(layer.inhibition(u), (-1,)), seeds) / 2
        found = ops.cast(found, u.dtype)
        return a * found, b * found

    def _seeds(self, responses, height, width, planes):
        """Return, per plane, the position of its seed cell, row * width + column, and whether it has one."""
        positions = _windows(height, width, min(self.column, height, width))
        columns = (positions[:, :, None] * planes + np.arange(planes)).reshape(len(positions), -1).astype("int32")
        inside = ops.take(responses, columns)
        cell = ops.take_along_axis(ops.convert_to_tensor(columns), ops.argmax(inside, axis=1)[:, None], axis=1)
        own = ops.equal(cell % planes, np.arange(planes, dtype="int32"))  # candidate, plane
        strength = ops.where(own, ops.max(inside, axis=1, keepdims=True), 0.0)
        seeds = ops.take(cell[:, 0] // planes, ops.argmax(strength, axis=0))
        return seeds, ops.max(strength, axis=0) > 0

    def get_config(self) -> Config:
        return {"q": list(self.q), "column": self.column, "presentations": self.presentations, "rate": self.rate}


def _windows(height, width, size):
    """Return the positions, row * width + column, of each window that lies within a map: (windows, size²) int32."""
    field = np.arange(height * width, dtype="int32").reshape(height, width)
    return np.lib.stride_tricks.sliding_window_view(field, (size, size)).reshape(-1, size**2)
