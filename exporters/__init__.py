"""How a model leaves: to a file that has been proved to compute what the model computes.

exporters.to_onnx("lenet5.mnist", "lenet5.onnx")    writes the file, or nothing
exporters.verify("lenet5.onnx")                     proves it again
"""


def __getattr__(name):
    # TensorFlow and onnxruntime take seconds to import; a name that is not asked for costs nothing.
    if name in ("to_onnx", "verify"):
        from exporters import onnx

        return getattr(onnx, name)
    raise AttributeError(f"module 'exporters' has no attribute '{name}'")


__all__ = ["to_onnx", "verify"]
