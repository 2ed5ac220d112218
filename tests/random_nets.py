"""Export random Keras models and compare the files with Keras. `layer_grammar` builds the models.

    python tests/random_nets.py --first 0 --number 500

A seed determines the model, its weights, the options of the export and the inputs. Each file is run in onnxruntime in
batches of 1, 2 and 7, on other inputs than those with which the exporter verifies it.
"""

import argparse
import dataclasses
import logging
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from exporters import source
from exporters.onnx import convert, export, files, runtimes
from exporters.options import ExportOptions
from exporters.targets import OPSET
from layer_grammar import Grammar, build
from zoo.errors import ZooError

BATCHES = (1, 2, 7)
TOLERANCE = 1e-4  # of the largest output
NUDGE = 1e-6  # relative change of the inputs, whose effect shows how much the model amplifies rounding errors
REFUSED = "for which ONNX has no operator at opset"  # in the error for a layer that needs a newer operator set
AMPLIFIED = 30  # a file may differ by this multiple of the effect


def options(seed: int) -> ExportOptions:
    """Return the options with which the model of a seed is exported."""
    grammar = Grammar(10_000_000 + seed)
    return ExportOptions.parse(
        opset=grammar.choose(13, 13, 13, 9, 10, 11, 12, 14, 15, 16, 17, 18),
        layout=grammar.choose("nchw", "nchw", "nhwc"),
        runtime=grammar.choose("tensorrt", "tensorrt", "onnxruntime"),
        static_batch=grammar.choose(None, None, None, 2),
    ).resolve()


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a seed.

    Attributes:
        seed: of the model.
        kind: "right", "wrong", or "crashed" (the export fails).
        reason: why it is not right.
        opset: operator set of the file: that of the seed, or the default one if the former lacks an operator.
    """

    seed: int
    kind: str
    reason: str
    opset: int


class _Warnings(logging.Handler):
    """Collects the rules that failed."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


def check(seed: int, verify: bool = False) -> Outcome:
    """Export the model of a seed and compare the file with Keras.

    Args:
        seed: of the model.
        verify: also let the exporter verify the file, as `exporters.to_onnx` does.
    """
    model, chosen, handler = build(seed), options(seed), _Warnings()
    logging.getLogger("exporters").addHandler(handler)
    try:
        reason = _export_and_compare(model, chosen, seed, verify)
    except Exception as error:
        if not isinstance(error, ZooError) or REFUSED not in str(error) or chosen.opset == OPSET:
            return Outcome(seed, "crashed", f"{type(error).__name__}: {error}", chosen.opset)
        chosen = dataclasses.replace(chosen, opset=OPSET)
        try:
            reason = _export_and_compare(model, chosen, seed, verify)
        except Exception as error:
            return Outcome(seed, "crashed", f"{type(error).__name__}: {error}", chosen.opset)
    finally:
        logging.getLogger("exporters").removeHandler(handler)
    if handler.messages:
        return Outcome(seed, "crashed", handler.messages[0], chosen.opset)
    return Outcome(seed, "wrong" if reason else "right", reason, chosen.opset)


def _export_and_compare(model, chosen, seed, verify):
    """Return how the file of a model differs from it, or ""."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        if verify:
            export.export_file(model, path, None, chosen)
        else:
            found = source.find(model)
            graph = convert.convert(found, chosen.opset, chosen.ir, chosen.layout, chosen.static_batch, chosen.runtime)
            with files.saving(graph, path):
                pass
        return _compare(model, path, chosen, seed)


def _compare(model, path, chosen, seed):
    """Return how a file differs from its model, or ""."""
    run = runtimes.scorer(path, str(chosen.layout).upper())
    generator = np.random.default_rng(20_000_000 + seed)
    for batch in (chosen.static_batch,) if chosen.static_batch else BATCHES:
        inputs = generator.normal(generator.uniform(-1, 1), generator.uniform(0.5, 2), (batch, *model.input_shape[1:]))
        inputs = inputs.astype("float32")
        expected = np.asarray(model(inputs, training=False))
        nudged = np.asarray(
            model(inputs * (1 + NUDGE * generator.choice([-1, 1], inputs.shape)).astype("float32"), training=False)
        )
        given = run(inputs)
        if given.shape != expected.shape:
            return f"batch {batch}: shape {given.shape} instead of {expected.shape}"
        tolerance = TOLERANCE * max(1.0, np.abs(expected).max()) + AMPLIFIED * np.abs(nudged - expected).max()
        if not (difference := np.abs(given - expected).max()) <= tolerance:
            return f"batch {batch}: differs by {difference:.2g}, tolerance {tolerance:.2g}"
    return ""


def main() -> int:
    """Check the seeds that the command line names; return 1 if a net crashes or is wrong."""
    parser = argparse.ArgumentParser(description="Export random nets and compare the files with Keras.")
    parser.add_argument("--first", type=int, default=0, help="First random seed.")
    parser.add_argument("--number", type=int, default=500, help="Number of nets.")
    parser.add_argument("--verify", action="store_true", help="Also let the exporter verify each file, which takes longer.")
    given = parser.parse_args()
    outcomes = []
    for seed in range(given.first, given.first + given.number):
        outcomes.append(check(seed, given.verify))
        if outcomes[-1].kind != "right":
            print(f"seed {seed} {outcomes[-1].kind}: {outcomes[-1].reason.splitlines()[0]}", flush=True)
    kinds = Counter(outcome.kind for outcome in outcomes)
    others = sum(outcome.opset != options(outcome.seed).opset for outcome in outcomes)
    print(
        f"seeds {given.first} to {given.first + given.number - 1}: {given.number} nets, {kinds['right']} right, "
        f"crashes {kinds['crashed']}, wrong {kinds['wrong']}; "
        f"{others} exported at opset {OPSET}, since theirs lacks an operator"
    )
    return int(bool(kinds["crashed"] or kinds["wrong"]))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main())
