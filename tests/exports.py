"""Classifiers of the zoo to export, and their ONNX files: each is exported once for all tests and processes."""

import contextlib
import dataclasses
import fcntl
import json
import os

import keras

import exporters
import zoo
from exporters import parity, source
from exporters.onnx import convert, files
from zoo import registry

# The graph of a relative of AlexNet is that of alexnet but for its first layers. At an input of 67 pixels (64 where the net
# pads by 3) every convolution and pooling divides its map as at full size, and the last map has one pixel instead of six.
RELATIVES = ("alexnet-asrun", "alexnet-bvlc", "caffenet", "alexnet-owt")
FEWER_PIXELS = 160
CAPACITY = 600  # images that the untrained nearest-neighbor classifier has room for, instead of 60,000


def load(name):
    """Load a classifier with the same random weights each time, and those that are large without need in small."""
    keras.utils.set_random_seed(8)  # a unit that no image activates would hide a changed weight
    if name == "nearest-neighbor":
        return registry.wrap(zoo.build(name, capacity=CAPACITY), zoo.card(name), range(10))
    if name not in RELATIVES:
        return zoo.load(name)
    card = zoo.card(name)
    size = card.picture.height - FEWER_PIXELS
    net = zoo.build(name, size=size)
    picture = card.picture.model_copy(update={"height": size, "width": size})
    return registry.wrap(net, card.model_copy(update={"picture": picture}), range(net.output_shape[-1]))


def write(name, classifier, folder):
    """Export a classifier, unless that was done; return the path of its ONNX file and the report of the export.

    Args:
        name: of the classifier.
        classifier: what `load` returned.
        folder: the fixture `shared_folder`.
    """
    made, report = folder / name, folder / name / "report.json"
    with locked(folder / f"{name}.lock"):
        if not report.exists():
            made.mkdir(exist_ok=True)
            found = exporters.to_onnx(classifier, made / "model.onnx")
            part = report.with_suffix(".part")
            part.write_text(json.dumps(dataclasses.asdict(found)))
            os.replace(part, report)
    stored = json.loads(report.read_text())
    return made / "model.onnx", parity.Report(**{key: _tuple(value) for key, value in stored.items()})


def graph(name, folder):
    """Return the float32 graph of a classifier as `onnx_ir.Model`. It is read from the file that `write` has made, if any.

    Args:
        name: of the classifier.
        folder: the fixture `shared_folder`.
    """
    path = folder / name / "model.onnx"
    with locked(folder / f"{name}.lock"):
        if not path.exists():
            path = path.with_name("converted.onnx")  # without the comparison with the model, which takes longer than this
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            files.save(convert.convert(source.find(load(name))), path)
    return files.load(path)


def _tuple(value):
    return tuple(value) if isinstance(value, list) else value


@contextlib.contextmanager
def locked(path):
    """Within it, no other process holds the lock."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
