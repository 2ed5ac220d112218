"""A file of a stranger, tried out where it does no harm: in a child process with bounds, which may write no file.

ONNX's checker and onnxruntime are written in C++, and a file that was made for it may crash them, ask for all memory or
never end. What happens to the child happens to nobody else. On Windows it is a process of its own, without those bounds.
Afterwards the file runs outside of the child, on other pictures, so what it takes may not depend on these: see `taint`.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx_ir as ir

from exporters.onnx import files
from exporters.onnx.untrusted import limits, taint_analysis
from zoo.errors import ZooError, printable

MEMORY = 4 * 2**30  # bytes, and four times the file: the checker and onnxruntime each hold it, and what they make of it
SECONDS = 60  # of the CPU; a net of the zoo takes one


def check(path):
    """Read a file of anybody, as `exporters.onnx.files.load` does, and run it in a child process.

    Args:
        path: the file.

    Returns:
        `onnx_ir.Model`.

    Raises:
        ZooError: with the reason if it cannot be read, if ONNX's checker or onnxruntime refuse it or crash, if it runs
            into a limit, or if what it takes depends on the pictures.
    """
    model = files.load(path)
    tensors = [value.const_value for value in model.graph.initializers.values()]
    size = Path(path).stat().st_size + sum(each.nbytes for each in tensors if isinstance(each, ir.ExternalTensor))
    bounds = [str(MEMORY + 4 * size), str(SECONDS)]
    command = [sys.executable, "-B", "-P", str(Path(__file__).with_name("sandbox_child.py")), os.path.abspath(path), *bounds]
    # Each thread would take its share of the address space, and the child needs no second one.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    with tempfile.TemporaryDirectory() as empty:
        quiet = {"cwd": empty, "env": environment, "stdin": subprocess.DEVNULL, "capture_output": True}
        try:
            done = subprocess.run(command, timeout=4 * SECONDS, **quiet)
        except subprocess.TimeoutExpired as error:
            raise ZooError(f"{path} was stopped after {4 * SECONDS} seconds; do not use it") from error
    if done.returncode == -getattr(signal, "SIGXCPU", 0) != 0:
        raise ZooError(f"{path} was stopped after {SECONDS} seconds of the CPU; do not use it")
    if done.returncode:
        raise ZooError(printable(f"{path} does not run: {_reason(done)}; export it again, or use another file"))
    try:
        taint_analysis.check(model)  # whose nodes are in order, as ONNX's checker has found
    except limits.Refused as error:
        raise ZooError(printable(f"{path} {error}")) from error
    return model


def _reason(done):
    """Return in a line why a child has ended."""
    if done.returncode < 0:
        return f"onnxruntime crashes with {signal.Signals(-done.returncode).name}"
    said = done.stdout.decode("utf-8", "replace").strip().splitlines()
    return said[-1][:300] if said else f"onnxruntime ends with {done.returncode}"
