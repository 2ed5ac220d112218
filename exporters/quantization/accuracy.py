"""What lower precision costs and what it saves: accuracy, size and latency of files side by side."""

import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from exporters.onnx import files
from exporters.quantization import run
from zoo import machine

WARM_UP, REPEATS = 5, 50


@dataclass(frozen=True)
class Measured:
    """A file's accuracy, size and latency.

    Attributes:
        accuracy: share of right answers, in percent.
        by_class: the same for each class, None for one without pictures.
        size: bytes of the file and of its weights beside it.
        latency: median milliseconds of one picture.
    """

    precision: str
    accuracy: float
    by_class: tuple
    size: int
    latency: float


@dataclass(frozen=True)
class Comparison:
    """Files of one model in several precisions, float32 first, on the same pictures and the same CPU.

    Attributes:
        left_out: dict, a precision that the model cannot be compared in -> why.
    """

    class_names: tuple
    pictures: int
    cpu: str
    files: tuple
    left_out: dict

    def plain(self):
        """Return it as a dict that JSON can hold."""
        return asdict(self)

    def __rich_console__(self, console, options):
        from rich.table import Table
        from rich.text import Text

        table = Table(title=f"{self.pictures:,} pictures; latency of one at a time in onnxruntime on {self.cpu}")
        for name in ("", *(each.precision for each in self.files)):
            table.add_column(name, justify="right" if name else "left")
        table.add_row("accuracy, %", *(f"{each.accuracy:.2f}" for each in self.files))
        table.add_row("bytes", *(f"{each.size:,}" for each in self.files))
        table.add_row("latency, ms", *(f"{each.latency:.2f}" for each in self.files), end_section=True)
        for place, name in enumerate(self.class_names):
            if any(each.by_class[place] is not None for each in self.files):
                table.add_row(name, *(f"{each.by_class[place]:.2f}" for each in self.files))
        yield table
        for precision, reason in self.left_out.items():
            yield Text(f"without {precision}: {reason}")


def compare(paths, pictures, labels, class_names, advance=lambda pictures: None, left_out=None):
    """Measure files of one model with onnxruntime.

    Args:
        paths: dict, precision -> path of the ONNX file.
        pictures: (n, height, width, channels) uint8.
        labels: (n,) int indices of the class names.
        class_names: one str a class.
        advance: called with a number of pictures, of which each counts once a file.
        left_out: as of `Comparison`.

    Returns:
        `Comparison`.
    """
    measured = []
    for precision, path in paths.items():
        session = run.session(path)
        right = run.scores(session, pictures, advance=advance).argmax(axis=1) == labels
        by_class = tuple(
            100 * float(right[labels == place].mean()) if (labels == place).any() else None
            for place in range(len(class_names))
        )
        size = sum(each.stat().st_size for each in (Path(path), *files.data_files(path)))
        measured.append(Measured(precision, 100 * float(right.mean()), by_class, size, _latency(session, pictures[:1])))
    return Comparison(tuple(class_names), len(labels), machine.cpu()["name"], tuple(measured), left_out or {})


def _latency(session, pictures):
    seconds = []
    for _ in range(WARM_UP + REPEATS):
        start = time.perf_counter()
        run.scores(session, pictures)
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds[WARM_UP:])
