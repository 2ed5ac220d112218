"""The memory that a network needs on a board while its engine is built, which is when it needs most."""

from dataclasses import dataclass

MIB = 2**20

# TensorRT, cuDNN and cuBLAS loaded, and a CUDA context. "At least 600 MB" on a Xavier NX, says NVIDIA's forum
# (forums.developer.nvidia.com/t/183109), and "around 600 MiB" of TensorRT 3 (/t/56741). Elsewhere an allowance, unverified.
RUNTIME = 600 * MIB

# What Linux and its desktop hold of a Jetson's memory, which CPU and GPU share: an allowance, unverified. The desktop alone
# holds "around ~800MB" (dusty-nv/jetson-containers, docs/setup.md, Disabling the Desktop GUI).
SYSTEM = 1024 * MIB

# "There will typically be at least two copies of the weights in host memory: those from the original network, and those
# included as part of the engine as it is built": TensorRT Developer Guide 8.5, 5.3.1, The Build Phase. A Jetson's CPU
# has no other memory than its GPU.
COPIES = 2


@dataclass(frozen=True)
class Memory:
    """What a network needs of a board's memory, in bytes.

    Attributes:
        weights: that the engine holds on the GPU.
        copies: of the weights that the builder holds besides, where CPU and GPU share the memory.
        activations: the most that must live at once, for the largest batch.
        workspace: that the builder may take for itself.
        runtime: of TensorRT and CUDA, an allowance.
        available: of the target, on a Jetson less an allowance for its system.
        board: for the sentence.
    """

    weights: int
    copies: int
    activations: int
    workspace: int
    runtime: int
    available: int
    board: str

    @property
    def total(self):
        """All that is needed while the engine is built."""
        return self.weights + self.copies + self.activations + self.workspace + self.runtime

    @property
    def fits(self):
        """Whether the target has as much."""
        return self.total <= self.available

    def __str__(self):
        parts = {
            "weights": self.weights,
            "copies of them while it is built": self.copies,
            "activations": self.activations,
            "workspace": self.workspace,
            "TensorRT itself": self.runtime,
        }
        listed = ", ".join(f"{what} {_mib(size)}" for what, size in parts.items() if size)
        return (
            f"needs {_mib(self.total)} MiB of {_mib(self.available)} MiB that {self.board} has for it: {listed}"
            f"{'' if self.fits else '. It does not fit'}"
        )


def expect(layers, batch, workspace_mb, target):
    """Return the memory that a network is expected to need.

    Args:
        layers: of `exporters.planner.layers.read`.
        batch: largest number of pictures at a time.
        workspace_mb: MiB that the builder may use.
        target: `exporters.targets.Target`.

    Returns:
        `Memory`.
    """
    weights = sum({name: size for layer in layers for name, size in layer.weights.items()}.values())
    shared = target.is_jetson
    return Memory(
        weights=weights,
        copies=COPIES * weights if shared else 0,
        activations=batch * live_bytes(layers),
        workspace=workspace_mb * MIB,
        runtime=RUNTIME,
        available=int(target.memory_gb * 2**30) - (SYSTEM if shared else 0),
        board=target.board,
    )


def live_bytes(layers):
    """Return the most bytes of tensors that live at once, for one picture and in the given order.

    A tensor lives from the layer that writes it to the last that reads it; the input and the output of the network are the
    caller's, and live always. The builder may hold more, for the order and the formats that it chooses.
    """
    first, last, size = {}, {}, {}
    for place, layer in enumerate(layers):
        size |= layer.inputs | layer.outputs
        first.update(dict.fromkeys(layer.outputs, place))
        last.update(dict.fromkeys(layer.inputs, place))
    end = len(layers) - 1
    lives = {name: (first.get(name, 0), last.get(name, end)) for name in size}
    lives |= {name: (0, end) for name in size if name not in first or name not in last}
    return max(
        sum(size[name] for name, (start, stop) in lives.items() if start <= place <= stop) for place in range(end + 1)
    )


def _mib(size):
    return f"{size / MIB:,.0f}"
