"""What `exporters.onnx.untrusted.sandbox` runs in a process of its own: python probe_child.py FILE BYTES SECONDS.

It imports nothing of the zoo, and starts in a third of a second.
"""

import contextlib
import sys


def limit(memory, seconds):
    """Take from this process what a file may not use, where the system can, and no more than it has."""
    try:
        import resource
    except ImportError:
        return
    bounds = {"RLIMIT_AS": memory, "RLIMIT_CPU": seconds, "RLIMIT_CORE": 0, "RLIMIT_FSIZE": 0}
    for name, most in bounds.items():
        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        with contextlib.suppress(ValueError, OSError):  # macOS has no such bound on memory
            resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


BATCH = 64  # as many pictures as a proof runs at a time


def run(path):
    """Check a file, and run it on zeros, and on many inputs of noise."""
    import numpy as np
    import onnx
    import onnxruntime

    onnx.checker.check_model(path, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    for batch, largest in ((1, 0), (BATCH, 255)):
        made = {}
        for given in session.get_inputs():
            kind = given.type.removeprefix("tensor(").removesuffix(")")
            dtype = {"float": "float32", "double": "float64"}.get(kind, kind)
            # Whole numbers but bytes may be places in a table.
            end = largest if dtype in ("uint8", "float16", "float32", "float64") else min(largest, 1)
            axes = [size if isinstance(size, int) else batch if place == 0 else 1 for place, size in enumerate(given.shape)]
            made[given.name] = generator.integers(0, end, axes, "uint8", endpoint=True).astype(dtype, copy=False)
        session.run(None, made)


if __name__ == "__main__":
    limit(int(sys.argv[2]), int(sys.argv[3]))
    try:
        run(sys.argv[1])
    except MemoryError:
        print("it asks for more memory than a net of its size needs")
        sys.exit(1)
    except Exception as error:  # protobuf, ONNX, NumPy and onnxruntime have errors of their own
        print(*(str(error).splitlines() or [type(error).__name__])[:1])
        sys.exit(1)
