"""The least time that a board needs for a network, from what it can compute and move in a second.

Each layer takes as long as its multiplications at the peak of its precision, or as its bytes at the peak of the memory,
whichever is longer; weights are read once for a batch. Nothing else is counted: no launch of a kernel, no cache, no
formatting. So a board is slower than this, a small network by far: its kernels wait for their launches.

References:
    Williams, Waterman and Patterson (2009), Roofline: an insightful visual performance model for multicore architectures.
"""

from dataclasses import dataclass

from exporters.planner.layers import Layer
from exporters.precision import Precision
from zoo.errors import ZooError

OPERATIONS = 2  # of a multiply-accumulate: TFLOPS and TOPS count the multiplication and the addition


@dataclass(frozen=True)
class Row:
    """A layer and the seconds that it needs at least for a batch: to compute, and to read and write.

    Attributes:
        layer: `exporters.planner.layers.Layer`.
        compute_seconds: at the peak of its precision.
        memory_seconds: at the peak of the memory.
    """

    layer: Layer
    compute_seconds: float
    memory_seconds: float

    @property
    def seconds(self):
        """The longer of both."""
        return max(self.compute_seconds, self.memory_seconds)

    @property
    def bound(self):
        """What limits the layer, "compute" or "memory"."""
        return "compute" if self.compute_seconds > self.memory_seconds else "memory"


@dataclass(frozen=True)
class Estimate:
    """The rows of all layers, for a batch."""

    rows: tuple
    batch: int

    @property
    def seconds(self):
        """Least seconds for a batch."""
        return sum(row.seconds for row in self.rows)

    @property
    def images_per_second(self):
        """Most pictures in a second."""
        return self.batch / self.seconds


def estimate(layers, target, batch):
    """Return the least time of a network on the GPU of a board.

    Args:
        layers: of `exporters.planner.layers.read`.
        target: `exporters.targets.Target`.
        batch: pictures at a time.

    Returns:
        `Estimate`.

    Raises:
        ZooError: if a layer is int8 and the GPU does not accelerate that, or no peak is documented.
    """
    bandwidth = _documented(target, "memory_bandwidth_gbs") * 1e9
    rows = []
    for layer in layers:
        moved = layer.weight_bytes + batch * (layer.input_bytes + layer.output_bytes)
        computed = OPERATIONS * layer.macs * batch
        rows.append(Row(layer, computed / _peak(target, layer) if computed else 0.0, moved / bandwidth))
    return Estimate(tuple(rows), batch)


def _peak(target, layer):
    """Return the operations in a second of a target in the precision of a layer."""
    if layer.precision == Precision.INT8 and target.int8_tops == 0:
        raise ZooError(
            f"{layer.name} is INT8, which the GPU of {target.board} does not accelerate and TensorRT refuses there; "
            "give --precision fp16"
        )
    return _documented(target, layer.precision.peak) * 1e12


def _documented(target, fact):
    found = getattr(target, fact)
    if not found:
        raise ZooError(f"{fact} of {target.board} is not documented, so nothing can be said of its time")
    return found
