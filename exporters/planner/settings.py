"""How a model is exported and built for a target, resolved before Keras loads. An error names options that do work."""

from dataclasses import dataclass, field

from exporters import targets
from exporters.choices import Pixels
from exporters.options import BATCHES_EXPECTED, EngineOptions
from exporters.precision import Precision
from exporters.targets import OPSET, JetPack, Target, TensorRT
from zoo.errors import ZooError

OLDEST_TENSORRT = "7.1"  # the oldest whose ONNX parser is documented here
BATCHES = (1, 8, 64)
DLA_BATCHES = (1, 1, 1)  # NVIDIA: on the DLA, the min, opt and max shapes of a profile must be equal
UNUSED = ("soc", "cpu")  # facts that do not affect a plan
WORKSPACE_SHARE, MAX_WORKSPACE_MB = 16, 1024  # 1/16 of the memory; no network of the zoo benefits from more


@dataclass(frozen=True)
class Settings:
    """How to export a model and build its engine.

    Attributes:
        target: board or graphics card.
        jetpack: JetPack of a board; None for a graphics card.
        tensorrt: documented properties of the TensorRT version.
        tensorrt_version: full version, such as "8.2.1".
        precision: precision of the engine.
        opset: ONNX operator set of the file.
        ir: version of the ONNX file format.
        pixels: data type of the input.
        dla: run supported layers on the DLA.
        profile: minimum, optimum and maximum batch.
        workspace_mb: workspace of the builder in MiB.
        calibration_table: the model stays float32 and the INT8 ranges are in a separate file, which is the only INT8 mode of
            most DLAs.
        strongly_typed: the precisions come from the model; otherwise builder flags enable them.
        warnings: one sentence for each fact that no document confirms.
        options: `exporters.options.EngineOptions` that these settings were resolved from.
    """

    target: Target
    jetpack: JetPack | None
    tensorrt: TensorRT
    tensorrt_version: str
    precision: Precision
    opset: int
    ir: int
    pixels: Pixels
    dla: bool
    profile: tuple[int, int, int]
    workspace_mb: int
    calibration_table: bool
    strongly_typed: bool
    warnings: tuple[str, ...]
    options: EngineOptions = field(compare=False)

    @property
    def reader(self) -> str:
        """Name of the software that reads the file, such as "TensorRT 8.2.1 of JetPack 4.6.1"."""
        return _reader(self.tensorrt_version, self.jetpack)


def resolve(options: EngineOptions) -> Settings:
    """Return the settings of an engine, with every default filled in.

    Args:
        options: `exporters.options.EngineOptions`.

    Raises:
        ZooError: if the target does not support an option; the message names what it supports.
    """
    if options.target is None:
        raise ZooError(
            "an engine is built for one board or card; name it with --target, as in --target orin-nano. "
            "`zoo targets` lists them"
        )
    board = targets.target(options.target)
    precision = Precision.FP16 if options.precision is None else Precision.parse(options.precision)
    dla = options.dla
    pack, version = _tensorrt_of(board, options.jetpack, options.tensorrt)
    library = targets.tensorrt(version)
    reader = _reader(version, pack)
    if precision == Precision.INT8 and not board.int8_tops:
        raise ZooError(f"{board.board} has no INT8: its GPU computes in float16 and float32; give --precision fp16")
    if dla:
        _check_dla(board, library, precision, reader)
    if precision == Precision.INT8 and not library.explicit_quantization:
        newer = _newest(board, lambda each: each.explicit_quantization)
        raise ZooError(f"{reader} reads no QuantizeLinear, which INT8 models contain; {newer} or --precision fp16")
    opset = _opset(options.opset, library, precision, reader)
    return Settings(
        target=board,
        jetpack=pack,
        tensorrt=library,
        tensorrt_version=version,
        precision=precision,
        opset=opset,
        ir=targets.NEWEST_IR,
        pixels=Pixels.UINT8 if library.uint8 else Pixels.FLOAT32,
        dla=dla,
        profile=_profile(options.batches, dla),
        workspace_mb=min(board.memory_gb * 1024 // WORKSPACE_SHARE, MAX_WORKSPACE_MB),
        calibration_table=dla and precision == Precision.INT8 and not library.dla_strongly_typed,
        strongly_typed=library.dla_strongly_typed if dla else library.strongly_typed,
        warnings=tuple(_warnings(board, pack, library, dla)),
        options=options,
    )


def _reader(version, pack):
    return f"TensorRT {version}{f' of JetPack {pack.version}' if pack else ''}"


def _tensorrt_of(board, jetpack, tensorrt):
    """Return (JetPack or None for a graphics card, full TensorRT version)."""
    if not board.is_jetson:
        if jetpack is not None:
            board.jetpack(jetpack)
        return None, tensorrt or targets.newest_tensorrt()
    if tensorrt is not None:
        raise ZooError(
            f"--tensorrt is for graphics cards; the TensorRT of {board.board} is part of its JetPack: "
            f"give --jetpack VERSION, one of {', '.join(each.version for each in board.jetpacks)}"
        )
    pack = board.jetpack(jetpack)
    if not any(each.tensorrt for each in board.jetpacks):
        raise ZooError(targets.no_tensorrt(board))
    if targets.number(pack.tensorrt) < targets.number(OLDEST_TENSORRT):
        newer = _newest(board, lambda each: True)
        raise ZooError(
            f"what TensorRT {pack.tensorrt} of JetPack {pack.version} reads is not documented here; {newer}, the newest of "
            f"{board.board}"
        )
    return pack, pack.tensorrt


def _newest(board, predicate):
    """Return the option for the newest documented TensorRT of a target that satisfies a predicate, or ""."""
    if not board.is_jetson:
        suitable = [each for each in targets.tensorrt_versions() if predicate(targets.tensorrt(each))]
        return f"give --tensorrt {suitable[-1]}" if suitable else ""
    for pack in sorted(board.jetpacks, key=lambda each: (not each.unverified, targets.number(each.version)), reverse=True):
        known = pack.tensorrt and targets.number(pack.tensorrt) >= targets.number(OLDEST_TENSORRT)
        if known and predicate(targets.tensorrt(pack.tensorrt)):
            return f"give --jetpack {pack.version} (TensorRT {pack.tensorrt})"
    return ""


def _check_dla(board, library, precision, reader):
    """Raise `ZooError` if the board has no DLA, or its TensorRT cannot use it."""
    if not board.dla_cores:
        raise ZooError(f"{board.board} has no DLA; leave --dla out")
    if precision == Precision.FP32:
        raise ZooError("the DLA only supports float16 and INT8; give --precision fp16, or leave --dla out")
    if not library.takes_dla(board):
        able = _newest(board, lambda each: each.takes_dla(board))
        later = [each for each in targets.tensorrt_versions() if targets.number(each) > targets.number(library.version)]
        again = next((each for each in later if targets.tensorrt(each).takes_dla(board)), None)
        note = f" TensorRT {again} can use it again, but no documented JetPack includes it." if again else ""
        offer = f"{able} with --dla, or leave --dla out" if able else "leave --dla out"
        raise ZooError(f"{reader} cannot use the DLA of {board.board}.{note} {offer[0].upper()}{offer[1:]}")


def default_profile(dla: bool) -> tuple[int, int, int]:
    """Return the default minimum, optimum and maximum batch."""
    return DLA_BATCHES if dla else BATCHES


def _opset(opset, library, precision, reader):
    oldest, newest = precision.oldest_opset, min(library.max_opset, targets.NEWEST_OPSET)
    if opset is None:
        opset = targets.default_opset(library)
    if opset > library.max_opset:
        raise ZooError(
            f"{reader} reads operator sets up to {library.max_opset}; given was --opset {opset}. Give --opset {newest}"
        )
    if opset > newest:
        raise ZooError(f"opset {opset} is not known to tf2onnx, the newest is {newest}; give --opset {newest}")
    if opset < oldest:
        raise ZooError(
            f"opset {opset} is too old for {precision}, which begins with {oldest}; give --opset {max(oldest, OPSET)}"
        )
    return opset


def _profile(batches, dla):
    """Return the validated minimum, optimum and maximum batch."""
    profile = tuple(batches) if batches is not None else default_profile(dla)
    given = ",".join(map(str, profile))
    profile = 3 * profile if len(profile) == 1 else profile
    if len(profile) != 3 or list(profile) != sorted(profile) or profile[0] < 1:
        raise ZooError(f"{BATCHES_EXPECTED}; given was --batch {given}")
    if dla and profile[0] != profile[2]:
        raise ZooError(f"on the DLA all batches have one size; give --batch {profile[1]}, or leave --dla out")
    return profile


def _warnings(board, pack, library, dla):
    """Yield a sentence for each undocumented fact that a plan for the target depends on."""
    if pack is None:
        yield f"that TensorRT {library.version} runs on compute capability {board.compute_capability}"
    elif pack.unverified:
        yield f"JetPack {pack.version}: {_doubt(pack.source)}"
    if dla and library.sources["dla"].startswith("unverified"):
        yield f"DLA in TensorRT {library.version}: {_doubt(library.sources['dla'])}"
    for fact in board.unverified:
        if fact not in UNUSED:
            yield f"{fact} of {board.board}: {_doubt(board.sources[fact])}"


def _doubt(source):
    return source.removeprefix("unverified: ")
