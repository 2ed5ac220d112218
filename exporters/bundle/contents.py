"""The files of a bundle besides the model: metadata, samples with the model's scores, and the programs for the board."""

import json
import shutil
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from exporters.bundle import header, readme, table
from exporters.onnx import metadata
from exporters.runner.board.files import FORMAT
from zoo.errors import ZooError, printable

if TYPE_CHECKING:
    from exporters.planner.plan import Plan
    from exporters.planner.settings import Settings
    from exporters.source import Source

REAL_SAMPLES = 32  # synthetic images follow them
PNG_SAMPLES = 3  # samples that are also written as PNG files, to try infer.py
SKIPPED = ("__init__.py", "__pycache__")  # of the runner: they make it a package of this project


def facts(source: "Source", about: dict, settings: "Settings", real: int) -> dict:
    """Return the content of bundle.json, which the programs on the board read.

    Args:
        source: `exporters.source.Source` of a classifier.
        about: metadata of the ONNX file.
        settings: `exporters.planner.settings.Settings`.
        real: number of samples that are real images, which come first.
    """
    target, jetpack = settings.target, settings.jetpack
    height, width, channels = source.shape
    least, best, most = settings.profile
    return {
        "format": FORMAT,
        "model": about["model"],
        "title": metadata.title(about),
        "precision": settings.precision,
        "weights_sha256": about["weights_sha256"],
        "input": {
            "name": source.input_name,
            "dtype": settings.pixels,
            "layout": "NCHW",
            "shape": [channels, height, width],
        },
        "output": {"name": source.output_name, "dtype": "float32", "shape": [len(about["class_names"])]},
        "picture": _picture(about),
        "target": {
            "name": target.name,
            "board": target.board,
            "jetpack": jetpack.version if jetpack else None,
            "tensorrt": settings.tensorrt_version,
            "compute_capability": target.compute_capability,
            "python": jetpack.python if jetpack else None,
            "memory_gb": target.memory_gb,
        },
        "profile": {"min": least, "opt": best, "max": most},
        "workspace_mb": settings.workspace_mb,
        "dla": settings.dla,
        "calibration": "calibration.cache" if settings.calibration_table else None,
        "note": about.get("quantization", {}).get("note"),
        "real": real,
    }


def write(
    folder: Path,
    name: str,
    source: "Source",
    about: dict,
    plan: "Plan",
    data: str | Path | None = None,
    ranges: dict[str, float] | None = None,
) -> dict:
    """Write the files of a bundle, except its model, card.json and manifest.

    Args:
        folder: path of the bundle, which contains model.onnx.
        name: final name of the folder.
        source, about: as in `facts`.
        plan: `exporters.planner.plan.Plan`.
        data: folder of images for the samples. Default: images that scikit-learn ships.
        ranges: dict, name of a tensor -> largest magnitude, for a calibration table.

    Returns:
        Content of bundle.json.

    Raises:
        ZooError: if a class name is not one line of text.
    """
    settings = plan.settings
    _write_labels(folder / "labels.txt", about["class_names"])
    real = _write_samples(folder / "samples", source, data)
    bundle = facts(source, about, settings, real)
    _write_json(folder / "bundle.json", bundle)
    if settings.calibration_table:
        (folder / bundle["calibration"]).write_text(table.text(ranges, settings.tensorrt_version), "utf-8")
    (folder / "model.h").write_text(header.header(bundle), "utf-8")
    _copy(resources.files("exporters.runner"), folder)
    (folder / "README.md").write_text(readme.text(bundle, about, plan, name), "utf-8")
    return bundle


def problems(folder: Path, about: dict) -> list[str]:
    """Return how labels.txt and bundle.json differ from the metadata of the model in a bundle, one sentence each.

    Args:
        folder: path of the bundle, whose files match its manifest.
        about: metadata of its model.onnx.
    """
    bundle = json.loads((folder / "bundle.json").read_text("utf-8"))
    expected = {
        "model": about["model"],
        "title": metadata.title(about),
        "weights_sha256": about["weights_sha256"],
        "picture": _picture(about),
    }
    found = [
        printable(f"bundle.json says {key} {bundle.get(key)}, model.onnx {value}")
        for key, value in expected.items()
        if bundle.get(key) != value
    ]
    if (folder / "labels.txt").read_text("utf-8").splitlines() != list(about.get("class_names", ())):
        found.append("labels.txt has other class names than model.onnx")
    return found


def _picture(about):
    """Return the image spec for bundle.json, which has no empty entries."""
    return {key: value for key, value in (about.get("picture") or {}).items() if value is not None}


def _write_samples(folder, source, data):
    """Write raw images and the model's scores for them; return the number of real images."""
    inputs, real = source.inputs(data)
    selected = np.linspace(0, real - 1, min(REAL_SAMPLES, real)).astype(int)
    images = np.concatenate([inputs[selected], inputs[real:]]).astype("uint8")
    folder.mkdir()
    np.save(folder / "pictures.npy", images)
    np.save(folder / "scores.npy", source.predict(images).astype("float32"))
    for number, image in enumerate(images[:PNG_SAMPLES]):
        Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(folder / f"{number}.png")
    return len(selected)


def _write_labels(path, names):
    wrong = next((name for name in names if name.splitlines() != [name]), None)
    if wrong is not None:
        raise ZooError(f"the class name '{printable(wrong)}' is not one line of text, as labels.txt needs; rename the class")
    path.write_text("".join(f"{name}\n" for name in names), "utf-8")


def _write_json(path, content):
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _copy(source: Traversable, folder: Path) -> None:
    """Copy the programs. The __init__.py of `exporters.runner` is not copied, that of its package `board` is."""
    for each in source.iterdir():
        if each.is_dir() and each.name not in SKIPPED:
            target = Path(folder) / each.name
            target.mkdir()
            (target / "__init__.py").write_bytes((each / "__init__.py").read_bytes())
            _copy(each, target)
        elif each.is_file() and each.name not in SKIPPED:
            with resources.as_file(each) as path:
                shutil.copyfile(path, Path(folder) / each.name)
