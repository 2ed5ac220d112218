"""How a model leaves: to a file that has been proved to compute what the model computes.

exporters.to_onnx("lenet5.mnist", "lenet5.onnx")               writes the file, or nothing
exporters.quantize("lenet5.onnx", "small.onnx", calibration=FOLDER)   in INT8 or float16
exporters.to_tensorrt("lenet5.mnist", "lenet5", target="nano") writes a folder for a board, or nothing
exporters.verify("lenet5.onnx")                                proves a file, or that of such a folder, again
exporters.to_tflite, exporters.to_savedmodel                   through Keras' own exporters
"""

import importlib

# TensorFlow and onnxruntime take seconds to import; a name that is not asked for costs nothing.
HOMES = {
    "to_onnx": "exporters.onnx.export",
    "verify": "exporters.onnx.export",
    "to_tensorrt": "exporters.tensorrt.export",
    "quantize": "exporters.quantization.pipeline",
    "to_tflite": "exporters.keras_formats",
    "to_savedmodel": "exporters.keras_formats",
}


def __getattr__(name):
    if name in HOMES:
        return getattr(importlib.import_module(HOMES[name]), name)
    raise AttributeError(f"module 'exporters' has no attribute '{name}'")


__all__ = ["quantize", "to_onnx", "to_savedmodel", "to_tensorrt", "to_tflite", "verify"]
