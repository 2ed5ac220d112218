"""Ranges of activations in the format that TensorRT's calibrators keep theirs in, for DLA where it takes no Q/DQ."""

import struct

from exporters.runner.board.files import LARGEST


def text(ranges, version):
    """Return a calibration table: a header, and a line a tensor with its scale, a big-endian float32 in hexadecimal.

    TensorRT's own reader refuses a header of another version; the bundle's takes the scales alone.

    Args:
        ranges: dict, name of a tensor -> largest magnitude.
        version: of TensorRT, such as "8.5.2".

    Returns:
        str that ends with a newline.
    """
    major, minor, patch = ([int(part) for part in version.split(".")] + [0, 0])[:3]
    # As NV_TENSORRT_VERSION in NvInferVersion.h, which has had two digits for the minor version since 10.
    number = major * (1000 if major < 10 else 10_000) + minor * 100 + patch
    lines = [f"TRT-{number}-EntropyCalibration2"]
    lines += [f"{name}: {struct.pack('>f', largest / LARGEST).hex()}" for name, largest in ranges.items()]
    return "\n".join(lines) + "\n"
