"""The calibration table, beside headers and lines of tables that TensorRT wrote itself."""

import struct

import numpy as np
import pytest

from exporters.bundle import table


@pytest.mark.parametrize(
    ("version", "header"),
    [
        ("7.1.3", "TRT-7103-EntropyCalibration2"),
        ("7.2.2", "TRT-7202-EntropyCalibration2"),
        ("8.5.2", "TRT-8502-EntropyCalibration2"),
        ("10.3.0", "TRT-100300-EntropyCalibration2"),
        ("10.16.2.10", "TRT-101602-EntropyCalibration2"),
    ],
)
def test_header_contains_the_version(version, header):
    assert table.text({}, version) == f"{header}\n"


def test_scale_is_a_big_endian_float():
    """3c010a14 is what TensorRT writes for pictures of 0 to 1: 1/127 to within a rounding of its histogram."""
    (scale,) = struct.unpack(">f", bytes.fromhex("3c010a14"))
    line = table.text({"data": scale * 127}, "8.5.2").splitlines()[1]
    assert line == "data: 3c010a14"


def test_ranges_round_trip():
    ranges = {f"layer{number}": value for number, value in enumerate(np.geomspace(1e-6, 1e6, 25))}
    lines = table.text(ranges, "8.2.1").splitlines()[1:]
    read = {name: np.frombuffer(bytes.fromhex(scale), ">f4")[0] for name, scale in (line.split(": ") for line in lines)}
    np.testing.assert_allclose([read[name] * 127 for name in ranges], list(ranges.values()), rtol=1e-6)
