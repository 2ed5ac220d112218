"""The line with which NVIDIA's trtexec builds the engine of a plan, for each version of TensorRT in its own words."""

import shlex

from exporters.precision import Precision
from exporters.targets import number

ON_A_JETSON = "/usr/src/tensorrt/bin/trtexec"


def line(settings, name, shape, model="model.onnx", engine="trtexec.engine", calibration="calibration.cache"):
    """Return the command, to be given on the target.

    Args:
        settings: `exporters.planner.settings.Settings`.
        name: of the network's input.
        shape: of one picture there, such as (3, 224, 224).
        model, engine, calibration: paths of the ONNX file, of the engine to write, and of the ranges for a DLA in INT8.

    References:
        NVIDIA TensorRT documentation, trtexec, and Migrating trtexec Usage from TensorRT 8.x to 10.x.
    """
    version = number(settings.tensorrt_version)
    words = [ON_A_JETSON if settings.jetpack else "trtexec", f"--onnx={model}", f"--saveEngine={engine}"]
    if version < (8, 5):
        words += ["--explicitBatch", f"--workspace={settings.workspace_mb}"]
    else:
        words.append(f"--memPoolSize=workspace:{settings.workspace_mb}")
    words.append("--buildOnly" if version < (8, 6) else "--skipInference")
    words += _types(settings, calibration)
    words += ["--noTF32"] if settings.precision == Precision.FP32 else []  # TF32 has ten bits, as float16
    for kind, batch in zip(("min", "opt", "max"), settings.profile, strict=True):
        words.append(f"--{kind}Shapes={name}:{'x'.join(map(str, (batch, *shape)))}")
    if settings.dla:
        words += ["--useDLACore=0", "--allowGPUFallback"]
    return shlex.join(words)


def _types(settings, calibration):
    """Return the flags that allow types; the builder obeys the model's own only where it is strongly typed."""
    if settings.strongly_typed:
        return ["--stronglyTyped"]
    if settings.precision == Precision.FP32:
        return []
    if settings.precision == Precision.FP16:
        return ["--fp16"]
    # On the DLA what INT8 has not is float16: it has no float32.
    return ["--int8", "--fp16", f"--calib={calibration}"] if settings.calibration_table else ["--int8"]
