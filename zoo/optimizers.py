"""The optimizers that Keras lacks."""

import keras
from keras import ops

from zoo.errors import did_you_mean


@keras.saving.register_keras_serializable("zoo")
class MomentumWithDecay(keras.optimizers.Optimizer):
    """Momentum with the weight decay inside: v <- m v - rate (g + decay w), w <- w + v; biases have a rate of their own.

    Keras' `weight_decay` is another one, which shrinks the weights beside the update and has no momentum.

    Args:
        learning_rate: of all but the biases; a number or a Keras schedule.
        momentum: m.
        weight_decay: of all but the biases.
        bias_rate: what variables named "bias" learn at, in learning rates.
        bias_decay: whether biases decay too, as in Caffe.
        rates: dict of a layer's name to the number or schedule that it has for a learning rate instead; its bias learns at
            `bias_rate` times that. At rate 0 a layer stops as its momentum runs out.
        decays: dict of a layer's name to the weight decay that it has instead.
        name, **kwargs: as for `keras.optimizers.Optimizer`.

    Raises:
        ValueError: if the momentum is not from 0 to below 1, if a rate is neither number nor schedule; when built, if
            `rates` or `decays` names no layer that learns.

    References:
        Krizhevsky, Sutskever, Hinton (2012), section 5; the rates and decays of single layers: the files of layer parameters
        of cuda-convnet. Jia et al. (2014), Caffe, `SGDSolver`.
    """

    def __init__(
        self,
        learning_rate=0.01,
        momentum=0.9,
        weight_decay=0.0005,
        bias_rate=2.0,
        bias_decay=False,
        rates=None,
        decays=None,
        name=None,
        **kwargs,
    ):
        super().__init__(learning_rate, name=name, **kwargs)  # not told of the decay, which Keras would apply beside
        if not 0 <= momentum < 1:
            raise ValueError(f"The momentum must be from 0 to below 1. Received: momentum={momentum}")
        self.momentum = momentum
        self.inner_decay = weight_decay
        self.bias_rate = bias_rate
        self.bias_decay = bias_decay
        self.rates = {layer: _rate(layer, given) for layer, given in (rates or {}).items()}
        self.decays = dict(decays or {})

    def build(self, variables):
        if self.built:
            return
        layers = dict.fromkeys(layer for variable in variables for layer in _layers(variable))
        for table in ("rates", "decays"):
            for layer in getattr(self, table):
                if layer not in layers:
                    near = did_you_mean(layer, layers)
                    raise ValueError(f"{table} names '{layer}', and no layer that learns has that name{near}")
        super().build(variables)
        self.velocities = self.add_optimizer_variables(variables, "velocity")

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        named = self._trainable_variables[index]  # what is given may be a variable of the backend, without a path
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

    def get_config(self):
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
    """Return a layer's rate: a number, or a schedule, which may come as its configuration."""
    rate = keras.optimizers.schedules.deserialize(given) if isinstance(given, dict) else given
    number = isinstance(rate, int | float) and not isinstance(rate, bool)
    if not number and not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        raise ValueError(f"The rate of {layer} must be a number or a schedule. Received: {given}")
    return rate


def _layers(variable):
    """Return the names of the layers that a variable lies in, the innermost first."""
    return variable.path.split("/")[-2::-1]


def _of(table, variable, otherwise):
    """Return what a table has for the layer of a variable."""
    return next((table[layer] for layer in _layers(variable) if layer in table), otherwise)
