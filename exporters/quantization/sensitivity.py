"""Sensitivity of layers to INT8, and the search for the layers that must stay float32 to limit the loss in accuracy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from exporters.quantization import insert, run
from zoo.errors import ZooError


@dataclass(frozen=True)
class Sensitivity:
    """The effect of quantizing a single layer.

    Attributes:
        layer: name of the layer.
        accuracy: top-1 accuracy in percent; None without labels.
        difference: mean absolute difference of the scores from float32, relative to the mean absolute score.
    """

    layer: str
    accuracy: float | None
    difference: float


@dataclass(frozen=True)
class Table:
    """The sensitivity of all layers, most sensitive first.

    Attributes:
        accuracy: top-1 accuracy in float32 in percent; None without labels.
        layers: one entry per layer.
    """

    accuracy: float | None
    layers: tuple[Sensitivity, ...]

    def plain(self) -> dict[str, Any]:
        """Return the table as a JSON-serializable dict."""
        return asdict(self)

    def __rich_console__(self, console, options):
        from rich import table

        shown = table.Table(title="one layer in INT8, all others in float32")
        for name in ("layer", "accuracy, %", "drop, points", "difference of scores, %"):
            shown.add_column(name, justify="left" if name == "layer" else "right")
        for each in self.layers:
            cells = ("-", "-") if each.accuracy is None else (f"{each.accuracy:.2f}", f"{self.accuracy - each.accuracy:.2f}")
            shown.add_row(each.layer, *cells, f"{100 * each.difference:.3f}")
        yield shown


def measure(
    model: ir.Model,
    ranges: Mapping[str, float],
    images: np.ndarray,
    labels: np.ndarray | None = None,
    advance: Callable[[int], object] = lambda images: None,
    full_range: bool = False,
) -> Table:
    """Quantize each layer alone and rank the layers by accuracy, then by the difference of the scores.

    Args:
        model: float32 model.
        ranges: calibration range of each of `insert.tensors`.
        images: (n, height, width, channels) uint8.
        labels: (n,) int class indices. Default: rank by the difference of the scores alone.
        advance: called with a number of processed images; each counts once for float32 and once per layer.
        full_range: as for `insert.quantize`.
    """
    layers = list(insert.layers(model))
    reference = run.scores(run.session(model), images, advance=advance)
    sensitivities = []
    for layer in layers:
        alone = insert.quantize(model, ranges, [name for name in layers if name != layer], full_range)
        scores = run.scores(run.session(alone), images, advance=advance)
        difference = float(np.abs(scores - reference).mean() / (np.abs(reference).mean() or 1))
        sensitivities.append(Sensitivity(layer, accuracy(scores, labels), difference))
    sensitivities.sort(key=lambda each: (0 if each.accuracy is None else each.accuracy, -each.difference))
    return Table(accuracy(reference, labels), tuple(sensitivities))


def accuracy(scores: np.ndarray, labels: np.ndarray | None) -> float | None:
    """Return the top-1 accuracy in percent, or None without labels."""
    return None if labels is None else 100 * float(np.mean(scores.argmax(axis=1) == labels))


def search(
    model: ir.Model,
    ranges: Mapping[str, float],
    evaluate: Callable[[ir.Model], float],
    order: Callable[[], Sequence[str]],
    max_drop: float,
    exclude: Sequence[str] = (),
    full_range: bool = False,
) -> tuple[ir.Model, tuple[str, ...]]:
    """Quantize a model, keeping layers in float32, most sensitive first, until the drop in accuracy is small enough.

    Args:
        model: float32 model.
        ranges: calibration range of each of `insert.tensors`.
        evaluate: function that returns the accuracy of a model in percent.
        order: function that returns the names of the layers, most sensitive first; only called if it is needed.
        max_drop: largest accepted drop from the accuracy in float32, in percentage points.
        exclude: names of layers that always stay float32.
        full_range: as for `insert.quantize`.

    Returns:
        (quantized model, names of all layers that stay float32).

    Raises:
        ZooError: if even a single quantized layer loses more.
    """
    expected = evaluate(model)
    excluded, remaining, smallest = list(exclude), None, np.inf
    while True:
        candidate = insert.quantize(model, ranges, excluded, full_range)
        drop = expected - evaluate(candidate)
        if drop <= max_drop:
            return candidate, tuple(excluded)
        smallest = min(smallest, drop)
        if remaining is None:
            remaining = [name for name in order() if name not in excluded]
        if len(remaining) < 2:
            raise ZooError(
                f"no INT8 model loses {max_drop:g} points of accuracy or less: {smallest:.2f} is the smallest drop, from "
                f"{expected:.2f} %, with at least one layer in INT8. Allow more with --max-drop, give more images to "
                "--calibration, or choose --precision fp16"
            )
        excluded.append(remaining.pop(0))
