"""What an engine of a model will be on a target, told before it is built: placement, memory, and an estimate of its time."""

import shlex
from dataclasses import dataclass

from exporters import targets
from exporters.onnx import half, metadata
from exporters.planner import dla, layers, memory, roofline, trtexec
from exporters.planner.settings import Settings, default_opset, default_profile
from exporters.precision import Precision
from exporters.quantization import insert
from zoo.errors import ZooError

BEFORE_THEM = 11  # the operator set before those that a parser may lack
TABLE = "the model stays float32; the ranges of INT8 travel in calibration.cache, and layers run in INT8 or float16"


@dataclass(frozen=True)
class Plan:
    """A plan.

    Attributes:
        model: what was planned, as `zoo export` takes it.
        settings: `exporters.planner.settings.Settings`.
        input: name of the network's input.
        pixels: its type, "uint8" or "float32".
        shape: of one picture there.
        layers: list of `exporters.planner.layers.Layer`.
        memory: `exporters.planner.memory.Memory` for the largest batch.
        estimates: two `exporters.planner.roofline.Estimate`, for the smallest and the best batch.
        placement: dict, name of a layer -> None if the DLA takes it, else why not; empty without a DLA.
    """

    model: str
    settings: Settings
    input: str
    pixels: str
    shape: tuple
    layers: list
    memory: memory.Memory
    estimates: tuple
    placement: dict

    @property
    def trtexec(self):
        """The command that builds the engine on the target."""
        return trtexec.line(self.settings, self.input, self.shape)

    @property
    def recipe(self):
        """How the precision comes about, in words."""
        return TABLE if self.settings.calibration_table else self.settings.precision.recipe

    @property
    def taken(self):
        """Names of the layers that the DLA takes, as far as NVIDIA documents it."""
        return [name for name, reason in self.placement.items() if reason is None]

    @property
    def following(self):
        """The command that a person would run next."""
        told, board = self.settings, self.settings.target
        words = ["zoo", "export", self.model, "--to", "tensorrt", "--target", board.name, "--precision", told.precision]
        if told.jetpack and told.jetpack != board.jetpack():
            words += ["--jetpack", told.jetpack.version]
        if not told.jetpack:
            words += ["--tensorrt", told.tensorrt_version]
        words += ["--dla"] if told.dla else []
        words += ["--opset", str(told.opset)] if told.opset != default_opset(told.tensorrt) else []
        words += ["--batch", ",".join(map(str, told.profile))] if told.profile != default_profile(told.dla) else []
        words += ["--calibration", "FOLDER"] if told.precision == Precision.INT8 else []
        return shlex.join(words)

    def plain(self):
        """Return it as a dict that JSON can hold."""
        told, board, pack = self.settings, self.settings.target, self.settings.jetpack
        return {
            "model": self.model,
            "target": board.name,
            "board": board.board,
            "jetpack": pack and pack.version,
            "tensorrt": told.tensorrt_version,
            "cuda": pack and pack.cuda,
            "python": pack and pack.python,
            "opset": told.opset,
            "ir_version": told.ir,
            "input": {"name": self.input, "dtype": self.pixels, "layout": "NCHW", "shape": list(self.shape)},
            "precision": told.precision,
            "recipe": self.recipe,
            "profile": dict(zip(("min", "opt", "max"), told.profile, strict=True)),
            "workspace_mb": told.workspace_mb,
            "dla": dict(self.placement) if told.dla else None,
            "trtexec": self.trtexec,
            "memory": {name: getattr(self.memory, name) for name in MEMORY},
            "layers": [_plain_row(row) for row in self.estimates[-1].rows],
            "peaks": _peaks(board),
            "estimates": [
                {"batch": each.batch, "seconds": each.seconds, "images_per_second": each.images_per_second}
                for each in self.estimates
            ],
            "unverified": list(told.warnings),
            "next": self.following,
        }


MEMORY = ("weights", "copies", "activations", "workspace", "runtime", "total", "available")
PEAKS = ("memory_bandwidth_gbs", *(each.peak for each in Precision))


def plan(graph, settings, model=None):
    """Return the `Plan` of an exported graph.

    Args:
        graph: `onnx_ir.Model` of `exporters.onnx.convert.convert`, in float32, or in the precision of the settings.
        settings: `exporters.planner.settings.Settings`.
        model: what the graph was made of, as `zoo export` takes it; by default what the graph says of itself.

    Raises:
        ZooError: if the model cannot be had in that precision, its layers' cost is not known, or it does not fit into the
            target's memory, or has an operator that the target's parser does not know.
    """
    about = metadata.find(graph)
    model, precision = model or about["model"], Precision(about.get("precision", Precision.FP32))
    if precision not in (Precision.FP32, settings.precision):
        raise ZooError(
            f"this file of {model} is {precision} already; give --precision {precision}, or the model that it was made of"
        )
    given = graph.graph.inputs[0]
    pixels = str(given.dtype.numpy())
    if pixels == "uint8" and not settings.tensorrt.uint8:
        raise ZooError(
            f"this file of {model} takes uint8 pictures, and {settings.reader} only float32; plan the model itself: "
            f"zoo plan {about['model']} --target {settings.target.name}"
        )
    _check_operators(graph, settings, model)
    typed = graph if precision != Precision.FP32 else _in_precision(graph, settings.precision)
    found = layers.read(typed)
    needed = memory.expect(found, settings.profile[2], settings.workspace_mb, settings.target)
    if not needed.fits:
        raise ZooError(f"{model} {needed}. {_smaller(found, settings)}")
    placed = graph if settings.calibration_table else typed
    return Plan(
        model=model,
        settings=settings,
        input=given.name,
        pixels=pixels,
        shape=tuple(given.shape[1:]),
        layers=found,
        memory=needed,
        estimates=tuple(roofline.estimate(found, settings.target, batch) for batch in dict.fromkeys(settings.profile[:2])),
        placement=dla.place(placed, settings.tensorrt_version, settings.precision) if settings.dla else {},
    )


def _check_operators(graph, settings, model):
    """Refuse a graph with an operator that the target's parser does not know yet."""
    for node in graph.graph:
        since = targets.operators_since().get(node.op_type)
        if since and targets.number(settings.tensorrt.version) < targets.number(since):
            older = "" if settings.precision == Precision.INT8 else f"--opset {BEFORE_THEM}, which does without, or "
            newer = f"a JetPack with TensorRT {since}: zoo targets {settings.target.name}"
            raise ZooError(f"{settings.reader} does not know {node.op_type}, of {node.name} in {model}; give {older}{newer}")


def _in_precision(graph, precision):
    """Return a graph of float32 as it will be; ranges, which cost nothing, are all 1."""
    if precision == Precision.FP16:
        return half.to_half(graph)
    if precision == Precision.INT8:
        return insert.quantize(graph, dict.fromkeys(insert.tensors(graph), 1.0))
    return graph


def _smaller(found, settings):
    """Return the words that give the largest batch that fits."""
    least, best, most = settings.profile
    while most > least:
        most = max(most // 2, least)
        if memory.expect(found, most, settings.workspace_mb, settings.target).fits:
            return f"Give --batch {least},{min(best, most)},{most}"
    return "No batch does; choose a larger board: zoo targets"


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
