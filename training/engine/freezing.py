"""Freezing of pretrained layers while a new output layer is trained above them."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from training.engine.trainer import Trainer


class GradualUnfreezing:
    """Freeze pretrained layers for some steps; scale their updates after that.

    It works with any optimizer, because it scales the change that a step makes to the pretrained variables.

    Args:
        new_layers: names of the layers that are new and trained from the first step on.
        frozen_steps: number of steps in which the other layers are frozen.
        update_scale: factor on their later updates, above 0 and at most 1.
    """

    def __init__(self, new_layers: Iterable[str], frozen_steps: int, update_scale: float) -> None:
        self.new_layers = frozenset(new_layers)
        self.frozen_steps = frozen_steps
        self.update_scale = update_scale

    def train_step(self, trainer: "Trainer", step: Callable, data: Any) -> dict:
        """Take a step that changes variables in place, and return its logs.

        Args:
            trainer: the model that is trained.
            step: Keras' own `train_step`.
            data: its batch.
        """
        pretrained = [variable for variable in trainer.trainable_variables if self._is_pretrained(variable)]
        before = [keras.ops.copy(variable) for variable in pretrained]
        scale = self._scale(trainer.optimizer.iterations)
        logs = step(data)
        for variable, value in zip(pretrained, before, strict=True):
            variable.assign(value + scale * (variable - value))
        return logs

    def stateless_train_step(self, trainer: "Trainer", step: Callable, state: tuple, data: Any) -> tuple:
        """Take a step on JAX, a function from the values of all variables to their next values.

        Args:
            trainer: the model that is trained.
            step: Keras' own `train_step`.
            state: values of the trainable, non-trainable, optimizer and metrics variables.
            data: its batch.

        Returns:
            (logs, next state).
        """
        optimizer = trainer.optimizer
        place = next(i for i, each in enumerate(optimizer.variables) if each is optimizer.iterations)
        scale = self._scale(state[2][place])
        logs, (trainable, *rest) = step(state, data)
        trainable = [
            before + scale * (after - before) if self._is_pretrained(variable) else after
            for variable, before, after in zip(trainer.trainable_variables, state[0], trainable, strict=True)
        ]
        return logs, (trainable, *rest)

    def _is_pretrained(self, variable):
        return not self.new_layers & set(variable.path.split("/"))

    def _scale(self, iterations):
        return keras.ops.where(iterations < self.frozen_steps, 0.0, self.update_scale)
