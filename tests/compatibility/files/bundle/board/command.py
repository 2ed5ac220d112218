"""What the scripts have in common as commands."""

import argparse
import io
import math
import os
import sys

from . import cpu, runtime
from .files import ENGINE, BundleError


def run(main):
    """Run a script's main; of what went wrong in words, print these and exit with status 1."""
    # Names of classes may have letters that a board's plain locale has not.
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        printed = io.TextIOWrapper(stream.detach(), stream.encoding, "backslashreplace", line_buffering=True)
        setattr(sys, name, printed)
    try:
        main()
    except BundleError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:  # who reads this has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def parser(description):
    """Return an argument parser with what chooses the runtime."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--engine", default=ENGINE, help="file of the engine (default: model.engine of this folder)")
    made.add_argument("--cpu", action="store_true", help="run model.onnx with onnxruntime on the CPU instead")
    return made


def loaded(arguments, bundle):
    """Return what the arguments ask for, a `cpu.Session` or a `runtime.Runtime`."""
    return cpu.load(bundle) if arguments.cpu else runtime.load(arguments.engine, bundle)


def positive(text):
    """Return an argument as a whole number from 1 up."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("it must be 1 or more")
    return number


def duration(text):
    """Return an argument as a number of seconds, above 0."""
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError("it must be a number above 0")
    return seconds
