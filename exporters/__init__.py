"""Export models to files that are verified to compute what the model computes.

exporters.to_onnx("lenet5.mnist", "lenet5.onnx")                        writes an ONNX file
exporters.quantize("lenet5.onnx", "small.onnx", calibration=FOLDER)     writes an INT8 or float16 file
exporters.to_tensorrt("lenet5.mnist", "lenet5", target="nano")          writes a bundle for a board
exporters.to_tflite, exporters.to_savedmodel                            use Keras' own exporters
exporters.verify("lenet5.onnx")                                         verifies an ONNX file or a bundle again
"""

import importlib
from typing import Any

# TensorFlow and onnxruntime take seconds to import, so each module is imported when its function is first used.
MODULES = {
    "to_onnx": "exporters.onnx.export",
    "to_tensorrt": "exporters.tensorrt.export",
    "to_tflite": "exporters.keras_formats",
    "to_savedmodel": "exporters.keras_formats",
    "quantize": "exporters.quantization.pipeline",
    "verify": "exporters.verification",
}


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return getattr(importlib.import_module(MODULES[name]), name)
    raise AttributeError(f"module 'exporters' has no attribute '{name}'")


__all__ = ["quantize", "to_onnx", "to_savedmodel", "to_tensorrt", "to_tflite", "verify"]
