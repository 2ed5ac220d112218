"""Learning-rate schedules of published solvers."""

from collections.abc import Sequence

import keras
from keras import ops

from zoo.types import Config, Tensor

Schedule = keras.optimizers.schedules.LearningRateSchedule


@keras.saving.register_keras_serializable("training")
class EpochSteps(Schedule):
    """A piecewise constant rate, in epochs: `values[0]` until `boundaries[0]` epochs are done, then `values[1]`, and so on.

    Args:
        values: learning rates.
        boundaries: numbers of epochs after which the next rate is used; one fewer than the values.
        steps_per_epoch: steps of an epoch. A recipe omits it and gets the value of its data.

    Raises:
        ValueError: if the number of boundaries is wrong, they do not increase, or `steps_per_epoch` is below 1.

    References:
        Krizhevsky, Sutskever, Hinton (2012), section 5: "divide the learning rate by 10 when the validation error rate
        stopped improving"; the epochs are in the logs of the authors' code.
    """

    def __init__(self, values: Sequence[float], boundaries: Sequence[float], steps_per_epoch: int) -> None:
        if len(boundaries) != len(values) - 1 or list(boundaries) != sorted(set(boundaries)):
            raise ValueError(
                f"There must be one boundary fewer than values, and they must rise. "
                f"Received: values={values}, boundaries={boundaries}"
            )
        if steps_per_epoch < 1:
            raise ValueError(f"An epoch must have at least one step. Received: steps_per_epoch={steps_per_epoch}")
        self.values = list(values)
        self.boundaries = list(boundaries)
        self.steps_per_epoch = steps_per_epoch

    def __call__(self, step: Tensor) -> Tensor:
        step = ops.cast(step, "int32")
        rate = ops.convert_to_tensor(self.values[0], "float32")
        for boundary, value in zip(self.boundaries, self.values[1:], strict=True):
            rate = ops.where(step >= round(boundary * self.steps_per_epoch), value, rate)
        return rate

    def get_config(self) -> Config:
        return {"values": self.values, "boundaries": self.boundaries, "steps_per_epoch": self.steps_per_epoch}


@keras.saving.register_keras_serializable("training")
class CaffeInverse(Schedule):
    """Caffe's policy "inv": initial_learning_rate · (1 + gamma · step)^-power. Keras' InverseTimeDecay has no power.

    Args:
        initial_learning_rate: Caffe's `base_lr`.
        gamma: Caffe's `gamma`.
        power: Caffe's `power`.

    References:
        Jia et al. (2014), Caffe, `SGDSolver::GetLearningRate`.
    """

    def __init__(self, initial_learning_rate: float, gamma: float, power: float) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.gamma = gamma
        self.power = power

    def __call__(self, step: Tensor) -> Tensor:
        return self.initial_learning_rate * (1.0 + self.gamma * ops.cast(step, "float32")) ** -self.power

    def get_config(self) -> Config:
        return {"initial_learning_rate": self.initial_learning_rate, "gamma": self.gamma, "power": self.power}
