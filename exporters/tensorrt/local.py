"""Build an engine in this machine with the bundle's own programs, if TensorRT and a GPU like the target's are here."""

import importlib.util
import subprocess
import sys
from pathlib import Path

from exporters.runner.board import apart, cuda
from exporters.runner.board.files import BundleError
from exporters.targets import Target
from zoo.errors import CheckFailed

PROGRAMS = ("build_engine.py", "verify.py", "bench.py")


def reason(target: Target) -> str | None:
    """Return why this machine cannot build an engine for a target, or None if it can.

    Args:
        target: `exporters.targets.Target`.
    """
    if importlib.util.find_spec("tensorrt") is None:
        return "TensorRT is not installed here"
    try:
        device = apart.call(cuda.probe)
    except apart.Died as died:
        return f"the GPU test {died}"
    except BundleError as error:
        return str(error)
    if device.compute_capability != target.compute_capability:
        here = f"{device.name}, compute capability {device.compute_capability}"
        return f"the GPU here is {here}; {target.board} has {target.compute_capability}"
    return None


def build(bundle: Path) -> str:
    """Build, verify and time a bundle's engine in this machine; return the output of its programs.

    Args:
        bundle: path of the folder.

    Raises:
        CheckFailed: with the error of the program that fails; the bundle stays.
    """
    outputs = []
    for program in PROGRAMS:
        done = subprocess.run(
            [sys.executable, "-B", str(bundle / program)], stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode:
            raise CheckFailed(f"{bundle} is written; its {program} fails here: {done.stderr.strip() or done.stdout.strip()}")
        outputs.append(done.stdout.strip())
    return "\n".join(outputs)
