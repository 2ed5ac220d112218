import math

import keras
from keras import ops

from zoo.layers.signum import signum
from zoo.layers.traits import Traits


@keras.saving.register_keras_serializable("zoo")
class FixedLogic(keras.layers.Layer):
    """Let a fixed logic element decide over each group of Adalines: yes if at least m of the group say yes.

    AND needs all of them, OR one, the majority more than half. It takes the linear sums of the Adalines, of which it
    thresholds each, and scores a group with votes - (m - 1/2) + b. So a score is positive if, and only if, the element says
    yes. The part b, softsign of the mean sum divided by 4, is within ±1/4: it orders groups with equally many votes. The
    machine had one group and no such need: a reconstruction.

    Args:
        units: Adalines a group; those of a group lie side by side.
        logic: "majority", "and" or "or".

    Raises:
        ValueError: if there is no such logic; at build, if the input is not whole groups.

    References:
        Widrow (1962), Generalization and information storage in networks of Adaline "neurons".
    """

    traits = Traits()

    def __init__(self, units, logic="majority", **kwargs):
        super().__init__(**kwargs)
        needed = {"majority": units // 2 + 1, "and": units, "or": 1}
        if logic not in needed:
            raise ValueError(f"{self.name}: logic must be one of {', '.join(needed)}. Received: logic={logic!r}")
        self.units = units
        self.logic = logic
        self.needed = needed[logic]

    def build(self, input_shape):
        if input_shape[-1] % self.units:
            raise ValueError(
                f"{self.name}: the input must be groups of {self.units}. Received: input_shape={tuple(input_shape)}"
            )

    def groups(self, sums):
        """Return linear sums by group, (..., groups, units)."""
        return ops.reshape(sums, (-1, *sums.shape[1:-1], sums.shape[-1] // self.units, self.units))

    def call(self, sums):
        sums = self.groups(sums)
        votes = ops.sum(signum(sums) + 1, axis=-1) / 2
        return votes - (self.needed - 0.5) + ops.softsign(ops.mean(sums, axis=-1)) / 4

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] // self.units)

    def connections(self):
        """Return (connections, multiply-accumulates) of one picture: each Adaline is wired to its element, with weight 1."""
        wires = math.prod(self.output.shape[1:]) * self.units
        return wires, wires

    def get_config(self):
        return {**super().get_config(), "units": self.units, "logic": self.logic}
