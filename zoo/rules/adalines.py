"""What the rules of Adalines share: the knobs of a layer, and rows that are learned one by one."""

import keras
from keras import ops

from zoo.errors import ZooError
from zoo.layers import RBFOutput
from zoo.rules.rule import Rule


class AdalineRule(Rule):
    """A rule that adapts Adalines by alpha-LMS: each step takes a share alpha of the error away, whatever the input.

    A subclass names the layers of its machine and takes the step of one row. A layer is its knobs, (inputs + 1, units): the
    last row is the bias, whose input is always 1.

    Args:
        alpha: the share; the error of an adapted unit becomes (1 - alpha) of what it was.

    Raises:
        ValueError: if alpha is not within (0, 2), where the error shrinks.
    """

    machine = ()  # classes of the layers between the flattened picture and, where there is one, an RBFOutput

    def __init__(self, alpha):
        if not 0 < alpha < 2:
            raise ValueError(f"alpha must be within (0, 2). Received: alpha={alpha}")
        self.alpha = alpha

    def prepare(self, net, rows, presentations):
        self.layers(net)

    def layers(self, net):
        """Return the layers of the machine.

        Raises:
            zoo.ZooError: if the net is another machine.
        """
        around = (keras.layers.InputLayer, keras.layers.Flatten, RBFOutput)
        found = [layer for layer in net.layers if not isinstance(layer, around)]
        if [type(layer) for layer in found] != list(self.machine) or not all(map(_is_linear, found)):
            expected, given = (", ".join(each) for each in (_names(self.machine), _names(map(type, found))))
            raise ZooError(
                f"{type(self).__name__} teaches a net of {expected}, with biases and without activations; {net.name} "
                f"has {given}"
            )
        return found

    def learn(self, net, x, labels):
        layers = self.layers(net)
        adalines = [layer for layer in layers if isinstance(layer, keras.layers.Dense)]
        knobs = tuple(ops.concatenate([layer.kernel, layer.bias[None]], axis=0) for layer in adalines)
        inputs = with_one(ops.reshape(ops.cast(x, knobs[0].dtype), (-1, knobs[0].shape[0] - 1)))
        targets = ops.cast(_targets(net, labels), knobs[0].dtype)

        def body(row, state):
            knobs, sums = state
            knobs, before = self.step(layers, knobs, inputs[row], targets[row])
            return knobs, ops.slice_update(sums, (row, 0), before[None])

        state = knobs, ops.zeros((ops.shape(inputs)[0], adalines[-1].units), knobs[0].dtype)
        knobs, scores = ops.fori_loop(0, ops.shape(inputs)[0], body, state)
        for layer, values in zip(adalines, knobs, strict=True):
            layer.kernel.assign(values[:-1])
            layer.bias.assign(values[-1])
        for layer in net.layers[net.layers.index(adalines[-1]) + 1 :]:
            scores = layer(scores)
        return scores

    def step(self, layers, knobs, x, target):
        """Learn from one row.

        Args:
            layers: those of the machine.
            knobs: tuple of the knobs of its Adalines.
            x: (inputs + 1,) the row; the last input is 1.
            target: (outputs,) what the machine should say.

        Returns:
            The knobs afterwards, and the linear sums of the last Adalines before, (units,).
        """
        raise NotImplementedError

    def get_config(self):
        return {"alpha": self.alpha}


def turned(knobs, x, change):
    """Return knobs turned as little as changes the sums on x by so much, (units,); where that is 0 they stay, to the bit."""
    return knobs + ops.outer(x, change) / ops.sum(ops.square(x))


def with_one(x):
    """Return inputs with the 1 of the bias behind them."""
    return ops.concatenate([x, ops.ones_like(x[..., :1])], axis=-1)


def _targets(net, labels):
    """Return what the machine should say, (batch, outputs): the prototype of the class, else +1 for its output and -1."""
    labels = ops.cast(ops.reshape(labels, (-1,)), "int32")
    if isinstance(net.layers[-1], RBFOutput):
        return ops.take(ops.convert_to_tensor(net.layers[-1].prototypes), labels, axis=0)
    return 2 * ops.one_hot(labels, net.output_shape[-1]) - 1


def _is_linear(layer):
    return not isinstance(layer, keras.layers.Dense) or (layer.use_bias and layer.activation is keras.activations.linear)


def _names(classes):
    return [each.__name__ for each in classes]
