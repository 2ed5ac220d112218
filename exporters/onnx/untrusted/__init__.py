"""Checks of ONNX files that may come from a stranger, before they are loaded or run."""
