"""Lower precision: files of half the size in float16, of a quarter in INT8, and what that costs in accuracy.

exporters.quantization.quantize("lenet5.mnist", "lenet5-int8.onnx", calibration="photos")    writes the file, or nothing
exporters.quantization.rank_layers("lenet5.mnist", calibration="photos")                     tells which layers lose most
"""


def __getattr__(name):
    # onnxruntime takes a second to import; a name that is not asked for costs nothing.
    if name in ("quantize", "rank_layers"):
        from exporters.quantization import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module 'exporters.quantization' has no attribute '{name}'")


__all__ = ["quantize", "rank_layers"]
