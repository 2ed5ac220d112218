"""The named values that options and metadata take. Each list is declared once, here or in `exporters.precision`."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Self

from zoo.errors import ZooError, did_you_mean


class Choice(StrEnum):
    """Base class of the choices. A member equals its name, such as "nchw"."""

    @classmethod
    def parse(cls, value: str, allowed: Iterable[Self] | None = None) -> Self:
        """Return the member of a name.

        Args:
            value: such as "nchw".
            allowed: members to choose from. Default: all.

        Raises:
            ZooError: if the name is none of them; the message lists them and the nearest one.
        """
        known = [each.value for each in allowed or cls]
        if value not in known:
            expected = f"{', '.join(known[:-1])} or {known[-1]}"
            near = did_you_mean(str(value), known)
            raise ZooError(f"{cls.__name__.lower()} must be {expected}; given was '{value}'{near}")
        return cls(value)


class Layout(Choice):
    """Order of the axes of an image."""

    NCHW = "nchw"
    NHWC = "nhwc"


class Pixels(Choice):
    """Type of the raw 0-255 pixels that a file takes."""

    UINT8 = "uint8"
    FLOAT32 = "float32"


class Runtime(Choice):
    """The runtime that a graph is optimized for. Both runtimes compute the same from either graph."""

    TENSORRT = "tensorrt"
    ONNXRUNTIME = "onnxruntime"


class Method(Choice):
    """How calibration finds the ranges of activations; see `exporters.quantization.calibrate.ranges`."""

    PERCENTILE = "percentile"
    ENTROPY = "entropy"
    MINMAX = "minmax"


class Scores(Choice):
    """Type of the scores of a float16 file."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"


DEFAULT_METHOD = Method.PERCENTILE  # smallest loss overall; entropy fails if most activations are equal, as for white paper
