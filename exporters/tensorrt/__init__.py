"""To TensorRT on a board: a bundle that builds its engine there, proved here as far as a machine without that board can.

export.py     writes a bundle and proves it
local.py      builds its engine at once, where TensorRT and a GPU like the target's are in this machine
rtx.py        asks NVIDIA's own ONNX parser and builder, which run on a CPU
"""
