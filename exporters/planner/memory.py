"""Memory that a network needs on a board while its engine is built, which is the peak."""

from dataclasses import dataclass

from exporters.planner.layers import Layer
from exporters.targets import Target

MIB = 2**20

# TensorRT, cuDNN, cuBLAS and a CUDA context. "At least 600 MB" on a Xavier NX, according to NVIDIA's forum
# (forums.developer.nvidia.com/t/183109), and "around 600 MiB" of TensorRT 3 (/t/56741). An unverified
# allowance for other boards.
RUNTIME = 600 * MIB

# Linux and its desktop on a Jetson, where CPU and GPU share the memory: an unverified allowance. The desktop alone takes
# "around ~800MB" (dusty-nv/jetson-containers, docs/setup.md, Disabling the Desktop GUI).
SYSTEM = 1024 * MIB

# "There will typically be at least two copies of the weights in host memory: those from the original network, and those
# included as part of the engine as it is built": TensorRT Developer Guide 8.5, 5.3.1, The Build Phase. On a
# Jetson, host memory is also GPU memory.
COPIES = 2


@dataclass(frozen=True)
class Memory:
    """Memory requirement of a network and memory of a board, in bytes.

    Attributes:
        weights: weights of the engine on the GPU.
        copies: copies of the weights in the builder, if CPU and GPU share the memory.
        activations: peak size of the live activations, for the largest batch.
        workspace: workspace of the builder.
        runtime: allowance for TensorRT and CUDA.
        available: memory of the target; on a Jetson, minus an allowance for the operating system.
        board: name of the board, for messages.
    """

    weights: int
    copies: int
    activations: int
    workspace: int
    runtime: int
    available: int
    board: str

    @property
    def total(self) -> int:
        """Memory needed while the engine is built, in bytes."""
        return self.weights + self.copies + self.activations + self.workspace + self.runtime

    @property
    def fits(self) -> bool:
        """Whether the target has enough memory."""
        return self.total <= self.available

    def __str__(self) -> str:
        parts = {
            "weights": self.weights,
            "copies of the weights during the build": self.copies,
            "activations": self.activations,
            "workspace": self.workspace,
            "TensorRT": self.runtime,
        }
        listed = ", ".join(f"{part} {_mib(size)}" for part, size in parts.items() if size)
        needed = f"needs {_mib(self.total)} MiB ({listed})"
        return f"{needed}; {self.board} has {_mib(self.available)} MiB available{'' if self.fits else '. It does not fit'}"


def estimate(layers: list[Layer], batch: int, workspace_mb: int, target: Target) -> Memory:
    """Estimate the memory that a network needs while its engine is built.

    Args:
        layers: layers from `exporters.planner.layers.read`.
        batch: largest batch.
        workspace_mb: workspace of the builder in MiB.
        target: board or graphics card.
    """
    weights = sum({name: size for layer in layers for name, size in layer.weights.items()}.values())
    shared = target.is_jetson
    return Memory(
        weights=weights,
        copies=COPIES * weights if shared else 0,
        activations=batch * peak_live_bytes(layers),
        workspace=workspace_mb * MIB,
        runtime=RUNTIME,
        available=int(target.memory_gb * 2**30) - (SYSTEM if shared else 0),
        board=target.board,
    )


def peak_live_bytes(layers: list[Layer]) -> int:
    """Return the peak size of all live tensors in bytes, per image and for the given execution order.

    A tensor is live from the layer that writes it to the last layer that reads it. The input and the output of the network
    belong to the caller and are always live. TensorRT may need more, depending on the order and the formats it selects.
    """
    first, last, size = {}, {}, {}
    for index, layer in enumerate(layers):
        size |= layer.inputs | layer.outputs
        first.update(dict.fromkeys(layer.outputs, index))
        last.update(dict.fromkeys(layer.inputs, index))
    end = len(layers) - 1
    live = {name: (first.get(name, 0), last.get(name, end)) for name in size}
    live |= {name: (0, end) for name in size if name not in first or name not in last}
    return max(sum(size[name] for name, (start, stop) in live.items() if start <= index <= stop) for index in range(end + 1))


def _mib(size):
    return f"{size / MIB:,.0f}"
