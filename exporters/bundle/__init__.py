"""The bundle: a folder that builds, verifies and times a model's engine on a board, and needs nothing of this project there.

folder.py        gets its name, and is packed, once it is whole; the same model gives the same bytes
contents.py      what lies in it: the model, its facts, samples with the model's scores, the files of `exporters.runner`
readme.py        what a person at the board reads and types
header.py        the same facts for C++
table.py         ranges of activations as TensorRT's calibrators keep them
"""
