import keras
import numpy as np

from zoo.initializers import FanInUniform
from zoo.layers.traits import Traits


@keras.saving.register_keras_serializable("zoo")
class MaskedConv2D(keras.layers.Layer):
    """Convolve, each output map with its own subset of the input maps; unit stride, no padding.

    Only the kernels that exist are weights: (kernel_size, kernel_size, number of pairs), where a pair is an entry of the
    table. A mask over a full kernel would count, decay and save weights that the machine never had.

    Args:
        table: for each output map, the list of the input maps that it sees.
        kernel_size: side of the square kernels, in pixels.
        kernel_initializer: start of the kernels, by default the paper's U(±2.4/F), F the connected fan-in of each map.
        bias_initializer: start of the biases, likewise.

    Raises:
        ValueError: if an output map sees nothing or sees a map twice; at build, if it sees a map that the input lacks.

    References:
        LeCun et al. (1998), table I and section II.B, layer C3.
    """

    traits = Traits()

    def __init__(self, table, kernel_size, kernel_initializer=None, bias_initializer=None, **kwargs):
        super().__init__(**kwargs)
        self.table = [list(seen) for seen in table]
        self.kernel_size = kernel_size
        if not self.table:
            raise ValueError(f"{self.name}: the table names no output map. Received: {table}")
        for number, seen in enumerate(self.table):
            if not seen or len(set(seen)) != len(seen):
                raise ValueError(f"{self.name}: output map {number} must see each of its maps once. Received: {seen}")
        fan_in = [kernel_size**2 * len(seen) for seen in self.table]
        fan_in_of_pair = [fan for fan, seen in zip(fan_in, self.table, strict=True) for _ in seen]
        self.kernel_initializer = keras.initializers.get(kernel_initializer or FanInUniform(fan_in_of_pair))
        self.bias_initializer = keras.initializers.get(bias_initializer or FanInUniform(fan_in))

    def build(self, input_shape):
        maps = input_shape[-1]
        missing = {source for seen in self.table for source in seen} - set(range(maps))
        if missing:
            raise ValueError(f"{self.name}: the table names input maps {sorted(missing)}. Received: an input of {maps} maps")
        pairs = sum(len(seen) for seen in self.table)
        size = self.kernel_size
        self.kernel = self.add_weight((size, size, pairs), self.kernel_initializer, name="kernel")
        self.bias = self.add_weight((len(self.table),), self.bias_initializer, name="bias")
        # place[i, o] is the pair that joins input map i to output map o; the last index means "none" and reads a zero.
        place = np.full((maps, len(self.table)), pairs)
        pair = 0
        for output, seen in enumerate(self.table):
            for source in seen:
                place[source, output] = pair
                pair += 1
        self._place = place

    def full_kernel(self):
        """Return the kernel with its holes as zeros, (kernel_size, kernel_size, input maps, output maps)."""
        padded = keras.ops.pad(self.kernel, ((0, 0), (0, 0), (0, 1)))
        return keras.ops.take(padded, self._place, axis=-1)

    def call(self, x):
        kernel = keras.ops.cast(self.full_kernel(), x.dtype)
        return keras.ops.conv(x, kernel, padding="valid") + keras.ops.cast(self.bias, x.dtype)

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return batch, height - self.kernel_size + 1, width - self.kernel_size + 1, len(self.table)

    def receptive_window(self):
        """Return (size, stride, padding before) of the windows, in input units."""
        return self.kernel_size, 1, 0

    def connections(self):
        """Return (connections, multiply-accumulates) of one picture: the holes of the table are not counted."""
        _, height, width, maps = self.output.shape
        macs = height * width * self.kernel_size**2 * sum(len(seen) for seen in self.table)
        return macs + height * width * maps, macs

    def get_config(self):
        return {
            **super().get_config(),
            "table": self.table,
            "kernel_size": self.kernel_size,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }
