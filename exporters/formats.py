"""The formats that `zoo export` writes: one table of their options, exporters and next commands."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporters.options import BoardOptions, ExportOptions, Options
from zoo import registry

if TYPE_CHECKING:
    from exporters import parity
    from exporters.tensorrt import export


def _next_of_onnx(model, out, report):
    """Verify the file; of random weights there is no second copy to verify it against."""
    if model in registry.list_models():
        return ["zoo", "info", str(out)]
    return ["zoo", "verify", str(out), *against(model, out)]


def _next_of_keras_formats(model, out, report):
    return ["zoo", "export", model, "--to", "onnx"]


def _next_of_bundle(model, out, report):
    return ["python", f"{out}/verify.py", *([] if report.engine else ["--cpu"])]


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        name: value of `--to`.
        title: plural noun for a sentence.
        suffix: of a file; "" for a folder.
        options: the options that it reads, or None.
        resolver: "module:function" that checks them and fills in defaults, without importing Keras.
        exporter: "module:function" of (model, out, data) and the resolved options, if it reads any.
        instead: what an error says about options that it does not read.
        verified: whether `zoo verify` reads it.
        next_command: function of (model, out, report) that returns the words of the command to run next.
    """

    name: str
    title: str
    suffix: str
    exporter: str
    instead: str
    next_command: Callable[..., list[str]]
    options: type[Options] | None = None
    resolver: str = ""
    verified: bool = False

    def reads(self, option: str) -> bool:
        """Return whether the format reads an option, given by its name in `exporters.options`."""
        return self.options is not None and option in {field.name for field in fields(self.options)}

    def resolve(self, options: Options) -> Any:
        """Return what the exporter takes in place of options of the command line.

        Raises:
            ZooError: if an option has a wrong value.
        """
        return _load(self.resolver)(options.select(self.options)) if self.options else None

    def export(self, model: str, out: Path, data: Path | None, resolved: Any) -> "parity.Report | export.Report":
        """Write a model and prove it.

        Args:
            model: name of a model, a .keras file, or module:attribute.
            out: file or folder to write.
            data: folder of images for the comparison with the model, or None.
            resolved: of `resolve`.
        """
        return _load(self.exporter)(model, out, data, *([resolved] if self.options else []))


FORMATS = {
    each.name: each
    for each in (
        Format(
            "onnx",
            "ONNX files",
            ".onnx",
            "exporters.onnx.export:export_file",
            "onnx is float32, and `zoo quantize` writes smaller files",
            _next_of_onnx,
            ExportOptions,
            "exporters.options:ExportOptions.resolve",
            verified=True,
        ),
        Format(
            "tflite",
            "LiteRT files",
            ".tflite",
            "exporters.keras_formats:to_tflite",
            "tflite takes raw uint8 pixels, channels last",
            _next_of_keras_formats,
        ),
        Format(
            "savedmodel",
            "SavedModels",
            "",
            "exporters.keras_formats:to_savedmodel",
            "savedmodel takes raw uint8 pixels, channels last",
            _next_of_keras_formats,
        ),
        Format(
            "tensorrt",
            "bundles for a board",
            "",
            "exporters.tensorrt.export:export_bundle",
            "the target sets the input of a bundle for a board",
            _next_of_bundle,
            BoardOptions,
            "exporters.tensorrt.settings:resolve",
            verified=True,
        ),
    )
}
Name = StrEnum("Name", {name.upper(): name for name in FORMATS})


def default_path(model: str, suffix: str, mark: str = "") -> Path:
    """Return the path to write to in the working directory if none is given.

    Args:
        model: name of a model, a .keras or .onnx file, or module:attribute.
        suffix: such as ".onnx".
        mark: follows the model's name, such as "-int8".
    """
    name = Path(model).stem if registry.is_path(model) else model.replace(":", ".")
    return Path(f"{name}{mark}{suffix}")


def against(origin: str, out: Path) -> list[str]:
    """Return the words that `zoo verify` needs to find the model of a file.

    Args:
        origin: name of a model, its .keras file, or module:attribute.
        out: path of the file. A .keras file in the same directory is found without `--against`.
    """
    elsewhere = registry.is_path(origin) and Path(origin).resolve().parent != out.resolve().parent
    return ["--against", origin] if elsewhere or ":" in origin else []


def _load(name):
    """Return an attribute by its "module:attribute"; TensorFlow is imported only when an exporter runs."""
    module, _, attribute = name.partition(":")
    value = importlib.import_module(module)
    for part in attribute.split("."):
        value = getattr(value, part)
    return value
