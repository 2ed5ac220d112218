"""Ranges of activations as a calibration table of TensorRT, for a DLA that does not support QuantizeLinear."""

import struct

from exporters.runner.board.files import LARGEST


def text(ranges: dict[str, float], version: str) -> str:
    """Return a calibration table: a header, and one line per tensor with its scale, a big-endian float32 in hexadecimal.

    TensorRT's own reader refuses the header of another version; the bundle's reader uses only the scales.

    Args:
        ranges: dict, name of a tensor -> largest magnitude.
        version: of TensorRT, such as "8.5.2".

    Returns:
        Text that ends with a newline.
    """
    major, minor, patch = ([int(part) for part in version.split(".")] + [0, 0])[:3]
    # As NV_TENSORRT_VERSION in NvInferVersion.h, which has two digits for the minor version since 10.
    number = major * (1000 if major < 10 else 10_000) + minor * 100 + patch
    lines = [f"TRT-{number}-EntropyCalibration2"]
    lines += [f"{name}: {struct.pack('>f', largest / LARGEST).hex()}" for name, largest in ranges.items()]
    return "\n".join(lines) + "\n"
