"""The plan of an engine before it is built: settings, DLA placement, memory, and a lower bound for its time."""

import shlex
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from exporters import targets
from exporters.choices import Pixels
from exporters.onnx import half, metadata
from exporters.planner import dla, layers, memory, roofline, trtexec
from exporters.planner.settings import Settings, default_profile
from exporters.precision import Precision
from exporters.quantization import insert
from zoo.errors import ZooError

CALIBRATION_TABLE = "the model stays float32; the INT8 ranges are in calibration.cache, and layers run in INT8 or float16"


@dataclass(frozen=True)
class Plan:
    """The plan of an engine for a model on a target.

    Attributes:
        model: model, as an argument of `zoo export`.
        settings: settings of the export and the build.
        input: name of the network's input.
        pixels: data type of the input.
        shape: shape of one input image.
        layers: layers of the network.
        memory: memory that the build needs, for the largest batch.
        estimates: lower bounds for the time, for the smallest and the optimal batch.
        placement: name of a layer -> None if the DLA supports it, else the reason; empty without a DLA.
        describing: words of the next command that describe the images of the model; None if there is no bundle of it.
    """

    model: str
    settings: Settings
    input: str
    pixels: str
    shape: tuple[int, ...]
    layers: list[layers.Layer]
    memory: memory.Memory
    estimates: tuple[roofline.Estimate, ...]
    placement: dict[str, str | None]
    describing: tuple[str, ...] | None = ()

    @property
    def trtexec(self) -> str:
        """The command that builds the engine on the target."""
        return trtexec.line(self.settings, self.input, self.shape)

    @property
    def recipe(self) -> str:
        """How the precision is realized, as a sentence."""
        return CALIBRATION_TABLE if self.settings.calibration_table else self.settings.precision.recipe

    @property
    def dla_layers(self) -> list[str]:
        """Names of the layers that the DLA supports according to NVIDIA's documentation."""
        return [name for name, reason in self.placement.items() if reason is None]

    @property
    def next_command(self) -> str:
        """The command that exports the model with these settings."""
        settings, board = self.settings, self.settings.target
        opset = [] if settings.opset == targets.default_opset(settings.tensorrt) else ["--opset", str(settings.opset)]
        if self.describing is None:
            return shlex.join(["zoo", "export", self.model, "--to", "onnx", "--target", board.name, *opset])
        words = ["zoo", "export", self.model, "--to", "tensorrt", "--target", board.name, "--precision", settings.precision]
        if settings.jetpack and settings.jetpack != board.jetpack():
            words += ["--jetpack", settings.jetpack.version]
        if not settings.jetpack:
            words += ["--tensorrt", settings.tensorrt_version]
        words += ["--dla"] if settings.dla else []
        words += opset
        words += (
            ["--batch", ",".join(map(str, settings.profile))] if settings.profile != default_profile(settings.dla) else []
        )
        words += ["--calibration", "FOLDER"] if settings.precision == Precision.INT8 else []
        return shlex.join([*words, *self.describing])

    def plain(self) -> dict[str, Any]:
        """Return the plan as a JSON-serializable dict."""
        settings, board, pack = self.settings, self.settings.target, self.settings.jetpack
        return {
            "model": self.model,
            "target": board.name,
            "board": board.board,
            "jetpack": pack and pack.version,
            "tensorrt": settings.tensorrt_version,
            "cuda": pack and pack.cuda,
            "python": pack and pack.python,
            "opset": settings.opset,
            "ir_version": settings.ir,
            "input": {"name": self.input, "dtype": self.pixels, "layout": "NCHW", "shape": list(self.shape)},
            "precision": settings.precision,
            "recipe": self.recipe,
            "profile": dict(zip(("min", "opt", "max"), settings.profile, strict=True)),
            "workspace_mb": settings.workspace_mb,
            "dla": dict(self.placement) if settings.dla else None,
            "trtexec": self.trtexec,
            "memory": {name: getattr(self.memory, name) for name in MEMORY},
            "layers": [_plain_row(row) for row in self.estimates[-1].rows],
            "peaks": _peaks(board),
            "estimates": [
                {"batch": each.batch, "seconds": each.seconds, "images_per_second": each.images_per_second}
                for each in self.estimates
            ],
            "unverified": list(settings.warnings),
            "next": self.next_command,
        }


MEMORY = ("weights", "copies", "activations", "workspace", "runtime", "total", "available")
PEAKS = ("memory_bandwidth_gbs", *(each.peak for each in Precision))


def plan(graph: ir.Model, settings: Settings, model: str | None = None, describing: tuple[str, ...] | None = ()) -> Plan:
    """Plan the engine of an exported graph.

    Args:
        graph: graph from `exporters.onnx.convert.convert`, in float32 or in the precision of the settings.
        settings: settings of the export and the build.
        model: model that the graph was exported from, as an argument of `zoo export`. Default: from the graph's metadata.
        describing: options of `zoo export` that describe the images of the model; None if there is no bundle of it.

    Raises:
        ZooError: if the model is not available in that precision, the cost of a layer is unknown, the model does not fit
            into the target's memory, or it has an operator that the target's TensorRT does not support.
    """
    about = metadata.find(graph)
    model, precision = model or about["model"], Precision(about.get("precision", Precision.FP32))
    if precision not in (Precision.FP32, settings.precision):
        remedy = f"give --precision {precision}, or the model that it was exported from"
        raise ZooError(f"this file of {model} is {precision} already; {remedy}")
    image = graph.graph.inputs[0]
    pixels = str(image.dtype.numpy())
    if pixels == Pixels.UINT8 and not settings.tensorrt.uint8:
        raise ZooError(
            f"this file of {model} takes uint8 images, but {settings.reader} only reads float32; plan the model itself: "
            f"zoo plan {about['model']} --target {settings.target.name}"
        )
    _check_operators(graph, settings, model)
    typed = graph if precision != Precision.FP32 else _in_precision(graph, settings.precision)
    network = layers.read(typed)
    needed = memory.estimate(network, settings.profile[2], settings.workspace_mb, settings.target)
    if not needed.fits:
        raise ZooError(f"{model} {needed}. {_suggest_batch(network, settings)}")
    dla_graph = graph if settings.calibration_table else typed
    return Plan(
        model=model,
        settings=settings,
        input=image.name,
        pixels=pixels,
        shape=tuple(image.shape[1:]),
        layers=network,
        memory=needed,
        estimates=tuple(roofline.estimate(network, settings.target, batch) for batch in dict.fromkeys(settings.profile[:2])),
        placement=dla.place(dla_graph, settings.tensorrt_version, settings.precision) if settings.dla else {},
        describing=describing,
    )


def _check_operators(graph, settings, model):
    """Raise `ZooError` for an operator that the target's TensorRT does not support yet."""
    for node in graph.graph:
        since = targets.operators_since().get(node.op_type)
        if since and targets.number(settings.tensorrt.version) < targets.number(since):
            older = "" if settings.precision == Precision.INT8 else f"--opset {targets.FALLBACK_OPSET}, which avoids it, or "
            newer = f"a JetPack with TensorRT {since}: zoo targets {settings.target.name}"
            raise ZooError(
                f"{settings.reader} does not support {node.op_type}, used by {node.name} in {model}; give {older}{newer}"
            )


def _in_precision(graph, precision):
    """Convert a float32 graph to a precision. The calibration ranges do not affect the cost, so all are 1."""
    if precision == Precision.FP16:
        return half.to_half(graph)
    if precision == Precision.INT8:
        return insert.quantize(graph, dict.fromkeys(insert.tensors(graph), 1.0))
    return graph


def _suggest_batch(network, settings):
    """Return a sentence with the largest batch that fits."""
    minimum, optimum, maximum = settings.profile
    while maximum > minimum:
        maximum = max(maximum // 2, minimum)
        if memory.estimate(network, maximum, settings.workspace_mb, settings.target).fits:
            return f"Give --batch {minimum},{min(optimum, maximum)},{maximum}"
    return "No batch fits; choose a larger board: zoo targets"


def _peaks(board):
    return {name: getattr(board, name) for name in PEAKS}


def _plain_row(row):
    return {
        "name": row.layer.name,
        "operator": row.layer.operator,
        "precision": row.layer.precision,
        "macs": row.layer.macs,
        "weight_bytes": row.layer.weight_bytes,
        "input_bytes": row.layer.input_bytes,
        "output_bytes": row.layer.output_bytes,
        "seconds": row.seconds,
        "bound": row.bound,
    }
