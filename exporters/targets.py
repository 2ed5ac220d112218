"""What files are made for: what the boards can read, from the table beside, `targets.toml`, and the runtimes."""

import functools
import tomllib
from enum import StrEnum
from importlib import resources

from zoo.errors import ZooError, did_you_mean

# A net of operator set 18 or older needs nothing of the newer ones, which many parsers on boards predate.
NEWEST_IR = 8
NEWEST_OPSET = 18  # that tf2onnx 1.17 knows
WRITTEN_IR = (
    14  # the newest that onnx 1.23 writes; not asked for here, as `zoo export` of a wrong name shall not wait for it
)
OLDEST_IR = 4  # before it, weights count as inputs


class Runtime(StrEnum):
    """What a file is to be fast in; it runs in both."""

    TENSORRT = "tensorrt"
    ONNXRUNTIME = "onnxruntime"


@functools.cache
def _table():
    return tomllib.loads((resources.files("exporters") / "targets.toml").read_text("utf-8"))


def names():
    """Return the names of the boards, oldest first."""
    return [target["name"] for target in _table()["target"]]


def target(name):
    """Return what is known of a board with its newest documented JetPack: board, jetpack, tensorrt, max_opset, verified.

    Raises:
        ZooError: if there is no such board, with the nearest names.
    """
    found = next((each for each in _table()["target"] if each["name"] == name), None)
    if found is None:
        raise ZooError(f"no target '{name}'{did_you_mean(name, names())} There are {', '.join(names())}")
    reader = next(each for each in _table()["tensorrt"] if each["version"] == found["tensorrt"])
    return {**found, "max_opset": reader["max_opset"], "verified": reader["verified"]}


def check(name, opset, ir):
    """Refuse an operator set or file format that nothing here can write, or that a board does not read.

    Args:
        name: of the board, or None for any.
        opset: ONNX operator set.
        ir: version of the ONNX file format.

    Raises:
        ZooError: with what can be written, or what the board reads.
    """
    if opset > NEWEST_OPSET:
        raise ZooError(f"opset {opset} is not known to tf2onnx, the newest is {NEWEST_OPSET}; give --opset {NEWEST_OPSET}")
    if not OLDEST_IR <= ir <= WRITTEN_IR:
        raise ZooError(f"file format {ir} cannot be written, only {OLDEST_IR} to {WRITTEN_IR}; give --ir {NEWEST_IR}")
    if name is None:
        return
    board = target(name)
    reader = f"TensorRT {board['tensorrt']} of JetPack {board['jetpack']}, the newest documented for {board['board']},"
    if opset > (newest := board["max_opset"]):
        raise ZooError(f"{reader} reads operator sets up to {newest}; given was --opset {opset}. Give --opset {newest}")
    if ir > NEWEST_IR:
        raise ZooError(f"{reader} is not known to read file format {ir}; give --ir {NEWEST_IR}")
