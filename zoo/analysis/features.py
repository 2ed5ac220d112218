"""Features: what a layer of a classifier says of raw pictures, which pictures are alike in it, and what its units like best.

The features of a folder are kept in an `.npz` of plain arrays: `vectors`, (n, features) float32; `paths` below the folder;
and `model`, `layer`, `folder` and `fingerprint`, by which a later command knows what they are. Such a file may come from
anybody: nothing in it is believed unchecked.
"""

import math
import os
import shlex
import zipfile
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from zoo import console, registry
from zoo import images as reading
from zoo.errors import ZooError, did_you_mean
from zoo.files import atomic
from zoo.layers import NearestNeighbors

BATCH = 64  # pictures at a time
LARGEST = 4 * 2**30  # bytes of a folder's vectors
TEXTS = ("model", "layer", "folder", "fingerprint")


@dataclass(frozen=True, eq=False)
class Features:
    """What a layer said of the pictures of a folder.

    Args:
        vectors: (n, features) float32.
        paths: n paths below the folder, as str.
        model: name or absolute path of the classifier.
        layer: name of the layer.
        folder: absolute path of the folder.
        fingerprint: hex sha256 of the classifier's weights.
    """

    vectors: np.ndarray
    paths: tuple
    model: str
    layer: str
    folder: str
    fingerprint: str

    def command(self, out):
        """Return the command that makes the features again."""
        return shlex.join(["zoo", "features", self.model, self.folder, "--layer", self.layer, "--out", str(out)])


def layer_of(classifier, name=None):
    """Return a layer of a classifier's net by its name.

    Args:
        classifier: `zoo.Classifier`.
        name: of the layer; by default that of the last one with weights before the output layer, or of the activation behind
            it where that is a layer of its own: fc7 of AlexNet, f6_squash of LeNet-5.

    Raises:
        ZooError: if there is no such layer, with the nearest names and all; if it has several outputs.
    """
    layers = [layer for layer in classifier.net.layers if not isinstance(layer, keras.layers.InputLayer)]
    names = [layer.name for layer in layers]
    if name is None:
        place = _last_hidden(layers)
        if place is None:
            raise ZooError(
                f"{classifier.name} has no layer with weights before its output layer; name one with --layer, of "
                f"{', '.join(names)}"
            )
        return layers[place]
    if name not in names:
        raise ZooError(f"{classifier.name} has no layer '{name}'{did_you_mean(name, names)} It has {', '.join(names)}")
    found = layers[names.index(name)]
    if output_of(found) is None:
        raise ZooError(f"{classifier.name}: layer {name} has several outputs; take a layer behind it")
    return found


def output_of(layer):
    """Return the output of a layer, the first where it stands at several places of its net, or None if it has several."""
    return layer.output if isinstance(layer.output, keras.KerasTensor) else None


def _last_hidden(layers):
    """Return the place of the last layer with weights before the output layer, or of the activation behind it, or None."""

    def keeps_shape(layer):
        if layer.weights or output_of(layer) is None or not isinstance(layer.input, keras.KerasTensor):
            return False
        return layer.input.shape == layer.output.shape

    output = len(layers) - 1
    while output > 0 and keeps_shape(layers[output]):  # a softmax behind the scores
        output -= 1
    place = max((place for place, layer in enumerate(layers[: max(output, 0)]) if layer.weights), default=None)
    while place is not None and place + 1 < output:
        behind = layers[place + 1]
        if not keeps_shape(behind) or isinstance(behind, keras.layers.Dropout) or behind.input is not layers[place].output:
            break
        place += 1
    return place


def until(classifier, layer=None):
    """Return a Keras model from raw pictures to what a layer puts out, its activation included; the weights are shared.

    Args:
        classifier: `zoo.Classifier`.
        layer: name of the layer; see `layer_of`.

    Raises:
        ZooError: if there is no such layer.
    """
    found = layer_of(classifier, layer)
    pictures = keras.Input(classifier.input_image_shape, name="pictures")
    part = keras.Model(classifier.net.inputs[0], found.output)
    model = keras.Model(pictures, part(classifier.preprocessing(pictures)), name=f"until_{found.name}")
    model.run_eagerly = True  # tracing or compiling takes as long as many a folder
    return model


def extract(classifier, pictures, layer=None, batch_size=BATCH):
    """Return the features of pictures: what a layer puts out, its activation included.

    Args:
        classifier: `zoo.Classifier`.
        pictures: (n, height, width, channels), raw 0-255.
        layer: name of the layer; see `layer_of`.
        batch_size: pictures at a time; only so many are in memory as floats. A smaller batch is filled up: at another size
            sums are rounded otherwise, and a picture would be 1e-6 away from itself.

    Returns:
        (n, features) float32; maps are flattened.

    Raises:
        ZooError: if there is no such layer.
    """
    model = until(classifier, layer)
    vectors = np.empty((len(pictures), math.prod(model.output_shape[1:])), "float32")
    for start in range(0, len(pictures), batch_size):
        batch = pictures[start : start + batch_size]
        vectors[start : start + batch_size] = _run(model, batch, batch_size).reshape(len(batch), -1)
    return vectors


def _run(model, batch, size):
    """Return the float32 outputs of a batch, filled up to a size."""
    missing = np.zeros((size - len(batch), *batch.shape[1:]), batch.dtype)
    return np.asarray(model.predict_on_batch(np.concatenate([batch, missing])), "float32")[: len(batch)]


def by_batch(classifier, paths, layer=None, strict=False):
    """Read picture files and yield what a layer puts out, a batch at a time, with a progress bar on a terminal.

    Args:
        classifier: `zoo.Classifier`.
        paths: the files.
        layer: name of the layer; see `layer_of`.
        strict: raise at the end where files cannot be read, instead of leaving them out.

    Yields:
        (list of the paths that were read, their outputs, list of messages about the others).

    Raises:
        ImageError: if strict and a file cannot be read, or if none can.
    """
    model = until(classifier, layer)
    read, problems = 0, []
    with console.progress() as progress:
        task = progress.add_task("looking at pictures", total=len(paths))
        for start in range(0, len(paths), BATCH):
            batch = paths[start : start + BATCH]
            pictures, kept, left_out = reading.read_all(batch, classifier.image_spec, advance=lambda: progress.advance(task))
            read += len(kept)
            problems += left_out
            if strict and problems:
                continue  # only what else cannot be read is of interest now
            yield [batch[index] for index in kept], _run(model, pictures, BATCH), left_out
    if strict and problems:
        raise reading.ImageError("\n".join(reading.listed(problems)))
    if not read:
        raise reading.ImageError(f"none of the pictures can be read; {problems[0]}")


def of_folder(classifier, model, folder, layer=None, strict=False):
    """Return the features of all pictures below a folder.

    Args:
        classifier: `zoo.Classifier`.
        model: the name or path by which it was loaded.
        folder: the folder.
        layer: name of the layer; see `layer_of`.
        strict: refuse pictures that cannot be read instead of leaving them out.

    Returns:
        (`Features`, list of messages about files that were left out).

    Raises:
        ZooError: if there is no such layer or no picture that can be read, or if the features are too many, or not finite.
    """
    found = layer_of(classifier, layer)
    paths = reading.find(folder)
    width = math.prod(found.output.shape[1:])
    if 4 * len(paths) * width > LARGEST:
        raise ZooError(
            f"{len(paths):,} pictures with the {width:,} features of layer {found.name} are more than {LARGEST:,} bytes; "
            f"take a layer with fewer features, such as {layer_of(classifier).name}"
        )
    vectors = np.empty((len(paths), width), "float32")
    kept, problems = [], []
    for read, outputs, left_out in by_batch(classifier, paths, found.name, strict):
        vectors[len(kept) : len(kept) + len(read)] = outputs.reshape(len(read), width)
        kept += read
        problems += left_out
    vectors = vectors[: len(kept)]
    if not _have_distances(vectors):
        raise ZooError(f"layer {found.name} of {model} puts out what is not finite, or too large; its weights are of no use")
    names = tuple(path.relative_to(folder).as_posix() for path in kept)
    model = os.path.abspath(model) if registry.is_path(model) else model
    return Features(vectors, names, model, found.name, str(Path(folder).resolve()), classifier.fingerprint()), problems


def _have_distances(vectors):
    """Tell whether float32 holds the squared distances of vectors: all of them are finite and none is huge."""
    largest = float(np.abs(vectors).max(initial=0))  # NaN where one is
    return 4 * largest**2 * vectors.shape[1] < float(np.finfo("float32").max)


def save(features, path):
    """Write features to one `.npz`, atomically."""
    texts = {name: np.array(getattr(features, name)) for name in TEXTS}
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, vectors=features.vectors, paths=np.array(features.paths), **texts)


def load(path):
    """Return the `Features` of a file that `zoo features` wrote.

    Raises:
        ZooError: if it is no such file, or is damaged, or holds what that command never writes.
    """
    path = Path(path)
    if not path.is_file():
        raise ZooError(f"no file {path}; `zoo features MODEL FOLDER --out {path}` writes one")
    mend = "`zoo features` writes it again"
    try:
        with zipfile.ZipFile(path) as archive:
            claimed = sum(entry.file_size for entry in archive.infolist())
        if claimed <= path.stat().st_size:  # nothing is compressed, so it cannot unpack to more than it is
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in ("vectors", "paths", *TEXTS)}
    except KeyError as error:
        raise ZooError(f"{path} is no file of features: {error.args[0]}; {mend}") from error
    except Exception as error:  # a damaged archive raises what zipfile, zlib or NumPy choose to
        raise ZooError(f"{path} is no file of features, or it is damaged ({error}); {mend}") from error
    if claimed > path.stat().st_size:
        raise ZooError(f"{path} claims to unpack to {claimed:,} bytes, more than it has; {mend}")
    vectors, paths = arrays["vectors"], arrays["paths"]
    if vectors.dtype != np.float32 or vectors.ndim != 2 or not vectors.size:
        raise ZooError(f"{path}: vectors are (n, features) float32, not {vectors.shape} {vectors.dtype}; {mend}")
    if paths.dtype.kind != "U" or paths.shape != vectors.shape[:1]:
        raise ZooError(
            f"{path}: paths are a text for each of {len(vectors)} vectors, not {paths.shape} {paths.dtype}; {mend}"
        )
    for name in TEXTS:
        if arrays[name].dtype.kind != "U" or arrays[name].shape or not str(arrays[name]):
            raise ZooError(f"{path}: {name} is a text, not {arrays[name].shape} {arrays[name].dtype}; {mend}")
    if not _have_distances(vectors):
        raise ZooError(f"{path}: vectors that are not finite, or too large, have no distances; {mend}")
    for each in paths.tolist():
        inside = Path(each)
        # The pictures are opened to be drawn: those of the folder that the file names, and no others.
        if inside.is_absolute() or inside.drive or ".." in inside.parts or inside.suffix.lower() not in reading.SUFFIXES:
            raise ZooError(f"{path}: {each!r} is no picture below the folder; {mend}")
    return Features(vectors, tuple(paths.tolist()), **{name: str(arrays[name]) for name in TEXTS})


def check(features, classifier, path):
    """Refuse features that a classifier did not make.

    Raises:
        ZooError: if its weights or the size of the layer are others; with the command that makes the file again.
    """
    mend = f"make it again: {features.command(path)}"
    if features.fingerprint != classifier.fingerprint():
        other = "; those of a model without a tag are random, and others each time" if "." not in features.model else ""
        raise ZooError(f"{path} was made with other weights than those of {features.model}{other}; {mend}")
    width = math.prod(layer_of(classifier, features.layer).output.shape[1:])
    if width != features.vectors.shape[1]:
        raise ZooError(
            f"{path} has {features.vectors.shape[1]} features, and layer {features.layer} puts out {width}; {mend}"
        )


def nearest(features, vector, count):
    """Return the pictures whose features are nearest to a vector, by Euclidean distance.

    Args:
        features: `Features`.
        vector: (features,) float32.
        count: how many; all, if there are not so many.

    Returns:
        (places in the features, nearest first, their distances, float64); of equal distances the first comes first.

    References:
        Krizhevsky, Sutskever, Hinton (2012), section 6.1 and fig. 4: pictures are similar if fc7 is.
    """
    rows, width = features.vectors.shape
    # From the middle of the vectors, as |x|² - 2xb + |b|² has the fewer digits left the longer x and b are.
    middle = features.vectors.mean(axis=0)
    memory = NearestNeighbors(classes=1, capacity=rows)
    memory.build((None, width))
    for start in range(0, rows, 1000):
        batch = features.vectors[start : start + 1000] - middle
        memory.memorize(batch, np.ones((len(batch), 1), "float32"))
    # Far more than are asked for: what that form confuses, the exact distances put in order.
    candidates = memory.nearest((vector - middle)[None], min(rows, count + 500))
    places = np.sort(keras.ops.convert_to_numpy(candidates)[0])
    distances = np.linalg.norm(features.vectors[places].astype("float64") - vector, axis=1)
    order = np.argsort(distances, kind="stable")[:count]
    return places[order], distances[order]


def check_unit(classifier, layer, unit):
    """Refuse a unit, counted from 1, that a layer does not have; of a layer with maps a unit is a map."""
    units = layer_of(classifier, layer).output.shape[-1]
    if not 1 <= unit <= units:
        raise ZooError(f"{classifier.name}: layer {layer} has units 1 to {units}, not {unit}")


def strongest(classifier, folder, layer, unit, count, strict=False):
    """Return the pictures of a folder to which a unit responds most.

    Args:
        classifier: `zoo.Classifier`.
        folder: the folder.
        layer: name of the layer.
        unit: number of the unit, from 1; of a layer with maps the number of the map, whose largest response counts.
        count: how many pictures; all, if there are not so many.
        strict: refuse pictures that cannot be read instead of leaving them out.

    Returns:
        (list of (path, response), the strongest first, list of messages about files that were left out).

    Raises:
        ZooError: if there is no such layer, unit or folder, or no picture that can be read.
    """
    check_unit(classifier, layer, unit)
    found, problems = [], []
    for paths, outputs, left_out in by_batch(classifier, reading.find(folder), layer, strict):
        responses = outputs[..., unit - 1].reshape(len(paths), -1).max(axis=1, initial=-np.inf)
        found += zip(paths, responses.tolist(), strict=True)
        problems += left_out
    return sorted(found, key=lambda each: -each[1])[:count], problems
