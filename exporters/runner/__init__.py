"""The files that travel to a board: Python 3.6, NumPy and what JetPack ships; nothing of the zoo.

build_engine.py, verify.py, infer.py, bench.py   what a person starts there, from any folder
board/                                           what they share; the workstation's gate is board/gate.py, too
"""
