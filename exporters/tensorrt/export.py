"""From a model to a bundle for a board, proved here as far as it can be, and built at once where the GPU is here."""

import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from exporters import parity, source
from exporters.bundle import contents, folder
from exporters.onnx import convert, export, files, metadata
from exporters.planner import plan as planner
from exporters.planner import settings as planning
from exporters.precision import Precision
from exporters.tensorrt import local, rtx
from zoo.errors import CheckFailed, ZooError


@dataclass(frozen=True)
class Report:
    """What was written, and what is known of it.

    Attributes:
        folder: path of the bundle.
        archive: path of the same, packed.
        plan: `exporters.planner.plan.Plan`.
        proof: `exporters.parity.Report` of model.onnx against the Keras model.
        on_cpu: what the bundle's own verify.py said of it here, with onnxruntime.
        parsed: `exporters.tensorrt.rtx.Check` of NVIDIA's parser and builder; None where they are not installed.
        engine: what the bundle's programs said when they built, verified and timed the engine here; None where they did not.
        no_engine: why they did not.
    """

    folder: str
    archive: str
    plan: planner.Plan
    proof: parity.Report
    on_cpu: str
    parsed: rtx.Check | None
    engine: str | None
    no_engine: str | None

    def plain(self):
        """Return it as a dict that JSON can hold."""
        return {**asdict(self), "plan": self.plan.plain()}


def to_tensorrt(
    model,
    out,
    target,
    precision=Precision.FP16,
    calibration=None,
    *,
    jetpack=None,
    tensorrt=None,
    dla=False,
    opset=None,
    batches=None,
    method=None,
    exclude=(),
    data=None,
):
    """Write a bundle that builds, verifies and times a model's engine on a board; where TensorRT and a GPU of the target's
    compute capability are in this machine, do so at once.

    Args:
        model: `zoo.Classifier`, what `zoo.load` takes, a .keras file, or "module:attribute" of a classifier.
        out: the folder to write, which is not there yet; it is packed to OUT.tar.gz beside it.
        target: name of a board or GPU of `exporters.targets`.
        precision: `exporters.precision.Precision`, or its name: "fp32", "fp16" or "int8".
        calibration: for INT8, a folder of some hundred pictures such as the net will see, the name of a data set, or
            (n, height, width, channels) uint8.
        jetpack: version on the board; by default the newest documented.
        tensorrt: version, for a GPU that has no JetPack.
        dla: run on the deep learning accelerator what it takes.
        opset: ONNX operator set; by default one that this TensorRT reads.
        batches: smallest, best and largest number of pictures at a time; by default 1, 8 and 64, on DLA 1.
        method, exclude: for INT8, as for `exporters.quantize`.
        data: a folder of pictures for the samples and the proof; by default the folder of the calibration, and without one
            real pictures that scikit-learn ships.

    Returns:
        `Report`.

    Raises:
        ZooError: if the board cannot run that, or what is given does not fit together; nothing is written.
        CheckFailed: if what would be written does not compute what the model computes; nothing is left. Where the engine is
            built here and fails, the bundle stays.
    """
    out = Path(out)
    chosen = planning.settings(target, precision, jetpack, tensorrt, dla, opset, batches)
    check(chosen, out, calibration, method, exclude)
    found = source.find(model, pixels=chosen.pixels)
    if not found.classifier:
        raise ZooError(
            f"{found.origin} is no classifier of the zoo, whose pictures and classes a bundle tells; "
            "export it with --to onnx"
        )
    if data is None and isinstance(calibration, str | Path) and Path(calibration).is_dir():
        data = calibration  # pictures such as the net will see tell more than any that this machine has
    with folder.writing(out) as temporary:
        path = temporary / "model.onnx"
        proof, ranges = _write_model(found, path, chosen, calibration, method, exclude, data)
        metadata.sidecar(path).rename(temporary / "card.json")
        graph = files.load(path)
        planned = planner.plan(graph, chosen, str(model) if isinstance(model, str | Path) else None)
        if chosen.dla and not planned.dla_layers:
            raise ZooError(f"DLA takes no layer of {found.origin}; leave --dla out. zoo plan with --dla tells why")
        contents.write(temporary, out.name, found, metadata.find(graph), chosen, planned, data, ranges)
        folder.seal(temporary)
        on_cpu = _verified(temporary)
        parsed = rtx.check(path, chosen.profile) if rtx.available() else None
    no_engine = local.reason(chosen.target)
    engine = None if no_engine else local.build(out)
    proof = replace(proof, file=str(out / path.name))
    return Report(str(out), str(folder.archive(out)), planned, proof, on_cpu, parsed, engine, no_engine)


def check(chosen, out, calibration, method, exclude):
    """Refuse what cannot be written before anything is computed.

    Args:
        chosen: `exporters.planner.settings.Settings`.
        out: path of the bundle's folder.
        calibration, method, exclude: as for `to_tensorrt`.
    """
    folder.check(Path(out))
    if chosen.precision == Precision.INT8 and calibration is None:
        raise ZooError("INT8 needs pictures such as the net will see; give some hundred with --calibration FOLDER")
    given = {"--calibration": calibration is not None, "--method": method is not None, "--exclude": bool(exclude)}
    idle = [name for name, is_given in given.items() if is_given]
    if chosen.precision != Precision.INT8 and idle:
        raise ZooError(f"{idle[0]} is for --precision int8; {chosen.precision} needs no ranges")
    if chosen.calibration_table and exclude:
        raise ZooError("--exclude leaves layers out of Q/DQ; on this DLA the ranges travel in a table, of all layers")


def _write_model(found, path, chosen, calibration, method, exclude, data):
    """Write model.onnx behind the gate; return the proof, and the ranges where a table of them travels."""
    from exporters.quantization import calibrate, pipeline

    method = method or calibrate.DEFAULT
    if chosen.precision == Precision.FP32 or chosen.calibration_table:
        full = convert.convert(found, chosen.opset, chosen.ir)
        proof = export.write(full, found, path, data)
        return proof, pipeline.table(full, calibration, method) if chosen.calibration_table else None
    how = {} if chosen.precision == Precision.FP16 else {"calibration": calibration, "method": method, "exclude": exclude}
    report = pipeline.quantize(found, path, chosen.precision, **how, opset=chosen.opset, pictures=data)
    return report.proof, None


def _verified(bundle):
    """Run the bundle's own proof here, as the board would; return what it says."""
    done = subprocess.run(
        [sys.executable, "-B", str(bundle / "verify.py"), "--cpu"], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise CheckFailed(f"the bundle fails its own proof: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.splitlines()[0]
