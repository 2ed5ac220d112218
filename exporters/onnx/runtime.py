"""Running an ONNX file."""

import numpy as np
import onnxruntime

from zoo.errors import ZooError


def scorer(path):
    """Return a function from (batch, height, width, channels) raw pictures to (batch, classes) scores of a file.

    Raises:
        ZooError: if onnxruntime cannot read the file.
    """
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no public base
        raise ZooError(f"onnxruntime cannot read {path}: {str(error).splitlines()[0]}") from error
    (given,) = session.get_inputs()
    dtype = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}[given.type]
    return lambda pictures: session.run(None, {given.name: np.asarray(pictures, dtype)})[0]
