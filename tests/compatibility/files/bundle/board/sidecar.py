"""What lies beside an engine: what it was built from, and where. An engine of elsewhere crashes, or computes nonsense."""

import json
import os
import platform

from .files import ONNX, BundleError, atomic, sha256
from .typed import told

BUILD = told("build_engine.py")
KEYS = ("engine_sha256", "onnx_sha256", "tensorrt", "compute_capability", "gpu", "machine", "dla_core", "profile")


def machine():
    """Return the name of the board, or where there is none the processor's: boards of one GPU take other engines."""
    try:
        with open("/proc/device-tree/model", encoding="utf-8") as file:
            return file.read().strip("\0\n")
    except OSError:
        return platform.machine()


def path_of(engine):
    return engine + ".json"


def write(engine, bundle, version, device, dla_core, profile):
    """Write what an engine is, beside it.

    Args:
        engine: path of it.
        bundle: dict, what bundle.json holds.
        version: of TensorRT.
        device: `cuda.Device`.
        dla_core: number, or None.
        profile: dict of min, opt and max.
    """
    facts = {
        "engine_sha256": sha256(engine),
        "onnx_sha256": sha256(ONNX),
        "tensorrt": version,
        "compute_capability": device.compute_capability,
        "gpu": device.name,
        "machine": machine(),
        "cuda": device.cuda,
        "precision": bundle["precision"],
        "dla_core": dla_core,
        "profile": profile,
    }
    # A line each, which infer.cpp reads without a library.
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in facts.items()]
    with atomic(path_of(engine)) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write("{\n" + ",\n".join(lines) + "\n}\n")


def read(engine):
    """Return what an engine is, a dict.

    Raises:
        BundleError: if there is no such engine, or nothing beside it.
    """
    if not os.path.isfile(engine):
        raise BundleError(f"there is no {engine}; build it: {BUILD}")
    try:
        with open(path_of(engine), encoding="utf-8") as file:
            facts = json.load(file)
        if not all(key in facts for key in KEYS):
            raise ValueError("a fact is missing")
        return facts
    except (OSError, ValueError, TypeError, RecursionError):
        raise BundleError(f"{path_of(engine)}, which says what the engine is, is missing or damaged; {BUILD}") from None


def check(engine, facts, version, device):
    """Raise `BundleError` unless an engine was built from this model, here, with this TensorRT."""
    here = {
        "onnx_sha256": sha256(ONNX),
        "tensorrt": version,
        "compute_capability": device.compute_capability,
        "gpu": device.name,  # of a compute capability there are several
        "machine": machine(),
        "engine_sha256": sha256(engine),
    }
    built, gpu = facts["compute_capability"], facts["gpu"]
    told = {
        "onnx_sha256": "was built from another model.onnx",
        "tensorrt": f"was built with TensorRT {facts['tensorrt']}, and this is {version}",
        "compute_capability": f"was built for {gpu}, {built}, and this is {device.name}, {device.compute_capability}",
        "gpu": f"was built for {gpu}, and this is {device.name}",
        "machine": f"was built on {facts['machine']}, and this is {machine()}",
        "engine_sha256": "has changed since it was built",
    }
    for key, value in here.items():
        if facts[key] != value:
            raise BundleError(f"{engine} {told[key]}; build it again: {BUILD}")
