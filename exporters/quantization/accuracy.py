"""Comparison of the accuracy, size and latency of one model in several precisions."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from exporters.onnx import files
from exporters.quantization import run
from zoo import machine

WARM_UP, REPEATS = 5, 50  # runs of a latency measurement


@dataclass(frozen=True)
class Measured:
    """Accuracy, size and latency of a file.

    Attributes:
        precision: name of the precision.
        accuracy: top-1 accuracy in percent.
        by_class: accuracy of each class in percent, None for a class without images.
        size: size of the file and its external weights in bytes.
        latency: median latency of one image in milliseconds.
    """

    precision: str
    accuracy: float
    by_class: tuple[float | None, ...]
    size: int
    latency: float


@dataclass(frozen=True)
class Comparison:
    """Files of one model in several precisions, float32 first, on the same images and the same CPU.

    Attributes:
        class_names: one name per class.
        pictures: number of images.
        cpu: name of the CPU.
        files: one entry per file.
        left_out: precision that the model is not available in -> the reason.
    """

    class_names: tuple[str, ...]
    pictures: int
    cpu: str
    files: tuple[Measured, ...]
    left_out: dict[str, str]

    def plain(self) -> dict[str, Any]:
        """Return the comparison as a JSON-serializable dict."""
        return asdict(self)

    def __rich_console__(self, console, options):
        from rich.table import Table
        from rich.text import Text

        table = Table(title=f"{self.pictures:,} images; latency of a single image in onnxruntime on {self.cpu}")
        for name in ("", *(each.precision for each in self.files)):
            table.add_column(name, justify="right" if name else "left")
        table.add_row("accuracy, %", *(f"{each.accuracy:.2f}" for each in self.files))
        table.add_row("bytes", *(f"{each.size:,}" for each in self.files))
        table.add_row("latency, ms", *(f"{each.latency:.2f}" for each in self.files), end_section=True)
        for index, name in enumerate(self.class_names):
            if any(each.by_class[index] is not None for each in self.files):
                table.add_row(name, *(f"{each.by_class[index]:.2f}" for each in self.files))
        yield table
        for precision, reason in self.left_out.items():
            yield Text(f"without {precision}: {reason}")


def compare(
    paths: Mapping[str, str | Path],
    images: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    advance: Callable[[int], object] = lambda images: None,
    left_out: dict[str, str] | None = None,
) -> Comparison:
    """Measure files of one model with onnxruntime.

    Args:
        paths: precision -> path of the ONNX file.
        images: (n, height, width, channels) uint8.
        labels: (n,) int class indices.
        class_names: one name per class.
        advance: called with a number of processed images; each image counts once per file.
        left_out: precision that the model is not available in -> the reason.
    """
    measured = []
    for precision, path in paths.items():
        session = run.session(path)
        correct = run.scores(session, images, advance=advance).argmax(axis=1) == labels
        by_class = tuple(
            100 * float(correct[labels == index].mean()) if (labels == index).any() else None
            for index in range(len(class_names))
        )
        size = sum(each.stat().st_size for each in (Path(path), *files.data_files(path)))
        measured.append(Measured(precision, 100 * float(correct.mean()), by_class, size, _latency(session, images[:1])))
    return Comparison(tuple(class_names), len(labels), machine.cpu()["name"], tuple(measured), left_out or {})


def _latency(session, image):
    """Return the median latency in milliseconds."""
    seconds = []
    for _ in range(WARM_UP + REPEATS):
        start = time.perf_counter()
        run.scores(session, image)
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds[WARM_UP:])
