"""To ONNX: convert, prove the file in every runtime at hand, and only then give it its name."""


def __getattr__(name):
    # What reads an ONNX file alone, such as `zoo info`, does not wait for TensorFlow.
    if name in ("to_onnx", "verify"):
        from exporters.onnx import export

        return getattr(export, name)
    raise AttributeError(f"module 'exporters.onnx' has no attribute '{name}'")
