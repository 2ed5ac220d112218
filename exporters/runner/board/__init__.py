"""What the scripts of a bundle share.

files.py      what lies in the bundle, and whether it is what left the workstation
gate.py       whether scores are the model's
engine.py     TensorRT: building an engine, loading it, running it
sidecar.py    what an engine was built from and where
cuda.py       CUDA's runtime
cpu.py        onnxruntime
apart.py      what may crash, in a process of its own
pictures.py   picture files and camera frames; resize.py and orientation.py for them
"""
