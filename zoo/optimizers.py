"""Optimizers that Keras lacks."""

from collections.abc import Mapping

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from zoo.errors import did_you_mean
from zoo.types import Config, Tensor


@keras.saving.register_keras_serializable("zoo")
class MomentumWithDecay(keras.optimizers.Optimizer):
    """SGD with momentum and coupled weight decay: v <- m v - rate (g + decay w), w <- w + v. Biases have their own rate.

    Keras' `weight_decay` is decoupled: it shrinks the weights in addition to the update, without momentum.

    Args:
        learning_rate: learning rate of all weights but the biases, a number or a Keras schedule.
        momentum: m, from 0 to below 1.
        weight_decay: weight decay of all weights but the biases.
        bias_rate: learning rate of variables named "bias", as a multiple of the learning rate.
        bias_decay: apply the weight decay to biases too, as Caffe does.
        rates: learning rates of single layers, by layer name: numbers or schedules. The bias of the layer has `bias_rate`
            times that. A layer with rate 0 stops when its momentum has died out.
        decays: weight decays of single layers, by layer name.
        **kwargs: as for `keras.optimizers.Optimizer`.

    Raises:
        ValueError: if the momentum is not from 0 to below 1, or a rate is neither a number nor a schedule; at build, if
            `rates` or `decays` names no layer that is trained.

    References:
        Krizhevsky, Sutskever, Hinton (2012), section 5; the rates and decays of single layers: the files of layer parameters
        of cuda-convnet. Jia et al. (2014), Caffe, `SGDSolver`.
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 0.0005,
        bias_rate: float = 2.0,
        bias_decay: bool = False,
        rates: Mapping[str, float | dict | LearningRateSchedule] | None = None,
        decays: Mapping[str, float] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(learning_rate, **kwargs)  # without the weight decay, which Keras would apply in its own way
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be from 0 to below 1. Received: momentum={momentum}")
        self.momentum = momentum
        self.inner_decay = weight_decay
        self.bias_rate = bias_rate
        self.bias_decay = bias_decay
        self.rates = {layer: _rate(layer, given) for layer, given in (rates or {}).items()}
        self.decays = dict(decays or {})

    def build(self, variables: list[keras.Variable]) -> None:
        if self.built:
            return
        layers = dict.fromkeys(layer for variable in variables for layer in _layers(variable))
        for table in ("rates", "decays"):
            for layer in getattr(self, table):
                if layer not in layers:
                    near = did_you_mean(layer, layers)
                    raise ValueError(f"{table} names '{layer}', but no layer that is trained has that name{near}")
        super().build(variables)
        self.velocities = self.add_optimizer_variables(variables, "velocity")

    def update_step(self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor) -> None:
        index = self._get_variable_index(variable)
        named = self._trainable_variables[index]  # `variable` may be a variable of the backend, without a path
        rate, decay = _of(self.rates, named, learning_rate), _of(self.decays, named, self.inner_decay)
        rate = ops.cast(rate(self._iterations) if callable(rate) else rate, variable.dtype)
        if named.name == "bias":
            rate, decay = rate * self.bias_rate, decay if self.bias_decay else 0.0
        gradient = ops.cast(gradient, variable.dtype)
        if decay:
            gradient = gradient + decay * variable
        velocity = self.velocities[index]
        self.assign(velocity, self.momentum * velocity - rate * gradient)
        self.assign_add(variable, velocity)

    def get_config(self) -> Config:
        rates = {layer: keras.saving.serialize_keras_object(rate) for layer, rate in self.rates.items()}
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "weight_decay": self.inner_decay,
            "bias_rate": self.bias_rate,
            "bias_decay": self.bias_decay,
            "rates": rates,
            "decays": dict(self.decays),
        }


def _rate(layer, given):
    """Return the rate of a layer, a number or a schedule; a schedule may be given by its configuration."""
    rate = keras.optimizers.schedules.deserialize(given) if isinstance(given, dict) else given
    number = isinstance(rate, int | float) and not isinstance(rate, bool)
    if not number and not isinstance(rate, LearningRateSchedule):
        raise ValueError(f"the rate of {layer} must be a number or a schedule. Received: {given}")
    return rate


def _layers(variable):
    """Return the names of the layers that contain a variable, the innermost first."""
    return variable.path.split("/")[-2::-1]


def _of(table, variable, default):
    """Return the value of a table for the layer of a variable."""
    return next((table[layer] for layer in _layers(variable) if layer in table), default)
