"""Roofline model: a lower bound for the time of a network on a board, from its peak compute rate and memory bandwidth.

A layer takes as long as its arithmetic at the peak rate of its precision, or as its memory traffic at the peak bandwidth,
whichever is longer. Weights are read once per batch. Kernel launches, caches and format conversions are not modeled, so a
board is slower than this bound; much slower for a small network, whose kernels wait for their launches.

References:
    Williams, Waterman and Patterson (2009), Roofline: an insightful visual performance model for multicore architectures.
"""

from dataclasses import dataclass

from exporters.planner.layers import Layer
from exporters.precision import Precision
from exporters.targets import Target
from zoo.errors import ZooError

OPERATIONS = 2  # per multiply-accumulate: TFLOPS and TOPS count the multiplication and the addition


@dataclass(frozen=True)
class Row:
    """Lower bounds for the time of a layer, per batch.

    Attributes:
        layer: the layer.
        compute_seconds: time of its arithmetic at the peak rate of its precision.
        memory_seconds: time of its memory traffic at the peak bandwidth.
    """

    layer: Layer
    compute_seconds: float
    memory_seconds: float

    @property
    def seconds(self) -> float:
        """The longer of both times, in seconds."""
        return max(self.compute_seconds, self.memory_seconds)

    @property
    def bound(self) -> str:
        """Bottleneck of the layer, "compute" or "memory"."""
        return "compute" if self.compute_seconds > self.memory_seconds else "memory"


@dataclass(frozen=True)
class Estimate:
    """Lower bounds for all layers at one batch size."""

    rows: tuple[Row, ...]
    batch: int

    @property
    def seconds(self) -> float:
        """Lower bound for the time of a batch, in seconds."""
        return sum(row.seconds for row in self.rows)

    @property
    def images_per_second(self) -> float:
        """Upper bound for the throughput, in images per second."""
        return self.batch / self.seconds


def estimate(layers: list[Layer], target: Target, batch: int) -> Estimate:
    """Return a lower bound for the time of a network on the GPU of a board.

    Args:
        layers: layers from `exporters.planner.layers.read`.
        target: board or graphics card, with its bandwidth in GB/s and its rates in TFLOPS and TOPS.
        batch: batch size.

    Raises:
        ZooError: if a layer is INT8 and the GPU does not accelerate it, or a peak rate is not documented.
    """
    bandwidth = _documented(target, "memory_bandwidth_gbs") * 1e9
    rows = []
    for layer in layers:
        traffic = layer.weight_bytes + batch * (layer.input_bytes + layer.output_bytes)
        operations = OPERATIONS * layer.macs * batch
        rows.append(Row(layer, operations / _peak(target, layer) if operations else 0.0, traffic / bandwidth))
    return Estimate(tuple(rows), batch)


def _peak(target, layer):
    """Return the peak rate of a target in the precision of a layer, in operations per second."""
    if layer.precision == Precision.INT8 and target.int8_tops == 0:
        raise ZooError(
            f"{layer.name} is INT8, which the GPU of {target.board} does not accelerate and TensorRT rejects there; "
            "give --precision fp16"
        )
    return _documented(target, layer.precision.peak) * 1e12


def _documented(target, fact):
    value = getattr(target, fact)
    if not value:
        raise ZooError(f"{fact} of {target.board} is not documented, so its time cannot be estimated")
    return value
