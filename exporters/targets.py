"""What the boards can read, from the table beside: `targets.toml`."""

import functools
import tomllib
from importlib import resources

from zoo.errors import ZooError, did_you_mean

# A net of operator set 18 or older needs nothing of the newer ones, which many parsers on boards predate.
NEWEST_IR = 8


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
    """Refuse an operator set or file format that a board does not read.

    Args:
        name: of the board.
        opset: ONNX operator set.
        ir: version of the ONNX file format.

    Raises:
        ZooError: with what the board reads.
    """
    board = target(name)
    reader = f"TensorRT {board['tensorrt']} of JetPack {board['jetpack']}, the newest documented for {board['board']},"
    if opset > board["max_opset"]:
        raise ZooError(f"{reader} reads operator sets up to {board['max_opset']}; given was --opset {opset}")
    if ir > NEWEST_IR:
        raise ZooError(f"{reader} is not known to read file format {ir}; give --ir {NEWEST_IR}")
