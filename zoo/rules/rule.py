from collections.abc import Mapping
from typing import Any

import keras

from zoo.types import Config, Tensor


class Rule:
    """Base class of learning rules that are not gradient descent: they compute the weights from images and labels.

    Register a subclass with Keras, like a loss, so that cards and recipes can name it. `training.fit` uses the rule instead
    of a loss and an optimizer. Without it, call `rule.train_on_batch(net, x, labels)`.
    """

    def options(self, rows: int) -> dict[str, Any]:
        """Return arguments for the builder of the network that depend on the data. Options of a recipe override them.

        Args:
            rows: number of images in the training split.
        """
        return {}

    def prepare(self, net: keras.Model, rows: int, presentations: int) -> None:
        """Check before training that this rule can train a network.

        Args:
            net: built Keras model.
            rows: number of images in the training split.
            presentations: number of images that the run presents in all, with repetitions.

        Raises:
            zoo.ZooError: if it cannot.
        """

    def train_on_batch(self, net: keras.Model, x: Tensor, labels: Tensor) -> Tensor:
        """Train a network on a batch. Rules of machines that learned online process one row after the other.

        Args:
            net: Keras model; its weights are changed.
            x: (batch, height, width, channels) preprocessed images.
            labels: (batch,) int class indices.

        Returns:
            (batch, classes) scores of the network before it was trained on them.
        """
        raise NotImplementedError

    def get_config(self) -> Config:
        """Return the arguments of the constructor."""
        return {}

    @classmethod
    def from_config(cls, config: Config) -> "Rule":
        """Return the rule of a configuration."""
        return cls(**config)


def get(described: Mapping[str, Any]) -> Rule:
    """Return the rule of a serialized Keras object.

    Args:
        described: mapping with `class_name` and `config`.

    Raises:
        ValueError: if there is no such rule, or its arguments are wrong.
    """
    rule = keras.saving.deserialize_keras_object(dict(described))
    if not isinstance(rule, Rule):
        raise ValueError(f"no rule is named {described['class_name']}. Received: {described}")
    return rule
