"""Trial run of an untrusted file in a child process with limited memory and CPU time that cannot write files.

ONNX's checker and onnxruntime are written in C++. A malicious file may crash them, exhaust memory or never terminate; only
the child process is affected. On Windows the child has no resource limits.

Afterwards the file runs in this process on other images, so its cost must not depend on them: see `taint_analysis`.
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

MEMORY = 4 * 2**30  # bytes, plus four times the file: the checker and onnxruntime each hold the file and a converted copy
SECONDS = 60  # CPU time; a model of the zoo takes one second


def load(path: str | Path) -> ir.Model:
    """Read an untrusted file like `exporters.onnx.files.load`, after a trial run in a child process.

    Args:
        path: ONNX file.

    Returns:
        The model.

    Raises:
        ZooError: if the file cannot be read, ONNX's checker or onnxruntime reject it or crash, it exceeds a limit, or its
            cost depends on the pixel values.
    """
    model = files.load(path)
    tensors = [value.const_value for value in model.graph.initializers.values()]
    size = Path(path).stat().st_size + sum(each.nbytes for each in tensors if isinstance(each, ir.ExternalTensor))
    bounds = [str(MEMORY + 4 * size), str(SECONDS)]
    command = [sys.executable, "-B", "-P", str(Path(__file__).with_name("sandbox_child.py")), os.path.abspath(path), *bounds]
    # Each thread reserves address space, and the child needs only one.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    with tempfile.TemporaryDirectory() as empty:
        options = {"cwd": empty, "env": environment, "stdin": subprocess.DEVNULL, "capture_output": True}
        try:
            child = subprocess.run(command, timeout=4 * SECONDS, **options)
        except subprocess.TimeoutExpired as error:
            raise ZooError(f"{path} was stopped after {4 * SECONDS} seconds; do not use it") from error
    if child.returncode == -getattr(signal, "SIGXCPU", 0) != 0:
        raise ZooError(f"{path} was stopped after {SECONDS} seconds of CPU time; do not use it")
    if child.returncode:
        raise ZooError(printable(f"{path} does not run: {_failure(child)}; export it again, or use another file"))
    try:
        taint_analysis.check(model)  # needs sorted nodes, which ONNX's checker has verified
    except limits.RejectedFileError as error:
        raise ZooError(printable(f"{path} {error}")) from error
    return model


def _failure(child):
    """Return why a child process failed, in one line."""
    if child.returncode < 0:
        return f"onnxruntime crashed with {signal.Signals(-child.returncode).name}"
    output = child.stdout.decode("utf-8", "replace").strip().splitlines()
    return output[-1][:300] if output else f"onnxruntime exited with code {child.returncode}"
