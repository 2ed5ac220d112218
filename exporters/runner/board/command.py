"""What the scripts have in common as commands."""

import argparse
import io
import os
import sys

from . import cpu, runtime
from .files import FOLDER, BundleError

ENGINE = os.path.join(FOLDER, "model.engine")


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


def told(script, *words, engine=ENGINE, cpu=False):
    """Return what to type for another script of this bundle, from the folder where the person is.

    Args:
        words: files of the bundle, such as "samples/0.png", and options.
        engine, cpu: as they were given to this script.
    """
    typed = ["python3", _from_here(script)]
    typed += [_from_here(word) if "/" in word else word for word in words]
    if cpu:
        typed.append("--cpu")
    elif os.path.abspath(engine) != ENGINE:
        typed += ["--engine", engine]
    return " ".join(typed)


def _from_here(name):
    return os.path.relpath(os.path.join(FOLDER, name))
