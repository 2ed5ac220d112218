"""Export to TensorRT: a bundle that builds its engine on a board, verified as far as possible without the board.

export.py     writes a bundle and verifies it
settings.py   checks the options of a bundle
local.py      builds its engine at once, if TensorRT and a GPU like the target's are in this machine
rtx.py        runs NVIDIA's own ONNX parser and builder on the CPU
"""
