"""The child process of `exporters.onnx.untrusted.sandbox`: python sandbox_child.py FILE MEMORY_BYTES CPU_SECONDS.

It imports nothing from the zoo, and so starts in a third of a second.
"""

import contextlib
import json
import sys

LARGEST_SIZE = 4096  # of an axis whose size is not fixed
BATCH = 64  # images; the largest batch of a verification


def limit(memory: int, seconds: int) -> None:
    """Limit the resources of this process, where the operating system can; an existing lower limit stays.

    Args:
        memory: address space in bytes.
        seconds: CPU time in seconds.
    """
    try:
        import resource
    except ImportError:
        return
    bounds = {"RLIMIT_AS": memory, "RLIMIT_CPU": seconds, "RLIMIT_CORE": 0, "RLIMIT_FSIZE": 0}
    for name, bound in bounds.items():
        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        with contextlib.suppress(ValueError, OSError):  # macOS cannot limit the address space
            resource.setrlimit(kind, (bound if hard == resource.RLIM_INFINITY else min(bound, hard), hard))


def run(path: str) -> None:
    """Check an ONNX file, then run it on one input of zeros and on a batch of random inputs, in each of its sizes."""
    import numpy as np
    import onnx
    import onnxruntime

    onnx.checker.check_model(path, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # failures raise
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    runs = [(batch, largest, sizes) for batch, largest in ((1, 0), (BATCH, 255)) for sizes in free_sizes(path)]
    for batch, largest, sizes in runs:
        inputs = {}
        for value in session.get_inputs():
            name = value.type.removeprefix("tensor(").removesuffix(")")
            dtype = {"float": "float32", "double": "float64"}.get(name, name)
            # Integers other than bytes may be indices into a table.
            end = largest if dtype in ("uint8", "float16", "float32", "float64") else min(largest, 1)
            shape = [
                size if isinstance(size, int) else batch if axis == 0 else sizes.get(size, 1)
                for axis, size in enumerate(value.shape)
            ]
            inputs[value.name] = generator.integers(0, end, shape, "uint8", endpoint=True).astype(dtype, copy=False)
        session.run(None, inputs)


def free_sizes(path: str) -> list[dict[str, int]]:
    """Return the sizes of axes that are not fixed, by name, for which the metadata say that the file was proved.

    Raises:
        ValueError: if they are not positive whole numbers, or too large.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    try:
        about = next((json.loads(each.value) for each in model.metadata_props if each.key == "zoo"), {})
    except (ValueError, RecursionError):
        return [{}]  # not of the zoo: the parent process reads the metadata too, and rejects the file
    signature = about.get("signature") if isinstance(about, dict) else None
    found = signature.get("sizes") if isinstance(signature, dict) else None
    if not found:
        return [{}]
    valid = isinstance(found, list) and all(isinstance(each, dict) for each in found)
    if not valid or not all(type(size) is int and 0 < size <= LARGEST_SIZE for each in found for size in each.values()):
        raise ValueError(f"its metadata list sizes that are not whole numbers from 1 to {LARGEST_SIZE}")
    return found


if __name__ == "__main__":
    limit(int(sys.argv[2]), int(sys.argv[3]))
    try:
        run(sys.argv[1])
    except MemoryError:
        print("it needs more memory than a model of its size should")
        sys.exit(1)
    except Exception as error:  # protobuf, ONNX, NumPy and onnxruntime each raise their own errors
        print(*(str(error).splitlines() or [type(error).__name__])[:1])
        sys.exit(1)
