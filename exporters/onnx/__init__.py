"""To ONNX: convert, prove the file in every runtime at hand, and only then give it its name."""
