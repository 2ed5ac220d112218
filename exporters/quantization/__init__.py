"""Quantization to INT8 (a quarter of the size) and conversion to float16 (half the size), with the loss in accuracy.

exporters.quantization.quantize("lenet5.mnist", "lenet5-int8.onnx", calibration="photos")    writes a verified file
exporters.quantization.rank_layers("lenet5.mnist", calibration="photos")                     ranks the layers by their loss
"""


def __getattr__(name):
    # Imported lazily: onnxruntime takes a second to import.
    if name in ("quantize", "rank_layers"):
        from exporters.quantization import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module 'exporters.quantization' has no attribute '{name}'")


__all__ = ["quantize", "rank_layers"]
