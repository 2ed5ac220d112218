"""An engine at once, where TensorRT and a GPU of the target's compute capability are here: the bundle's own programs."""

import importlib.util
import subprocess
import sys

from exporters.runner.board import apart, cuda
from exporters.runner.board.files import BundleError
from zoo.errors import CheckFailed

PROGRAMS = ("build_engine.py", "verify.py", "bench.py")


def reason(target):
    """Return why this machine cannot build an engine for a target, or None if it can.

    Args:
        target: `exporters.targets.Target`.
    """
    if importlib.util.find_spec("tensorrt") is None:
        return "TensorRT is not installed here"
    try:
        device = apart.call(cuda.probe)
    except apart.Died as died:
        return f"the search for a GPU {died}"
    except BundleError as error:
        return str(error)
    if device.compute_capability != target.compute_capability:
        here = f"{device.name}, compute capability {device.compute_capability}"
        return f"the GPU here is {here}; {target.board} has {target.compute_capability}"
    return None


def build(bundle):
    """Build, verify and time a bundle's engine in this machine; return what its programs print.

    Args:
        bundle: path of the folder.

    Raises:
        CheckFailed: with what the program says that fails; the bundle stays.
    """
    told = []
    for program in PROGRAMS:
        done = subprocess.run(
            [sys.executable, "-B", str(bundle / program)], stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode:
            raise CheckFailed(f"{bundle} is written; its {program} fails here: {done.stderr.strip() or done.stdout.strip()}")
        told.append(done.stdout.strip())
    return "\n".join(told)
