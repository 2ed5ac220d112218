"""NVIDIA's own ONNX parser and builder, on this machine's CPU: would they take a file?

TensorRT-RTX is TensorRT for the GPUs of PCs. It knows no Jetson, and what it builds runs on none: its engine is looked at,
never kept, and says nothing of how fast a board is. But it reads ONNX with the parser of TensorRT, builds without a GPU what
a board's own program asks for, and tells in which type of numbers each layer runs.

The parser is written in C++, and reads files that may be a stranger's: it runs in a child process with bounds, which may
write no file.
"""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from exporters import targets
from exporters.onnx import files, metadata
from zoo.errors import ZooError, printable

INSTALL = "in a checkout of the zoo: pip install '.[rtx]'"
LIKE = "11.4.1"  # the TensorRT whose names its Python module has; it takes any claim of an opset without a word
MEMORY = 4 * 2**30  # bytes of address space, and eight times the weights; AlexNet takes 1.5 GB in all
WORKSPACE_MB = 1024  # as on the larger boards
SECONDS = 120  # of the CPU; AlexNet takes two
PRODUCTS = (
    "correlation",
    "gemm",
    "runtime_fusion",
)  # layers of the builder that multiply: convolutions, matrices, both with more


@dataclass(frozen=True)
class Layer:
    """A layer as the builder fused it.

    Attributes:
        name: that it has in the engine.
        kind: the builder's word: "correlation" is a convolution, "gemm", "maxpool", "kgen" a generated kernel ...
        nodes: names of the ONNX nodes that it computes, or a part of them.
        inputs, constants, outputs: types of its tensors, such as "Int8", "Half", "Float".
        tactic: name of the kernel; a stub where it is chosen on the GPU.
    """

    name: str
    kind: str
    nodes: tuple
    inputs: tuple
    constants: tuple
    outputs: tuple
    tactic: str

    @property
    def multiplies(self):
        """Whether it is a product with weights."""
        return self.kind in PRODUCTS


@dataclass(frozen=True)
class Check:
    """What NVIDIA's parser and builder made of a file.

    Attributes:
        version: of TensorRT-RTX.
        layers: tuple of `Layer`, in the order in which they run.
        engine_bytes: of the engine, which no Jetson can load.
        seconds: that parsing and building took, with the start of the process.
    """

    version: str
    layers: tuple
    engine_bytes: int
    seconds: float

    def line(self):
        """Return what a person reads of it."""
        products = [layer.inputs[0] for layer in self.layers if layer.multiplies]
        types = ", ".join(f"{products.count(each)} in {each}" for each in sorted(set(products)))
        return (
            f"NVIDIA's parser and builder take it (TensorRT-RTX {self.version} on the CPU; no engine for a Jetson): "
            f"{len(self.layers)} layers, products with weights {types or 'none'}"
        )


def available():
    """Tell whether TensorRT-RTX is installed."""
    return importlib.util.find_spec("tensorrt_rtx") is not None


def check(path, profile=(1, 8, 64)):
    """Parse and build an ONNX file with NVIDIA's TensorRT-RTX, on the CPU.

    Args:
        path: the file.
        profile: smallest, best and largest number of pictures at a time of a file that takes any; None for a file that
            takes one number alone.

    Returns:
        `Check`.

    Raises:
        ZooError: if it is not installed, or the file cannot be read, or the parser or the builder refuse it, with the node
            and its operator where one is to blame; or if the parser would take it for something else.
    """
    if not available():
        raise ZooError(f"TensorRT-RTX, which is for Linux on x86_64, is not installed; {INSTALL}")
    path, begun = Path(path), time.monotonic()
    model = files.load(path)
    _check_claims(path, model, profile)
    done = _run(path, model, _bundle(model, profile))
    if done.returncode:
        raise ZooError(printable(f"{path} ends NVIDIA's parser or builder: {_reason(done)}; do not use it on a board"))
    told = json.loads(done.stdout.splitlines()[-1])
    if "error" in told:
        raise ZooError(printable(f"TensorRT-RTX does not take {path}: {told['error']}"))
    return Check(told["version"], _layers(told["table"]), told["engine_bytes"], time.monotonic() - begun)


def _check_claims(path, model, profile):
    """Refuse what the parser takes without a word, but not for what it is."""
    opset, newest = model.graph.opset_imports.get("", 0), targets.tensorrt(LIKE).max_opset
    if opset > newest:
        raise ZooError(
            f"{path} has opset {opset}; NVIDIA's parser reads up to {newest}. Export it with --opset {targets.OPSET}"
        )
    for node in model.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and _is_uint8(node):
            raise ZooError(
                printable(
                    f"{node.op_type} {node.name} of {path} is of UINT8, which TensorRT computes as INT8; "
                    "quantize to INT8 with a zero point of 0"
                )
            )
    free = [value.name for value in model.graph.inputs if not all(isinstance(size, int) for size in value.shape or [None])]
    if free and profile is None:
        raise ZooError(
            printable(
                f"the input {free[0]} of {path} takes any number of pictures; give the profile (smallest, best, largest)"
            )
        )


def _is_uint8(node):
    """Tell whether a QuantizeLinear or DequantizeLinear is of UINT8, as a QuantizeLinear is that says nothing."""
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    if zero is None:
        return node.op_type == "QuantizeLinear" and "output_dtype" not in node.attributes
    return zero.dtype == ir.DataType.UINT8


def _bundle(model, profile):
    """Return what a board's program asks of a bundle to build its engine."""
    least, best, most = profile or (1, 1, 1)  # of a file that takes one number of pictures it is not read
    batches = {"min": least, "opt": best, "max": most}
    return {"precision": metadata.precision_of(model), "workspace_mb": WORKSPACE_MB, "profile": batches}


def _run(path, model, bundle):
    """Run the child on a file; return what `subprocess.run` does."""
    memory = MEMORY + 8 * sum(value.const_value.nbytes for value in model.graph.initializers.values())
    words = [os.path.abspath(path), json.dumps(bundle), str(memory), str(SECONDS)]
    with tempfile.TemporaryDirectory() as empty:
        try:
            return subprocess.run(
                [sys.executable, "-B", "-P", "-m", "exporters.tensorrt.rtx_child", *words],
                timeout=4 * SECONDS,
                cwd=empty,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )
        except subprocess.TimeoutExpired as error:
            raise ZooError(f"NVIDIA's builder was stopped at {path} after {4 * SECONDS} seconds") from error


def _reason(done):
    """Return in a line why a child has ended."""
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        return f"it was stopped after {SECONDS} seconds of the CPU" if name == "SIGXCPU" else f"it crashes with {name}"
    said = done.stderr.strip().splitlines()
    return said[-1][:300] if said else f"it ends with {done.returncode}"


def _layers(table):
    """Return the layers of the builder's table, a line each: "Name: NAME, LayerType: KIND, Inputs: [...], ..."."""
    keys = r"(?:LayerType|Inputs|Constants|Outputs|TacticName|StreamId|Metadata)"
    found = []
    for line in table.splitlines():
        if not line.startswith("Name: "):
            break  # behind the layers come the ends
        parts = dict(part.partition(": ")[::2] for part in re.split(rf", (?={keys}: )", line))
        types = {key: tuple(re.findall(r"Datatype: (\w+)", parts[key])) for key in ("Inputs", "Constants", "Outputs")}
        nodes = tuple(re.findall(r"\[ONNX Layer: ([^\]]*)\]", parts["Metadata"]))
        found.append(
            Layer(
                parts["Name"],
                parts["LayerType"],
                nodes,
                types["Inputs"],
                types["Constants"],
                types["Outputs"],
                parts["TacticName"],
            )
        )
    return tuple(found)
