"""Fine-tuning that keeps what was learned: it rests while a new layer learns alone, then changes more slowly."""

import keras


class Thaw:
    """Learning of a net of which a part has learned before: that part rests for some steps, then learns more slowly.

    It holds for any optimizer: of what a step changes in that part nothing is kept at first, and then a share.

    Args:
        new: names of the layers that are new, and learn as they would.
        steps: for how many steps the others rest.
        share: of each of their later changes, from above 0 to 1.
    """

    def __init__(self, new, steps, share):
        self.new = frozenset(new)
        self.steps = steps
        self.share = share

    def step(self, trainer, step, data):
        """Take a step where variables are changed in place."""
        old = [variable for variable in trainer.trainable_variables if self._is_old(variable)]
        before = [keras.ops.copy(variable) for variable in old]
        kept = self._kept(trainer.optimizer.iterations)
        logs = step(data)
        for variable, value in zip(old, before, strict=True):
            variable.assign(value + kept * (variable - value))
        return logs

    def step_on_jax(self, trainer, step, state, data):
        """Take a step that is a function from the values of all variables to their next ones."""
        optimizer = trainer.optimizer
        place = next(i for i, each in enumerate(optimizer.variables) if each is optimizer.iterations)
        kept = self._kept(state[2][place])
        logs, (trainable, *rest) = step(state, data)
        trainable = [
            before + kept * (after - before) if self._is_old(variable) else after
            for variable, before, after in zip(trainer.trainable_variables, state[0], trainable, strict=True)
        ]
        return logs, (trainable, *rest)

    def _is_old(self, variable):
        return not self.new & set(variable.path.split("/"))

    def _kept(self, iterations):
        return keras.ops.where(iterations < self.steps, 0.0, self.share)
