"""The command that builds the engine of a plan with NVIDIA's trtexec, for each TensorRT version."""

import shlex
from collections.abc import Sequence

from exporters.planner.settings import Settings
from exporters.precision import Precision
from exporters.targets import number

ON_A_JETSON = "/usr/src/tensorrt/bin/trtexec"


def line(
    settings: Settings,
    name: str,
    shape: Sequence[int],
    model: str = "model.onnx",
    engine: str = "trtexec.engine",
    calibration: str = "calibration.cache",
) -> str:
    """Return the command to run on the target.

    Args:
        settings: settings of the plan.
        name: name of the network's input.
        shape: shape of one input image, such as (3, 224, 224).
        model: path of the ONNX file.
        engine: path of the engine to write.
        calibration: path of the calibration cache, for a DLA in INT8.

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
    words += ["--noTF32"] if settings.precision == Precision.FP32 else []  # TF32 has a 10-bit mantissa, like float16
    for kind, batch in zip(("min", "opt", "max"), settings.profile, strict=True):
        words.append(f"--{kind}Shapes={name}:{'x'.join(map(str, (batch, *shape)))}")
    if settings.dla:
        words += ["--useDLACore=0", "--allowGPUFallback"]
    return shlex.join(words)


def _types(settings, calibration):
    """Return the precision flags. A strongly typed network takes its precisions from the model."""
    if settings.strongly_typed:
        return ["--stronglyTyped"]
    if settings.precision == Precision.FP32:
        return []
    if settings.precision == Precision.FP16:
        return ["--fp16"]
    # On the DLA, layers without INT8 run in float16: it has no float32.
    return ["--int8", "--fp16", f"--calib={calibration}"] if settings.calibration_table else ["--int8"]
