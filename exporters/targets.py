"""Boards and cards, the JetPacks of each board, and the features of each TensorRT version, from `targets.toml`."""

import functools
import re
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING

from zoo.errors import ZooError, did_you_mean

if TYPE_CHECKING:
    import onnx_ir as ir

# Newer operator sets add nothing that the models need, and many parsers on boards do not read them.
OPSET = 13  # new enough for one scale per channel, old enough for the parsers of most boards
NEWEST_IR = 8
NEWEST_OPSET = 18  # newest that tf2onnx 1.17 writes
WRITTEN_IR = 14  # newest that onnx 1.23 writes; a constant, so that errors need not wait for the import of onnx
FALLBACK_OPSET = 11  # older than the operators that a parser may lack
OLDEST_IR = 4  # before it, weights count as inputs


@dataclass(frozen=True)
class JetPack:
    """The versions that a JetPack installs on a board; `tensorrt` is None if it has none."""

    version: str
    l4t: str
    cuda: str
    cudnn: str
    python: str
    ubuntu: str
    source: str
    tensorrt: str | None = None

    @property
    def unverified(self) -> bool:
        """Whether no document confirms these versions."""
        return self.source.startswith("unverified")


@dataclass(frozen=True)
class TensorRT:
    """The features of a version of TensorRT.

    Attributes:
        version: such as "8.2"; patch versions have the same features.
        max_opset: newest ONNX operator set that its parser reads.
        verified: whether a document confirms max_opset.
        dla: names of the chips or targets whose DLA it supports.
        sources: of max_opset and dla.
        uint8: whether the input of a network may be UINT8.
        explicit_quantization: whether it reads QuantizeLinear and DequantizeLinear.
        strongly_typed: whether it can read types from the model instead of from flags.
        dla_strongly_typed: whether that applies to the DLA; otherwise INT8 on it needs a calibration table.
    """

    version: str
    max_opset: int
    verified: bool
    dla: tuple[str, ...]
    sources: dict = field(hash=False)
    uint8: bool = False
    explicit_quantization: bool = False
    strongly_typed: bool = False
    dla_strongly_typed: bool = False

    def takes_dla(self, board: "Target") -> bool:
        """Return whether it supports the DLA of a target."""
        return board.soc in self.dla or board.name in self.dla


@dataclass(frozen=True)
class Target:
    """A board or graphics card.

    Attributes:
        name: such as "orin-nano".
        board: NVIDIA's name.
        soc: chip.
        compute_capability: of the GPU, such as "8.7".
        cuda_cores: of the GPU.
        gpu_mhz: largest clock of the GPU.
        memory_gb: of the board, shared by CPU and GPU, or of the card.
        memory_bandwidth_gbs: GB/s.
        fp32_tflops, fp16_tflops: dense peaks of the GPU, with tensor cores if they support the type.
        int8_tops: dense peak of the GPU; 0.0 if TensorRT has no INT8 on it.
        dla_cores: number of deep learning accelerators.
        dla_int8_tops: dense peak of all of them.
        cpu: of the board; "" for a card.
        power_mode: in which the rates are reached, if there are several.
        notes: remarks about the numbers.
        jetpacks: `JetPack` each, oldest first; empty for a card.
        sources: dict, name of a fact -> its source.
    """

    name: str
    board: str
    soc: str
    compute_capability: str
    cuda_cores: int
    gpu_mhz: int
    memory_gb: int
    memory_bandwidth_gbs: float
    fp32_tflops: float
    fp16_tflops: float
    int8_tops: float
    sources: dict = field(hash=False)
    dla_cores: int = 0
    dla_int8_tops: float = 0.0
    cpu: str = ""
    power_mode: str = ""
    notes: str = ""
    jetpacks: tuple[JetPack, ...] = ()

    @property
    def is_jetson(self) -> bool:
        """Whether it is a board with JetPack."""
        return bool(self.jetpacks)

    @property
    def unverified(self) -> tuple[str, ...]:
        """Names of the facts that no document confirms."""
        return tuple(name for name, source in self.sources.items() if source.startswith("unverified"))

    def jetpack(self, version: str | None = None) -> JetPack:
        """Return a JetPack of the board.

        Args:
            version: such as "6.2". Default: the newest with documented versions.

        Raises:
            ZooError: if the board has no such JetPack.
        """
        if not self.is_jetson:
            raise ZooError(
                f"{self.board} takes no JetPack; give --tensorrt VERSION, one of {', '.join(tensorrt_versions())}"
            )
        if version is None:
            return next((each for each in reversed(self.jetpacks) if not each.unverified), self.jetpacks[-1])
        jetpack = next((each for each in self.jetpacks if each.version == version), None)
        if jetpack is None:
            known = [each.version for each in self.jetpacks]
            near = did_you_mean(version, known)
            raise ZooError(f"no JetPack '{version}' is known for {self.board}{near} There are {', '.join(known)}")
        return jetpack


@functools.cache
def _table():
    return tomllib.loads((resources.files("exporters") / "targets.toml").read_text("utf-8"))


def number(version: str) -> tuple[int, ...]:
    """Return a version as a tuple of integers, to compare it."""
    return tuple(int(part) for part in version.split("."))


def names() -> list[str]:
    """Return the names of the targets: first boards, then cards, oldest first."""
    return [entry["name"] for entry in _table()["target"]]


@functools.cache
def target(name: str) -> Target:
    """Return a target by its name.

    Raises:
        ZooError: if there is no such target; the message names the nearest ones.
    """
    entries = {entry["name"]: entry for entry in _table()["target"]}
    if name not in entries:
        raise ZooError(f"no target '{name}'{did_you_mean(name, names())} There are {', '.join(names())}")
    facts, sources = {}, {}
    for entry in _lineage(entries, name):
        facts |= {key: value for key, value in entry.items() if key not in ("like", "source", "notes")}
        sources |= entry.get("source", {})
    jetpacks = {entry["version"]: JetPack(**entry) for entry in _table()["jetpack"]}
    facts["jetpacks"] = tuple(jetpacks[version] for version in facts.get("jetpacks", ()))
    return Target(**facts, notes=entries[name].get("notes", ""), sources=sources)


def _lineage(entries, name):
    """Return the entries that a target inherits facts from, then its own."""
    like = entries[name].get("like")
    return [*(_lineage(entries, like) if like else []), entries[name]]


def tensorrt_versions() -> list[str]:
    """Return the known versions of TensorRT, oldest first."""
    return [entry["version"] for entry in _table()["tensorrt"]]


def newest_tensorrt() -> str:
    """Return the newest version of TensorRT whose operator set is documented."""
    return [entry["version"] for entry in _table()["tensorrt"] if entry["verified"]][-1]


def tensorrt(version: str) -> TensorRT:
    """Return the features of a version of TensorRT: "8.2.1" finds "8.2", but "11.4.1" has its own entry.

    Raises:
        ZooError: if the version is unknown or not a version.
    """
    if not re.fullmatch(r"\d+(\.\d+)*", version):
        raise ZooError(f"a version of TensorRT is made of numbers, as in 10.3.0; given was '{version}'")
    parts = version.split(".")
    prefixes = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    entries = {entry["version"]: entry for entry in _table()["tensorrt"]}
    entry = next((entries[prefix] for prefix in prefixes if prefix in entries), None)
    if entry is None:
        known = did_you_mean(version, entries)
        raise ZooError(f"nothing is known of TensorRT '{version}'{known} There are {', '.join(entries)}")
    features = {each["name"]: number(entry["version"]) >= number(each["since"]) for each in _table()["feature"]}
    facts = {key: value for key, value in entry.items() if key != "source"}
    return TensorRT(**facts | {"dla": tuple(entry["dla"])}, sources=entry["source"], **features)


def default_opset(library: TensorRT | None = None) -> int:
    """Return the default ONNX operator set, `OPSET`, or an older one if the given version of TensorRT does not read it."""
    return OPSET if library is None else min(OPSET, library.max_opset)


def operators_since() -> dict[str, str]:
    """Return the operators that old parsers lack: dict, name -> first version that reads it."""
    return {each["name"]: each["since"] for each in _table()["operator"]}


def no_tensorrt(board: Target) -> str:
    """Return the error message for a target without TensorRT."""
    return (
        f"there is no TensorRT for {board.board}; its processor can run a file in onnxruntime: "
        "zoo export MODEL --to onnx --runtime onnxruntime"
    )


def newest_of(board: Target) -> tuple[TensorRT, str]:
    """Return the newest documented version of TensorRT for a target, and how an error names it.

    Raises:
        ZooError: if there is no TensorRT for it.
    """
    if not board.is_jetson:
        version = newest_tensorrt()
        return tensorrt(version), f"TensorRT {version}, the newest documented,"
    jetpack = board.jetpack()
    if jetpack.tensorrt is None:
        raise ZooError(no_tensorrt(board))
    title = f"TensorRT {jetpack.tensorrt} of JetPack {jetpack.version}, the newest documented for {board.board},"
    return tensorrt(jetpack.tensorrt), title


def check(name: str | None, opset: int, ir: int) -> None:
    """Raise an error for an operator set or file format that cannot be written, or that a target does not read.

    Args:
        name: of the target, or None for any.
        opset: ONNX operator set.
        ir: version of the ONNX file format.

    Raises:
        ZooError: with a value that works.
    """
    if opset > NEWEST_OPSET:
        raise ZooError(f"opset {opset} is not known to tf2onnx, the newest is {NEWEST_OPSET}; give --opset {NEWEST_OPSET}")
    if not OLDEST_IR <= ir <= WRITTEN_IR:
        raise ZooError(f"file format {ir} cannot be written, only {OLDEST_IR} to {WRITTEN_IR}; give --ir {NEWEST_IR}")
    if name is None:
        return
    library, reader = newest_of(target(name))
    if opset > (newest := library.max_opset):
        raise ZooError(f"{reader} reads operator sets up to {newest}; given was --opset {opset}. Give --opset {newest}")
    if ir > NEWEST_IR:
        raise ZooError(f"{reader} is not known to read file format {ir}; give --ir {NEWEST_IR}")


def check_graph(name: str, model: "ir.Model", raw_input: bool = True) -> None:
    """Raise an error for a graph that the newest documented TensorRT of a target does not read.

    Args:
        name: of the target.
        model: graph.
        raw_input: whether its input takes raw images, whose type can be chosen.

    Raises:
        ZooError: with an option that works.
    """
    library, reader = newest_of(target(name))
    for graph_input in model.graph.inputs:
        if str(graph_input.dtype.numpy()) != "uint8":
            continue
        remedy = "give --pixels float32" if raw_input else "build the model with an input of float32"
        if not library.uint8:
            raise ZooError(f"{reader} takes no uint8 input; {remedy}")
        if any(use.node.op_type != "Cast" for use in graph_input.uses()):
            raise ZooError(f"{reader} only casts a uint8 input, and this file transposes it; give --layout nchw")
    since = operators_since()
    for node in model.graph:
        if node.op_type in since and number(library.version) < number(since[node.op_type]):
            raise ZooError(f"{reader} does not support {node.op_type}; give --opset {FALLBACK_OPSET}, which avoids it")
