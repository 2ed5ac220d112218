import math

import keras
from keras import ops

from zoo.layers.signum import signum
from zoo.layers.traits import Traits
from zoo.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class FixedLogic(keras.layers.Layer):
    """Fixed logic elements of a Madaline: each votes over one group of Adalines and says yes if at least m of them do.

    AND needs all of the group, OR one, the majority more than half. The inputs are the linear sums of the Adalines, which
    the layer thresholds. The score of a group is votes - (m - 1/2) + b, so it is positive if and only if the element says
    yes. The term b = softsign(mean sum) / 4 is within ±1/4 and ranks groups with equally many votes. It is a reconstruction:
    the machine had one group and needed no ranking.

    Input shape: (..., groups * units). Output shape: (..., groups).

    Args:
        units: number of Adalines per group; those of one group are adjacent.
        logic: "majority", "and" or "or".

    Raises:
        ValueError: if `logic` is unknown; at build, if the inputs are not a whole number of groups.

    References:
        Widrow (1962), Generalization and information storage in networks of Adaline "neurons".
    """

    traits = Traits()

    def __init__(self, units: int, logic: str = "majority", **kwargs) -> None:
        super().__init__(**kwargs)
        needed = {"majority": units // 2 + 1, "and": units, "or": 1}
        if logic not in needed:
            raise ValueError(f"{self.name}: logic must be one of {', '.join(needed)}. Received: logic={logic!r}")
        self.units = units
        self.logic = logic
        self.needed = needed[logic]

    def build(self, input_shape: Shape) -> None:
        if input_shape[-1] % self.units:
            raise ValueError(
                f"{self.name}: the inputs must be groups of {self.units}. Received: input_shape={tuple(input_shape)}"
            )

    def groups(self, sums: Tensor) -> Tensor:
        """Return linear sums, (..., groups * units), by group: (..., groups, units)."""
        return ops.reshape(sums, (-1, *sums.shape[1:-1], sums.shape[-1] // self.units, self.units))

    def call(self, sums: Tensor) -> Tensor:
        sums = self.groups(sums)
        votes = ops.sum(signum(sums) + 1, axis=-1) / 2
        return votes - (self.needed - 0.5) + ops.softsign(ops.mean(sums, axis=-1)) / 4

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], input_shape[-1] // self.units)

    def connections(self) -> tuple[int, int]:
        """Return (connections, multiply-accumulates) for one image: one wire of weight 1 from each Adaline."""
        wires = math.prod(self.output.shape[1:]) * self.units
        return wires, wires

    def get_config(self) -> Config:
        return {**super().get_config(), "units": self.units, "logic": self.logic}
