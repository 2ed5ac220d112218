"""Learning rates by the number of the step, as published solvers set them."""

import keras
from keras import ops

Schedule = keras.optimizers.schedules.LearningRateSchedule


@keras.saving.register_keras_serializable("training")
class EpochSteps(Schedule):
    """A rate for each stretch of epochs: `values[0]` until `boundaries[0]` epochs are done, then `values[1]`, and so on.

    Args:
        values: the rates.
        boundaries: after how many epochs the next one holds; one fewer than the values.
        steps_per_epoch: steps of an epoch; a recipe leaves it out, and gets that of its data.

    Raises:
        ValueError: if there are not as many boundaries, if they do not rise, or if an epoch has no step.

    References:
        Krizhevsky, Sutskever, Hinton (2012), section 5: "divide the learning rate by 10 when the validation error rate
        stopped improving"; when that was is in the logs of the authors' code.
    """

    def __init__(self, values, boundaries, steps_per_epoch):
        if len(boundaries) != len(values) - 1 or list(boundaries) != sorted(set(boundaries)):
            raise ValueError(
                f"There must be one boundary fewer than values, and they must rise. "
                f"Received: values={values}, boundaries={boundaries}"
            )
        if steps_per_epoch < 1:
            raise ValueError(f"An epoch has one step or more. Received: steps_per_epoch={steps_per_epoch}")
        self.values = list(values)
        self.boundaries = list(boundaries)
        self.steps_per_epoch = steps_per_epoch

    def __call__(self, step):
        step = ops.cast(step, "int32")
        rate = ops.convert_to_tensor(self.values[0], "float32")
        for boundary, value in zip(self.boundaries, self.values[1:], strict=True):
            rate = ops.where(step >= round(boundary * self.steps_per_epoch), value, rate)
        return rate

    def get_config(self):
        return {"values": self.values, "boundaries": self.boundaries, "steps_per_epoch": self.steps_per_epoch}


@keras.saving.register_keras_serializable("training")
class CaffeInverse(Schedule):
    """Caffe's policy "inv": initial_learning_rate · (1 + gamma · step)^-power. Keras' InverseTimeDecay has no power.

    Args:
        initial_learning_rate: Caffe's base_lr.
        gamma, power: as in Caffe.

    References:
        Jia et al. (2014), Caffe, `SGDSolver::GetLearningRate`.
    """

    def __init__(self, initial_learning_rate, gamma, power):
        self.initial_learning_rate = initial_learning_rate
        self.gamma = gamma
        self.power = power

    def __call__(self, step):
        return self.initial_learning_rate * (1.0 + self.gamma * ops.cast(step, "float32")) ** -self.power

    def get_config(self):
        return {"initial_learning_rate": self.initial_learning_rate, "gamma": self.gamma, "power": self.power}
