"""Checks of ONNX files from untrusted sources, before they are loaded or run."""
