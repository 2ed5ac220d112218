import keras
import numpy as np
from keras import ops

from zoo.errors import ZooError
from zoo.layers.s_cells import SCells
from zoo.rules.rule import Rule


@keras.saving.register_keras_serializable("zoo")
class SeedCells(Rule):
    """Let S-planes find features without a teacher, then teach a linear read-out of the last C-cells.

    At each of the first presentations, in all S-layers at once: the largest answer in each S-column is a candidate; of the
    candidates in a plane the largest is its seed cell; the plane's connections grow by Δa = q·c·u_C and Δb = q/2·v_C, u_C
    and v_C as the seed cell sees them. No label has a part in it.

    From then on the planes stay, and the read-out learns from the labels by the delta rule of softmax, a batch at a time.
    The paper has no read-out: there a person looks which plane answers.

    Args:
        q: for each S-layer, how much one presentation reinforces.
        column: side of an S-column in cells; where the layer is smaller it is one column. There is one around every cell
            that has a whole one around it: a reconstruction, the paper says that they overlap.
        presentations: how many pictures the planes learn from; the batch in which the number is reached is learned whole.
        rate: of the delta rule, whose step is divided by the square length of the features: stable below 4, and for more
            where the features of one picture differ from those of the next.

    References:
        Fukushima (1980), Neocognitron, Biological Cybernetics 36, section 3.
    """

    def __init__(self, q=(1.0, 16.0, 16.0), column=5, presentations=100, rate=1.0):
        self.q = tuple(q)
        self.column = column
        self.presentations = presentations
        self.rate = rate

    def prepare(self, net, rows, presentations):
        found = len(self._planes(net))
        if found != len(self.q) or not isinstance(net.layers[-1], keras.layers.Dense):
            raise ZooError(
                f"SeedCells with {len(self.q)} values of q teaches a net of as many layers of S-cells and a Dense read-out; "
                f"{net.name} has {found} and ends in a {type(net.layers[-1]).__name__}"
            )
        if presentations < self.presentations:
            raise ZooError(
                f"the planes learn from the first {self.presentations:,} presentations and the run has {presentations:,}: "
                f"the read-out would learn nothing; --set rule.config.presentations={presentations // 2}, or more epochs"
            )

    @staticmethod
    def _planes(net):
        return [layer for layer in net.layers if isinstance(layer, SCells)]

    def learn(self, net, x, labels):
        *_, readout = net.layers
        layers = self._planes(net)
        young = layers[0].shown < self.presentations
        features = x
        for layer in net.layers[1:-1]:
            features = layer(features)
        scores = readout(features)
        error = ops.one_hot(labels, scores.shape[-1], dtype=scores.dtype) - ops.softmax(scores)
        # Divided by the features' square length, the step depends neither on their number nor on their size.
        step = ops.matmul(ops.transpose(features), error) / ops.maximum(ops.sum(ops.square(features)), 1e-6)

        before = [value for layer in layers for value in (ops.convert_to_tensor(layer.a), ops.convert_to_tensor(layer.b))]
        after = ops.cond(young, lambda: self._present_all(net, x, before), lambda: before)
        readout.kernel.assign_add(ops.where(young, 0.0, self.rate) * step)
        for layer, a, b in zip(layers, after[::2], after[1::2], strict=True):
            layer.a.assign(a)
            layer.b.assign(b)
            layer.shown.assign_add(ops.cast(ops.shape(x)[0], "int32"))
        return scores

    def _present_all(self, net, x, connections):
        """Return the connections [a, b, a, b, ...] of the S-layers after one row of x after the other."""

        def present(row, connections):
            return self._present(net, ops.take(x, [row], axis=0), connections)

        return ops.fori_loop(0, ops.shape(x)[0], present, connections)

    def _present(self, net, u, connections):
        """Return the connections after one picture, (1, height, width, channels)."""
        learned = []
        for layer in net.layers[1:-1]:
            if len(learned) == len(connections):
                break
            if isinstance(layer, SCells):
                a, b = connections[len(learned) : len(learned) + 2]
                answers = layer.respond(u, a, b)
                more_a, more_b = self.reinforcement(layer, u, answers)
                q = self.q[len(learned) // 2]
                learned += [a + q * more_a, b + q * more_b]
                u = answers
            else:
                u = layer(u)
        return learned

    def reinforcement(self, layer, u, answers):
        """Return (Δa, Δb) for q = 1, zero for a plane without a seed cell.

        Args:
            layer: `SCells`.
            u: (1, height, width, planes below), what it sees.
            answers: (1, height, width, planes), its u_S.
        """
        _, height, width, planes = answers.shape
        seeds, found = self._seeds(ops.reshape(answers, (-1,)), height, width, planes)
        bordered = layer.bordered(u)
        places = ops.take(ops.convert_to_tensor(_windows(bordered.shape[1], bordered.shape[2], layer.window)), seeds, axis=0)
        seen = ops.take(ops.reshape(bordered, (-1, bordered.shape[-1])), places, axis=0)  # planes, window², planes below
        seen = ops.reshape(ops.transpose(seen, (1, 2, 0)), layer.a.shape)
        a = ops.cast(layer.c[..., None, None], u.dtype) * seen
        b = ops.take(ops.reshape(layer.inhibition(u), (-1,)), seeds) / 2
        found = ops.cast(found, u.dtype)
        return a * found, b * found

    def _seeds(self, answers, height, width, planes):
        """Return for each plane the position of its seed cell, row * width + column, and whether it has one."""
        positions = _windows(height, width, min(self.column, height, width))
        columns = (positions[:, :, None] * planes + np.arange(planes)).reshape(len(positions), -1).astype("int32")
        inside = ops.take(answers, columns)
        cell = ops.take_along_axis(ops.convert_to_tensor(columns), ops.argmax(inside, axis=1)[:, None], axis=1)
        own = ops.equal(cell % planes, np.arange(planes, dtype="int32"))  # candidate, plane
        strength = ops.where(own, ops.max(inside, axis=1, keepdims=True), 0.0)
        seeds = ops.take(cell[:, 0] // planes, ops.argmax(strength, axis=0))
        return seeds, ops.max(strength, axis=0) > 0

    def get_config(self):
        return {"q": list(self.q), "column": self.column, "presentations": self.presentations, "rate": self.rate}


def _windows(height, width, size):
    """Return the places, row * width + column, in each window that lies whole in a field: (windows, size²) int32."""
    field = np.arange(height * width, dtype="int32").reshape(height, width)
    return np.lib.stride_tricks.sliding_window_view(field, (size, size)).reshape(-1, size**2)
