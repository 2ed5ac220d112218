"""The text output of `zoo targets` and `zoo plan`."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from exporters import targets
from zoo.errors import printable

if TYPE_CHECKING:
    from exporters.planner.plan import Plan

PEAKS = {
    "memory_bandwidth_gbs": "GB/s",
    "fp32_tflops": "TFLOPS FP32",
    "fp16_tflops": "TFLOPS FP16",
    "int8_tops": "TOPS INT8",
}
UNITS = {**PEAKS, "memory_gb": "GB", "gpu_mhz": "MHz", "dla_int8_tops": "TOPS INT8"}
COLUMNS = "{:20} {:27} {:>7} {:>10} {:>6} {:>8} {:>7} {:>7} {:>8} {:>4}"


def table(boards: Iterable[targets.Target]) -> Iterator[str]:
    """Yield the lines of a table of targets."""
    yield COLUMNS.format("target", "", "JetPack", "TensorRT", "memory", "GB/s", "FP32", "FP16", "INT8", "DLA")
    yield COLUMNS.format("", "", "", "", "GB", "", "TFLOPS", "TFLOPS", "TOPS", "")
    for board in boards:
        pack = board.jetpack() if board.is_jetson else None
        version = pack.tensorrt if pack else targets.newest_tensorrt()
        numbers = [_format_fact(board, fact) for fact in ("memory_gb", *PEAKS)]
        yield COLUMNS.format(
            board.name, board.board, pack.version if pack else "-", version or "none", *numbers, board.dla_cores or "-"
        )
    yield "\nFP32, FP16, INT8: peak rates, without sparsity. JetPack, TensorRT: newest documented version. ?: unverified."


def _format_fact(board, fact):
    """Return the value of a fact, with a question mark if it is unverified."""
    value = getattr(board, fact)
    return f"{value:g}{'?' if fact in board.unverified else ''}" if value else "-"


def target(board: targets.Target) -> Iterator[str]:
    """Yield the lines that list all facts of a target, each with its source."""
    yield f"{board.board} ({board.name})"
    if board.notes:
        yield board.notes
    yield ""
    for fact, source in board.sources.items():
        if fact != "jetpacks":
            value = getattr(board, fact)
            text = f"{value:g} {UNITS.get(fact, '')}" if isinstance(value, int | float) else value
            yield f"{fact:22} {text.rstrip():32} {source}"
    if not board.is_jetson:
        yield "\nChoose a TensorRT version with --tensorrt VERSION; which versions run on the card is not documented here"
        for version in targets.tensorrt_versions():
            yield _tensorrt(version)
        return
    yield f"\nJetPack versions (source: {board.sources['jetpacks']})"
    newest = board.jetpack()
    for pack in board.jetpacks:
        parts = f"L4T {pack.l4t}, TensorRT {pack.tensorrt or 'none'}, CUDA {pack.cuda}, cuDNN {pack.cudnn or '?'}"
        default = " (the default)" if pack == newest else ""
        yield f"{pack.version:6} {parts}, Python {pack.python}, Ubuntu {pack.ubuntu}{default}"
        yield f"       {pack.source}"
    if newest.tensorrt:
        yield f"\n{_tensorrt(newest.tensorrt)}"


def _tensorrt(version):
    known = targets.tensorrt(version)
    return (
        f"TensorRT {version} reads operator sets up to {known.max_opset}{'' if known.verified else '?'}; source: "
        + (known.sources["max_opset"])
    )


def plan(plan: "Plan") -> Iterator[str]:
    """Yield the lines that describe a plan."""
    settings, board, pack = plan.settings, plan.settings.target, plan.settings.jetpack
    minimum, optimum, maximum = settings.profile
    system = f", CUDA {pack.cuda}, Python {pack.python}" if pack else ""
    yield f"{plan.model} on {board.board} ({board.name}), {settings.reader}{system}"
    shape = "x".join(map(str, plan.shape))
    yield f"file       ONNX opset {settings.opset}, IR version {settings.ir}; takes raw {plan.pixels} pixels of {shape}"
    yield f"precision  {settings.precision}: {plan.recipe}"
    batches = f"{minimum} to {maximum}, tuned for {optimum}" if minimum != maximum else f"only {optimum}"
    yield f"batches    {batches}; workspace {settings.workspace_mb} MiB"
    yield f"memory     {plan.memory}"
    if settings.dla:
        yield from _placement(plan)
    yield f"build      {plan.trtexec}\n"
    yield from _layers(plan.estimates[-1])
    peaks = dict.fromkeys(("memory_bandwidth_gbs", *(layer.precision.peak for layer in plan.layers if layer.macs)))
    listed = ", ".join(f"{getattr(board, fact):g} {PEAKS[fact]}" for fact in peaks)
    where = " for the GPU alone" if settings.dla else ""
    mode = f", power mode {board.power_mode}" if board.power_mode else ""
    yield f"\nlower bound{where}, from the peak rates {listed}{mode}"
    yield "without the time for kernel launches; a real board is slower, and much slower for a small network:"
    for each in plan.estimates:
        yield f"batch {each.batch}: at least {1000 * each.seconds:.3g} ms, at most {each.images_per_second:,.0f} images/s"
    for warning in settings.warnings:
        yield f"unverified: {warning}"
    yield f"next: {plan.next_command}"


def _placement(plan):
    """Yield the number of layers on the DLA and the reasons why the others fall back to the GPU."""
    count = f"{len(plan.dla_layers)} of {len(plan.placement)} layers"
    yield f"DLA        supports {count} according to NVIDIA's documentation; the others fall back to the GPU:"
    for name, reason in plan.placement.items():
        if reason:
            yield printable(f"           {name}: {reason}")


def _layers(estimate):
    """Yield a table of the layers and their totals, for the batch of an estimate."""
    columns = "{:24} {:16} {:9} {:>14} {:>12} {:>10}  {}"
    yield columns.format(
        "layer", "operator", "precision", "MACs", "weights, KiB", "us", f"bound by (batch {estimate.batch})"
    )
    for row in estimate.rows:
        layer, weights, micros = row.layer, f"{row.layer.weight_bytes / 1024:,.1f}", f"{1e6 * row.seconds:,.1f}"
        name = printable(layer.name)
        yield columns.format(name, layer.operator, layer.precision, f"{layer.macs:,}", weights, micros, row.bound)
    macs = sum(row.layer.macs for row in estimate.rows)
    weights = sum(row.layer.weight_bytes for row in estimate.rows) / 1024
    yield columns.format("total", "", "", f"{macs:,}", f"{weights:,.1f}", f"{1e6 * estimate.seconds:,.1f}", "").rstrip()
