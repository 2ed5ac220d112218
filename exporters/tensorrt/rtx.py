"""Check a file with NVIDIA's own ONNX parser and builder, on this machine's CPU.

TensorRT-RTX is TensorRT for the GPUs of PCs. It does not support Jetson boards: its engine is discarded and says nothing
about the speed of a board. But it reads ONNX with the parser of TensorRT, builds without a GPU what the programs of a bundle
build, and reports the type in which each layer runs.

The parser is written in C++ and may read files of unknown origin. It runs in a child process with limits that cannot write
files.
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
EQUIVALENT = "11.4.1"  # version of TensorRT whose Python API it has; the parser does not check the opset itself
MEMORY = 4 * 2**30  # bytes of address space, plus eight times the weights; AlexNet takes 1.5 GB in total
WORKSPACE_MB = 1024  # as on the larger boards
SECONDS = 120  # of CPU time; AlexNet takes two
PRODUCTS = ("correlation", "gemm", "runtime_fusion")  # kinds of layers that multiply: convolution, matrix, fused


@dataclass(frozen=True)
class Layer:
    """A layer after the builder's fusion.

    Attributes:
        name: in the engine.
        kind: the builder's term: "correlation" (a convolution), "gemm", "maxpool", "kgen" (a generated kernel) ...
        nodes: names of the ONNX nodes that it computes.
        inputs, constants, outputs: types of its tensors, such as "Int8", "Half", "Float".
        tactic: name of the kernel; a placeholder if it is chosen on the GPU.
    """

    name: str
    kind: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    outputs: tuple[str, ...]
    tactic: str

    @property
    def multiplies(self) -> bool:
        """Whether it multiplies with weights."""
        return self.kind in PRODUCTS


@dataclass(frozen=True)
class Check:
    """Result of NVIDIA's parser and builder.

    Attributes:
        version: of TensorRT-RTX.
        layers: in the order in which they run.
        engine_bytes: size of the engine, which no Jetson can load.
        seconds: time for parsing and building, including the start of the process.
    """

    version: str
    layers: tuple[Layer, ...]
    engine_bytes: int
    seconds: float

    def line(self) -> str:
        """Return the line that a command prints."""
        products = [layer.inputs[0] for layer in self.layers if layer.multiplies]
        types = ", ".join(f"{products.count(each)} {each}" for each in sorted(set(products)))
        return (
            f"accepted by NVIDIA's parser and builder (TensorRT-RTX {self.version}, which is not for Jetson boards): "
            f"{len(self.layers)} layers; types of the layers with weights: {types or 'none'}"
        )


def available() -> bool:
    """Return whether TensorRT-RTX is installed."""
    return importlib.util.find_spec("tensorrt_rtx") is not None


def check(path: str | Path, profile: tuple[int, int, int] | None = (1, 8, 64)) -> Check:
    """Parse and build an ONNX file with NVIDIA's TensorRT-RTX, on the CPU.

    Args:
        path: of the file.
        profile: smallest, best and largest batch size; None for a file with a static batch.

    Returns:
        `Check`.

    Raises:
        ZooError: if it is not installed, the file cannot be read, or the parser or builder refuse it (the message names
            the node and its operator, if there is one); or if the parser would misread it.
    """
    if not available():
        raise ZooError(f"TensorRT-RTX, which is for Linux on x86_64, is not installed; {INSTALL}")
    path, start = Path(path), time.monotonic()
    model = files.load(path)
    _check_claims(path, model, profile)
    done = _run(path, model, _bundle(model, profile))
    if done.returncode:
        raise ZooError(printable(f"{path} stops NVIDIA's parser or builder: {_reason(done)}; do not use it on a board"))
    result = json.loads(done.stdout.splitlines()[-1])
    if "error" in result:
        raise ZooError(printable(f"TensorRT-RTX does not accept {path}: {result['error']}"))
    return Check(result["version"], _layers(result["table"]), result["engine_bytes"], time.monotonic() - start)


def _check_claims(path, model, profile):
    """Raise `ZooError` for what the parser accepts without an error, but misreads."""
    opset, newest = model.graph.opset_imports.get("", 0), targets.tensorrt(EQUIVALENT).max_opset
    if opset > newest:
        raise ZooError(
            f"{path} has opset {opset}; NVIDIA's parser reads up to {newest}. Export it with --opset {targets.OPSET}"
        )
    for node in model.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and _is_uint8(node):
            raise ZooError(
                printable(
                    f"{node.op_type} {node.name} of {path} has type UINT8, which TensorRT computes as INT8; "
                    "quantize to INT8 with a zero point of 0"
                )
            )
    free = [value.name for value in model.graph.inputs if not all(isinstance(size, int) for size in value.shape or [None])]
    if free and profile is None:
        raise ZooError(
            printable(f"the input {free[0]} of {path} has a dynamic batch; give a profile (smallest, best, largest)")
        )


def _is_uint8(node):
    """Return whether a QuantizeLinear or DequantizeLinear has type UINT8, the default of a QuantizeLinear."""
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    if zero is None:
        return node.op_type == "QuantizeLinear" and "output_dtype" not in node.attributes
    return zero.dtype == ir.DataType.UINT8


def _bundle(model, profile):
    """Return the entries of bundle.json from which a board builds its engine."""
    least, best, most = profile or (1, 1, 1)  # not read for a static batch
    batches = {"min": least, "opt": best, "max": most}
    return {"precision": metadata.precision_of(model), "workspace_mb": WORKSPACE_MB, "profile": batches}


def _run(path, model, bundle):
    """Run the child process on a file; return the result of `subprocess.run`."""
    memory = MEMORY + 8 * sum(value.const_value.nbytes for value in model.graph.initializers.values())
    arguments = [os.path.abspath(path), json.dumps(bundle), str(memory), str(SECONDS)]
    with tempfile.TemporaryDirectory() as empty:
        try:
            return subprocess.run(
                [sys.executable, "-B", "-P", "-m", "exporters.tensorrt.rtx_child", *arguments],
                timeout=4 * SECONDS,
                cwd=empty,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )
        except subprocess.TimeoutExpired as error:
            raise ZooError(f"NVIDIA's builder was stopped at {path} after {4 * SECONDS} seconds") from error


def _reason(done):
    """Return in one line why a child process ended."""
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        return f"it was stopped after {SECONDS} seconds of CPU time" if name == "SIGXCPU" else f"it crashes with {name}"
    errors = done.stderr.strip().splitlines()
    return errors[-1][:300] if errors else f"it ends with {done.returncode}"


def _layers(table):
    """Return the layers of the builder's table, one per line: "Name: NAME, LayerType: KIND, Inputs: [...], ..."."""
    keys = r"(?:LayerType|Inputs|Constants|Outputs|TacticName|StreamId|Metadata)"
    layers = []
    for line in table.splitlines():
        if not line.startswith("Name: "):
            break  # the inputs and outputs follow the layers
        parts = dict(part.partition(": ")[::2] for part in re.split(rf", (?={keys}: )", line))
        types = {key: tuple(re.findall(r"Datatype: (\w+)", parts[key])) for key in ("Inputs", "Constants", "Outputs")}
        nodes = tuple(re.findall(r"\[ONNX Layer: ([^\]]*)\]", parts["Metadata"]))
        layers.append(
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
    return tuple(layers)
