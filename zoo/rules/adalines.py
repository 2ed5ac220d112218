"""Base of the rules of Adalines, which are trained one row at a time."""

import keras
from keras import ops

from zoo.errors import ZooError
from zoo.layers import RBFOutput
from zoo.rules.rule import Rule
from zoo.types import Config, Tensor


class AdalineRule(Rule):
    """A rule that adapts Adalines by alpha-LMS: each step removes a share alpha of the error, for any input.

    A subclass defines the layers of its machine and the step on one row. The weights of a layer are (inputs + 1, units): the
    last row is the bias, whose input is always 1.

    Args:
        alpha: the share; a step changes the error of an adapted unit to (1 - alpha) times the error.

    Raises:
        ValueError: if `alpha` is not within (0, 2), where the error shrinks.
    """

    machine = ()  # classes of the layers between the flattened image and the RBFOutput, if there is one

    def __init__(self, alpha: float) -> None:
        if not 0 < alpha < 2:
            raise ValueError(f"alpha must be within (0, 2). Received: alpha={alpha}")
        self.alpha = alpha

    def prepare(self, net: keras.Model, rows: int, presentations: int) -> None:
        self.layers(net)

    def layers(self, net: keras.Model) -> list[keras.layers.Layer]:
        """Return the layers of the machine.

        Raises:
            zoo.ZooError: if the network is another machine.
        """
        around = (keras.layers.InputLayer, keras.layers.Flatten, RBFOutput)
        found = [layer for layer in net.layers if not isinstance(layer, around)]
        if [type(layer) for layer in found] != list(self.machine) or not all(map(_is_linear, found)):
            expected, given = (", ".join(each) for each in (_names(self.machine), _names(map(type, found))))
            raise ZooError(
                f"{type(self).__name__} trains a network of {expected}, with biases and without activations; {net.name} "
                f"has {given}"
            )
        return found

    def train_on_batch(self, net: keras.Model, x: Tensor, labels: Tensor) -> Tensor:
        layers = self.layers(net)
        adalines = [layer for layer in layers if isinstance(layer, keras.layers.Dense)]
        weights = tuple(ops.concatenate([layer.kernel, layer.bias[None]], axis=0) for layer in adalines)
        inputs = with_bias_input(ops.reshape(ops.cast(x, weights[0].dtype), (-1, weights[0].shape[0] - 1)))
        targets = ops.cast(_targets(net, labels), weights[0].dtype)

        def body(row, state):
            weights, sums = state
            weights, before = self.step(layers, weights, inputs[row], targets[row])
            return weights, ops.slice_update(sums, (row, 0), before[None])

        state = weights, ops.zeros((ops.shape(inputs)[0], adalines[-1].units), weights[0].dtype)
        weights, scores = ops.fori_loop(0, ops.shape(inputs)[0], body, state)
        for layer, values in zip(adalines, weights, strict=True):
            layer.kernel.assign(values[:-1])
            layer.bias.assign(values[-1])
        for layer in net.layers[net.layers.index(adalines[-1]) + 1 :]:
            scores = layer(scores)
        return scores

    def step(
        self, layers: list[keras.layers.Layer], weights: tuple[Tensor, ...], x: Tensor, target: Tensor
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Train on one row.

        Args:
            layers: layers of the machine.
            weights: weights of its layers of Adalines, each (inputs + 1, units).
            x: (inputs + 1,) row; the last input is 1.
            target: (outputs,) desired outputs of the machine.

        Returns:
            The weights after the step, and the linear sums of the last Adalines before it, (units,).
        """
        raise NotImplementedError

    def get_config(self) -> Config:
        return {"alpha": self.alpha}


def minimal_change(weights: Tensor, x: Tensor, change: Tensor) -> Tensor:
    """Return the weights nearest to `weights` whose sums on x differ by `change`; where it is 0 they are equal, to the bit.

    Args:
        weights: (inputs + 1, units).
        x: (inputs + 1,).
        change: (units,).
    """
    return weights + ops.outer(x, change) / ops.sum(ops.square(x))


def with_bias_input(x: Tensor) -> Tensor:
    """Return inputs, (..., inputs), with the constant 1 of the bias appended."""
    return ops.concatenate([x, ops.ones_like(x[..., :1])], axis=-1)


def _targets(net, labels):
    """Return the desired outputs, (batch, outputs): the prototypes of the classes, or +1 for the class and -1 for others."""
    labels = ops.cast(ops.reshape(labels, (-1,)), "int32")
    if isinstance(net.layers[-1], RBFOutput):
        return ops.take(ops.convert_to_tensor(net.layers[-1].prototypes), labels, axis=0)
    return 2 * ops.one_hot(labels, net.output_shape[-1]) - 1


def _is_linear(layer):
    return not isinstance(layer, keras.layers.Dense) or (layer.use_bias and layer.activation is keras.activations.linear)


def _names(classes):
    return [each.__name__ for each in classes]
