"""The files that run on a board: Python 3.6, NumPy and the packages of JetPack, without the zoo.

build_engine.py, verify.py, infer.py, bench.py   the scripts, which run from any folder
board/                                           their shared modules; the workstation uses board/gate.py, too
"""
