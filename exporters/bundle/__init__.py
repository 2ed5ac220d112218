"""The bundle: a folder that builds, verifies and times a model's engine on a board, without this project.

folder.py        writes the folder and its archive atomically; the same model gives the same bytes
contents.py      the files besides the model: metadata, samples with the model's scores, the programs of `exporters.runner`
readme.py        the README for the board
header.py        the metadata as a C++ header
table.py         ranges of activations as a calibration table of TensorRT
"""
