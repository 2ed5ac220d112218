"""Which layers lose most in 8 bits, and which to leave in float32 so that a net loses no more than it may."""

from dataclasses import asdict, dataclass

import numpy as np

from exporters.quantization import insert, run
from zoo.errors import ZooError


@dataclass(frozen=True)
class Sensitivity:
    """What quantizing one layer alone changes.

    Attributes:
        layer: its name.
        accuracy: share of right answers, in percent; None without labels.
        difference: mean absolute difference of the scores to those in float32, relative to the mean absolute score.
    """

    layer: str
    accuracy: float | None
    difference: float


@dataclass(frozen=True)
class Table:
    """The sensitivity of all layers, the worst first.

    Attributes:
        accuracy: of float32, in percent; None without labels.
        layers: tuple of `Sensitivity`.
    """

    accuracy: float | None
    layers: tuple

    def plain(self):
        """Return it as a dict that JSON can hold."""
        return asdict(self)

    def __rich_console__(self, console, options):
        from rich import table

        shown = table.Table(title="one layer in INT8, all others in float32")
        for name in ("layer", "accuracy, %", "drop, points", "difference of scores, %"):
            shown.add_column(name, justify="left" if name == "layer" else "right")
        for each in self.layers:
            told = ("-", "-") if each.accuracy is None else (f"{each.accuracy:.2f}", f"{self.accuracy - each.accuracy:.2f}")
            shown.add_row(each.layer, *told, f"{100 * each.difference:.3f}")
        yield shown


def measure(model, ranges, pictures, labels=None, advance=lambda pictures: None):
    """Return what each layer alone loses, the worst first: by accuracy, and where that is equal by the difference of scores.

    Args:
        model: `onnx_ir.Model` of float32.
        ranges: dict, name -> largest magnitude, of all `insert.tensors`.
        pictures: (n, height, width, channels) uint8.
        labels: (n,) int indices of the classes, or None: then by the difference alone.
        advance: called with a number of pictures, of which each counts once for float32 and once a layer.

    Returns:
        `Table`.
    """
    layers = list(insert.layers(model))
    reference = run.scores(run.session(model), pictures, advance=advance)
    found = []
    for layer in layers:
        alone = insert.quantize(model, ranges, [name for name in layers if name != layer])
        scores = run.scores(run.session(alone), pictures, advance=advance)
        difference = float(np.abs(scores - reference).mean() / (np.abs(reference).mean() or 1))
        found.append(Sensitivity(layer, accuracy(scores, labels), difference))
    found.sort(key=lambda each: (0 if each.accuracy is None else each.accuracy, -each.difference))
    return Table(accuracy(reference, labels), tuple(found))


def accuracy(scores, labels):
    """Return the share of right answers, in percent; None without labels."""
    return None if labels is None else 100 * float(np.mean(scores.argmax(axis=1) == labels))


def search(model, ranges, evaluate, order, max_drop, exclude=()):
    """Leave out as few layers, the worst first, as it takes to lose no more accuracy than is allowed.

    Args:
        model: `onnx_ir.Model` of float32.
        ranges: dict, name -> largest magnitude, of all `insert.tensors`.
        evaluate: function of an `onnx_ir.Model` that returns its accuracy in percent.
        order: function without arguments that returns the names of layers, the worst first; called only where a layer has to
            be left out.
        max_drop: percentage points that may be lost against float32.
        exclude: names of layers that are left out in any case.

    Returns:
        (`onnx_ir.Model`, tuple of the names of all layers left out).

    Raises:
        ZooError: if the last layer left loses more still.
    """
    expected = evaluate(model)
    left_out, waiting, smallest = list(exclude), None, np.inf
    while True:
        candidate = insert.quantize(model, ranges, left_out)
        drop = expected - evaluate(candidate)
        if drop <= max_drop:
            return candidate, tuple(left_out)
        smallest = min(smallest, drop)
        if waiting is None:
            waiting = [name for name in order() if name not in left_out]
        if len(waiting) < 2:
            raise ZooError(
                f"no INT8 file loses {max_drop:g} points of accuracy or less: {smallest:.2f} is the smallest drop, from "
                f"{expected:.2f} %, before nothing is left to quantize. Allow more with --max-drop, give more pictures to "
                "--calibration, or choose --precision fp16"
            )
        left_out.append(waiting.pop(0))
