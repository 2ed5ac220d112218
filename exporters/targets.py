"""What files are made for: boards, the JetPacks that they take and what each TensorRT reads, from `targets.toml` beside."""

import functools
import re
import tomllib
from dataclasses import dataclass, field
from importlib import resources

from zoo.errors import ZooError, did_you_mean

# A net of operator set 18 or older needs nothing of the newer ones, which many parsers on boards predate.
OPSET = 13  # new enough for one scale per channel, old enough for the parsers of most boards
NEWEST_IR = 8
NEWEST_OPSET = 18  # that tf2onnx 1.17 knows
WRITTEN_IR = 14  # newest that onnx 1.23 writes; a constant, so that errors need not wait for the import of onnx
OLDEST_IR = 4  # before it, weights count as inputs


@dataclass(frozen=True)
class JetPack:
    """What a JetPack installs on a board; `tensorrt` is None where it brings none."""

    version: str
    l4t: str
    cuda: str
    cudnn: str
    python: str
    ubuntu: str
    source: str
    tensorrt: str | None = None

    @property
    def unverified(self):
        """Whether no document says that it has these versions."""
        return self.source.startswith("unverified")


@dataclass(frozen=True)
class TensorRT:
    """What a version of TensorRT takes.

    Attributes:
        version: such as "8.2"; patches read the same.
        max_opset: the newest ONNX operator set that its parser knows.
        verified: whether a document says so.
        dla: names of the chips or targets whose DLA it can use.
        sources: of max_opset and dla.
        uint8: whether a network's input may be UINT8.
        explicit_quantization: whether it reads QuantizeLinear and DequantizeLinear.
        strongly_typed: whether it can take the types from the model instead of from flags.
        dla_strongly_typed: whether that holds for the DLA, which otherwise takes INT8 with a calibration table.
    """

    version: str
    max_opset: int
    verified: bool
    dla: tuple
    sources: dict = field(hash=False)
    uint8: bool = False
    explicit_quantization: bool = False
    strongly_typed: bool = False
    dla_strongly_typed: bool = False

    def takes_dla(self, board):
        """Whether it can use the DLA of a `Target`."""
        return board.soc in self.dla or board.name in self.dla


@dataclass(frozen=True)
class Target:
    """A board or graphics card.

    Attributes:
        name: such as "orin-nano".
        board: as NVIDIA calls it.
        soc: chip.
        compute_capability: of the GPU, such as "8.7".
        cuda_cores: of the GPU.
        gpu_mhz: largest clock of the GPU.
        memory_gb: of the board, which CPU and GPU share, or of the card.
        memory_bandwidth_gbs: GB/s.
        fp32_tflops, fp16_tflops: dense peaks of the GPU, with tensor cores where there are any for the type.
        int8_tops: dense peak of the GPU; 0.0 where TensorRT has no INT8 on it.
        dla_cores: deep learning accelerators beside the GPU.
        dla_int8_tops: dense peak of all of them.
        cpu: of the board; "" for a card.
        power_mode: that the rates are of, if there are several.
        notes: what the numbers do not say.
        jetpacks: of `JetPack`, oldest first; empty for a card.
        sources: of each fact, by its name.
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
    jetpacks: tuple = ()

    @property
    def is_jetson(self):
        return bool(self.jetpacks)

    @property
    def unverified(self):
        """Names of the facts that no document stands behind."""
        return tuple(name for name, source in self.sources.items() if source.startswith("unverified"))

    def jetpack(self, version=None):
        """Return a `JetPack` of the board, by default the newest whose versions are documented.

        Raises:
            ZooError: if the board takes no such JetPack.
        """
        if not self.is_jetson:
            raise ZooError(
                f"{self.board} takes no JetPack; give --tensorrt VERSION, one of {', '.join(tensorrt_versions())}"
            )
        if version is None:
            return next((each for each in reversed(self.jetpacks) if not each.unverified), self.jetpacks[-1])
        found = next((each for each in self.jetpacks if each.version == version), None)
        if found is None:
            known = [each.version for each in self.jetpacks]
            near = did_you_mean(version, known)
            raise ZooError(f"no JetPack '{version}' is known for {self.board}{near} There are {', '.join(known)}")
        return found


@functools.cache
def _table():
    return tomllib.loads((resources.files("exporters") / "targets.toml").read_text("utf-8"))


def number(version):
    """Return a version as a tuple of integers, which compares as versions do."""
    return tuple(int(part) for part in version.split("."))


def names():
    """Return the names of the targets: the boards, then the cards, each oldest first."""
    return [entry["name"] for entry in _table()["target"]]


@functools.cache
def target(name):
    """Return a `Target` by its name.

    Raises:
        ZooError: if there is no such target, with the nearest names.
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
    """Return the entry of a target behind those that it is like."""
    like = entries[name].get("like")
    return [*(_lineage(entries, like) if like else []), entries[name]]


def tensorrt_versions():
    """Return the versions of TensorRT that are known, oldest first."""
    return [entry["version"] for entry in _table()["tensorrt"]]


def newest_tensorrt():
    """Return the newest version of TensorRT whose operator set a document gives."""
    return [entry["version"] for entry in _table()["tensorrt"] if entry["verified"]][-1]


def tensorrt(version):
    """Return what is known of a `TensorRT`; "8.2.1" finds "8.2", while "11.4.1" has an entry of its own.

    Raises:
        ZooError: if there is no such version, or it is none.
    """
    if not re.fullmatch(r"\d+(\.\d+)*", version):
        raise ZooError(f"a version of TensorRT is numbers, as in 10.3.0; given was '{version}'")
    parts = version.split(".")
    prefixes = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    entries = {entry["version"]: entry for entry in _table()["tensorrt"]}
    found = next((entries[prefix] for prefix in prefixes if prefix in entries), None)
    if found is None:
        known = did_you_mean(version, entries)
        raise ZooError(f"nothing is known of TensorRT '{version}'{known} There are {', '.join(entries)}")
    features = {each["name"]: number(found["version"]) >= number(each["since"]) for each in _table()["feature"]}
    facts = {key: value for key, value in found.items() if key != "source"}
    return TensorRT(**facts | {"dla": tuple(found["dla"])}, sources=found["source"], **features)


def operators_since():
    """Return the operators that the parser has not always known: dict, name -> the version that began to."""
    return {each["name"]: each["since"] for each in _table()["operator"]}


def no_tensorrt(board):
    """Return the words that refuse a `Target` for which there is no TensorRT."""
    return (
        f"there is no TensorRT for {board.board}; its processor can run a file in onnxruntime: "
        "zoo export MODEL --to onnx --runtime onnxruntime"
    )


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
    if board.is_jetson:
        jetpack = board.jetpack()
        if jetpack.tensorrt is None:
            raise ZooError(no_tensorrt(board))
        version = jetpack.tensorrt
        reader = f"TensorRT {version} of JetPack {jetpack.version}, the newest documented for {board.board},"
    else:
        version = newest_tensorrt()
        reader = f"TensorRT {version}, the newest documented,"
    if opset > (newest := tensorrt(version).max_opset):
        raise ZooError(f"{reader} reads operator sets up to {newest}; given was --opset {opset}. Give --opset {newest}")
    if ir > NEWEST_IR:
        raise ZooError(f"{reader} is not known to read file format {ir}; give --ir {NEWEST_IR}")
