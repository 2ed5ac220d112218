from collections.abc import Callable, Sequence

import keras
import numpy as np

from zoo.initializers import FanInUniform
from zoo.layers.traits import Traits
from zoo.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class MaskedConv2D(keras.layers.Layer):
    """Convolution with a connection table: each output map sees its own subset of the input maps. Stride 1, no padding.

    The weights are only the kernels that exist, (kernel_size, kernel_size, pairs), where a pair is one entry of the table. A
    mask over a full kernel would count, decay and save weights that LeNet-5 never had.

    Input shape: (batch, height, width, maps). Output shape: (batch, height - kernel_size + 1, width - kernel_size + 1,
    output maps).

    Args:
        table: for each output map, the list of the input maps that it sees, counted from 0.
        kernel_size: side of the square kernels, in pixels.
        kernel_initializer: Keras initializer. Default: the paper's U(±2.4/F), where F is the connected fan-in of each map.
        bias_initializer: Keras initializer. Default: likewise.

    Raises:
        ValueError: if an output map sees no map, or one map twice; at build, if the input lacks a map of the table.

    References:
        LeCun et al. (1998), table I and section II.B, layer C3.
    """

    traits = Traits()

    def __init__(
        self,
        table: Sequence[Sequence[int]],
        kernel_size: int,
        kernel_initializer: str | dict | Callable | None = None,
        bias_initializer: str | dict | Callable | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.table = [list(seen) for seen in table]
        self.kernel_size = kernel_size
        if not self.table:
            raise ValueError(f"{self.name}: the table has no output map. Received: {table}")
        for number, seen in enumerate(self.table):
            if not seen or len(set(seen)) != len(seen):
                raise ValueError(f"{self.name}: output map {number} must see each of its maps once. Received: {seen}")
        fan_in = [kernel_size**2 * len(seen) for seen in self.table]
        fan_in_of_pair = [fan for fan, seen in zip(fan_in, self.table, strict=True) for _ in seen]
        self.kernel_initializer = keras.initializers.get(kernel_initializer or FanInUniform(fan_in_of_pair))
        self.bias_initializer = keras.initializers.get(bias_initializer or FanInUniform(fan_in))

    def build(self, input_shape: Shape) -> None:
        maps = input_shape[-1]
        missing = {source for seen in self.table for source in seen} - set(range(maps))
        if missing:
            raise ValueError(f"{self.name}: the table names input maps {sorted(missing)}. Received: an input of {maps} maps")
        pairs = sum(len(seen) for seen in self.table)
        size = self.kernel_size
        self.kernel = self.add_weight((size, size, pairs), self.kernel_initializer, name="kernel")
        self.bias = self.add_weight((len(self.table),), self.bias_initializer, name="bias")
        # place[i, o] is the index of the pair of input map i and output map o; the index `pairs` reads a zero.
        place = np.full((maps, len(self.table)), pairs)
        pair = 0
        for output, seen in enumerate(self.table):
            for source in seen:
                place[source, output] = pair
                pair += 1
        self._place = place

    def full_kernel(self) -> Tensor:
        """Return the kernel with zeros for missing pairs, (kernel_size, kernel_size, input maps, output maps)."""
        padded = keras.ops.pad(self.kernel, ((0, 0), (0, 0), (0, 1)))
        return keras.ops.take(padded, self._place, axis=-1)

    def call(self, x: Tensor) -> Tensor:
        kernel = keras.ops.cast(self.full_kernel(), x.dtype)
        return keras.ops.conv(x, kernel, padding="valid") + keras.ops.cast(self.bias, x.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, height, width, _ = input_shape
        return batch, height - self.kernel_size + 1, width - self.kernel_size + 1, len(self.table)

    def receptive_window(self) -> tuple[int, int, int]:
        """Return (size, stride, padding before) of the windows, in input units."""
        return self.kernel_size, 1, 0

    def connections(self) -> tuple[int, int]:
        """Return (connections, multiply-accumulates) for one image, without the missing pairs of the table."""
        _, height, width, maps = self.output.shape
        macs = height * width * self.kernel_size**2 * sum(len(seen) for seen in self.table)
        return macs + height * width * maps, macs

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "table": self.table,
            "kernel_size": self.kernel_size,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }
