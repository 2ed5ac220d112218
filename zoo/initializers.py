"""Starting weights that Keras lacks."""

import keras
import numpy as np


@keras.saving.register_keras_serializable("zoo")
class FanInUniform(keras.initializers.Initializer):
    """Draw from U(±gain/F), F the fan-in: the start of the nets of the 1990s.

    Keras' own fan-in starts divide by the square root of F; this one divides by F, as the paper says.

    Args:
        fan_in: F, a number of inputs, or a list of them, one for each entry of the weight's last axis.
        gain: numerator of the bound.
        seed: an int, or None for a new draw at every call.

    References:
        LeCun et al. (1998): uniform within ±2.4/F_i, F_i the number of inputs of the unit.
    """

    def __init__(self, fan_in, gain=2.4, seed=None):
        self.fan_in = fan_in
        self.gain = gain
        self.seed = seed

    def __call__(self, shape, dtype=None):
        dtype = dtype or keras.config.floatx()
        limit = self.gain / np.asarray(self.fan_in, "float32")
        unit = keras.random.uniform(shape, -1.0, 1.0, dtype=dtype, seed=self.seed)
        return unit * keras.ops.cast(limit, dtype)

    def get_config(self):
        return {"fan_in": self.fan_in, "gain": self.gain, "seed": self.seed}
