"""What the scripts of a bundle share.

files.py      what lies in the bundle, and whether it is what left the workstation
gate.py       whether scores are the model's
engine.py     TensorRT: building an engine, loading it, running it
sidecar.py    what an engine was built from and where
cuda.py       CUDA's runtime
cpu.py        onnxruntime
apart.py      what may crash, in a process of its own
command.py    arguments and errors of the scripts
typed.py      what to type for another script
pictures.py   picture files and camera frames; resize.py and orientation.py for them
"""

try:
    import numpy  # noqa: F401
except ImportError:
    raise SystemExit("error: Python has no numpy; install it with sudo apt-get install python3-numpy") from None
