"""What lies in a bundle besides the model: its facts, samples with the model's own scores, and the files that run there."""

import json
import shutil
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image

from exporters.bundle import header, readme, table
from exporters.runner.board.files import FORMAT
from zoo.errors import ZooError, printable

REAL_SAMPLES = 32  # and behind them the pictures that no camera takes
SHOWN = 3  # samples that lie there as PNG files too, to try infer.py on
SKIPPED = ("__init__.py", "__pycache__")  # of the runner: what makes it a package here


def facts(found, about, settings, real):
    """Return what the files on the board read, bundle.json, as a dict.

    Args:
        found: `exporters.source.Source` of a classifier.
        about: dict, what the ONNX file says about itself.
        settings: `exporters.planner.settings.Settings`.
        real: how many of the samples, the first, are real pictures.
    """
    target, jetpack = settings.target, settings.jetpack
    height, width, channels = found.shape
    least, best, most = settings.profile
    return {
        "format": FORMAT,
        "model": about["model"],
        "title": f"{about['title']} ({about['year']})",
        "precision": settings.precision,
        "weights_sha256": about["weights_sha256"],
        "input": {"name": found.ends[0], "dtype": settings.pixels, "layout": "NCHW", "shape": [channels, height, width]},
        "output": {"name": found.ends[1], "dtype": "float32", "shape": [len(about["class_names"])]},
        "picture": {key: value for key, value in about["picture"].items() if value is not None},
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
        "real": real,
    }


def write(folder, name, found, about, settings, plan, data=None, ranges=None):
    """Write all of a bundle but its model, card.json and its manifest.

    Args:
        folder: path of the bundle, with model.onnx in it.
        name: that the folder will have.
        found, about, settings: as for `facts`.
        plan: `exporters.planner.plan.Plan`.
        data: a folder of pictures for the samples; by default real ones that scikit-learn ships.
        ranges: dict, name of a tensor -> largest magnitude, where a calibration table travels.

    Returns:
        dict, what bundle.json holds.

    Raises:
        ZooError: if a class name does not fit a line of labels.txt.
    """
    _write_labels(folder / "labels.txt", about["class_names"])
    real = _write_samples(folder / "samples", found, data)
    bundle = facts(found, about, settings, real)
    _write_json(folder / "bundle.json", bundle)
    if settings.calibration_table:
        (folder / bundle["calibration"]).write_text(table.text(ranges, settings.tensorrt_version), "utf-8")
    (folder / "model.h").write_text(header.header(bundle), "utf-8")
    _copy(resources.files("exporters.runner"), folder)
    (folder / "README.md").write_text(readme.text(bundle, about, plan, name), "utf-8")
    return bundle


def _write_samples(folder, found, data):
    """Write raw pictures and the model's scores of them; return how many are real."""
    every, real = found.inputs(data)
    chosen = np.linspace(0, real - 1, min(REAL_SAMPLES, real)).astype(int)
    pictures = np.concatenate([every[chosen], every[real:]]).astype("uint8")
    folder.mkdir()
    np.save(folder / "pictures.npy", pictures)
    np.save(folder / "scores.npy", found.predict(pictures).astype("float32"))
    for number, picture in enumerate(pictures[:SHOWN]):
        Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture).save(folder / f"{number}.png")
    return len(chosen)


def _write_labels(path, names):
    wrong = next((name for name in names if name.splitlines() != [name]), None)
    if wrong is not None:
        raise ZooError(f"the class name '{printable(wrong)}' is not one line of text, as labels.txt needs; rename the class")
    path.write_text("".join(f"{name}\n" for name in names), "utf-8")


def _write_json(path, content):
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _copy(source, folder):
    """Copy the files that travel; the package's own __init__.py stays, that of the scripts' package goes with them."""
    for each in source.iterdir():
        if each.is_dir() and each.name not in SKIPPED:
            target = Path(folder) / each.name
            target.mkdir()
            (target / "__init__.py").write_bytes((each / "__init__.py").read_bytes())
            _copy(each, target)
        elif each.is_file() and each.name not in SKIPPED:
            with resources.as_file(each) as path:
                shutil.copyfile(path, Path(folder) / each.name)
