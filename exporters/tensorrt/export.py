"""Write a bundle for a board, prove it as far as this machine can, and build its engine if the right GPU is here."""

import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from exporters import parity, source
from exporters.bundle import contents, folder
from exporters.onnx import convert, export, files, metadata
from exporters.options import BoardKeywords, BoardOptions
from exporters.planner import plan as planner
from exporters.planner.settings import Settings
from exporters.precision import Precision
from exporters.tensorrt import local, rtx
from exporters.tensorrt import settings as board
from zoo.errors import CheckFailed, ZooError

if TYPE_CHECKING:
    import keras
    import numpy as np


@dataclass(frozen=True)
class Report:
    """Result of `to_tensorrt`.

    Attributes:
        folder: path of the bundle.
        archive: path of the packed bundle.
        plan: `exporters.planner.plan.Plan`.
        proof: `exporters.parity.Report` of the comparison of model.onnx with the Keras model.
        on_cpu: output of the bundle's own verify.py on this machine, with onnxruntime.
        parsed: `exporters.tensorrt.rtx.Check` of NVIDIA's parser and builder; None if they are not installed.
        engine: output of the bundle's programs that built, verified and timed the engine here; None if they did not run.
        no_engine: reason why they did not run.
    """

    folder: str
    archive: str
    plan: planner.Plan
    proof: parity.Report
    on_cpu: str
    parsed: rtx.Check | None
    engine: str | None
    no_engine: str | None

    @property
    def passed(self) -> bool:
        """Whether model.onnx computes what the Keras model computes."""
        return self.proof.passed

    @property
    def paths(self) -> tuple[Path, ...]:
        """What was written."""
        return Path(self.folder), Path(self.archive)

    def plain(self) -> dict:
        """Return the report as a dict for JSON."""
        return {**asdict(self), "plan": self.plan.plain(), "proof": self.proof.plain()}

    def lines(self) -> list[str]:
        """Return the lines that a command prints about the bundle."""
        lines = self.proof.lines()
        if self.parsed:
            lines.append(self.parsed.line())
        if self.plan.placement:
            taken = f"{len(self.plan.dla_layers)} of {len(self.plan.placement)} layers"
            lines.append(f"according to NVIDIA's documentation, the DLA supports {taken}; `zoo plan --dla` lists them")
        if self.plan.settings.calibration_table:
            lines.append("the INT8 ranges are in calibration.cache; they are verified only by verify.py on the board")
        lines.append(self.engine or f"build the engine on the board; {self.no_engine}")
        return [*lines, f"on the board, run the five commands in {self.folder}/README.md"]


def to_tensorrt(
    model: "keras.Model | str | Path",
    out: str | Path,
    target: str,
    precision: str = Precision.FP16,
    calibration: "str | Path | np.ndarray | None" = None,
    *,
    data: str | Path | None = None,
    **options: Unpack[BoardKeywords],
) -> Report:
    """Write a bundle that builds, verifies and times a model's TensorRT engine on a board.

    If TensorRT and a GPU with the target's compute capability are in this machine, do so at once.

    Args:
        model: `zoo.classifier.Classifier` or any Keras model that classifies images, a name that `zoo.load` takes, a .keras
            file, or "module:attribute".
        out: folder to write, which must not exist; it is also packed to OUT.tar.gz.
        target: name of a board or card of `exporters.targets`.
        precision: `exporters.precision.Precision`, or its name: "fp32", "fp16" or "int8".
        calibration: for INT8: folder of some hundred typical images, name of a data set, or
            (n, height, width, channels) uint8 array.
        data: folder of images for the samples and the comparison. Default: the folder of the calibration, else images that
            scikit-learn ships.
        **options: other fields of `exporters.options.BoardOptions`: jetpack, tensorrt, dla, opset, batches, and for INT8
            method, exclude and full_range (True); for a model that is not of the zoo value_range and classes.

    Returns:
        `Report`.

    Raises:
        ZooError: if the target does not support an option, or options contradict each other; nothing is written.
        CheckFailed: if the bundle does not compute what the model computes; nothing is written. If the engine is built here
            and fails, the bundle stays.
        TypeError: if there is no such option.
    """
    options = BoardOptions.parse(target=target, precision=precision, calibration=calibration, **options)
    return export_bundle(model, out, data, board.resolve(options))


def export_bundle(model: "keras.Model | str | Path", out: str | Path, data: str | Path | None, settings: Settings) -> Report:
    """Write a bundle as `to_tensorrt` does, with the settings of `exporters.tensorrt.settings.resolve`."""
    out = Path(out)
    folder.check(out)
    images = settings.options.image_options
    exported = source.find(model, pixels=settings.pixels, images=images, describe=source.Describe.ALWAYS)
    data = settings.options.typical_images() if data is None else data
    with folder.writing(out) as temporary:
        path = temporary / "model.onnx"
        proof, ranges = _write_model(exported, path, settings, data)
        metadata.sidecar(path).rename(temporary / "card.json")
        graph = files.load(path)
        name = str(model) if isinstance(model, str | Path) else None
        plan = planner.plan(graph, settings, name, tuple(images.image_words()))
        if settings.dla and not plan.dla_layers:
            raise ZooError(
                f"the DLA takes no layer of {exported.origin}; omit --dla. `zoo plan` with --dla lists the reasons"
            )
        contents.write(temporary, out.name, exported, metadata.find(graph), plan, data, ranges)
        folder.seal(temporary)
        on_cpu = _verified(temporary)
        parsed = rtx.check(path, settings.profile) if rtx.available() else None
    no_engine = local.reason(settings.target)
    engine = None if no_engine else local.build(out)
    proof = replace(proof, file=str(out / path.name))
    return Report(str(out), str(folder.archive(out)), plan, proof, on_cpu, parsed, engine, no_engine)


def _write_model(exported, path, settings, data):
    """Write and prove model.onnx; return the report, and the ranges if they are in a table beside the model."""
    from exporters.quantization import pipeline

    options = settings.options
    if settings.precision == Precision.FP32 or settings.calibration_table:
        full = convert.convert(exported, settings.opset, settings.ir)
        proof = export.write(full, exported, path, data)
        return proof, pipeline.table(full, options.calibration, options.method) if settings.calibration_table else None
    int8 = {
        "calibration": options.calibration,
        "method": options.method,
        "exclude": options.exclude,
        "full_range": options.full_range is not False,  # a GPU sums exactly
    }
    report = pipeline.quantize(
        exported,
        path,
        settings.precision,
        opset=settings.opset,
        pictures=data,
        **(int8 if settings.precision == Precision.INT8 else {}),
    )
    return report.proof, None


def _verified(bundle):
    """Run verify.py of a bundle on this CPU and return the first line of its output."""
    done = subprocess.run(
        [sys.executable, "-B", str(bundle / "verify.py"), "--cpu"], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise CheckFailed(f"verify.py of the bundle fails: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.splitlines()[0]
