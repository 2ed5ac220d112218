"""Features: the activations of a layer for raw images, and the images with the strongest activations of a unit."""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from zoo import console, images, registry
from zoo.analysis.feature_file import Features, have_distances
from zoo.errors import ZooError, did_you_mean

if TYPE_CHECKING:
    from zoo.classifier import Classifier

BATCH = 64  # images
LARGEST = 4 * 2**30  # bytes of the vectors of a folder, at most


def layer_of(classifier: "Classifier", name: str | None = None) -> keras.layers.Layer:
    """Return a layer of a classifier's network by its name.

    Args:
        classifier: the classifier.
        name: name of the layer. Default: the last layer with weights before the output layer, or its activation if that is
            a separate layer, such as fc7 of AlexNet and f6_squash of LeNet-5.

    Raises:
        ZooError: if there is no such layer, with the nearest names and all names; if it has several outputs.
    """
    layers = [layer for layer in classifier.net.layers if not isinstance(layer, keras.layers.InputLayer)]
    names = [layer.name for layer in layers]
    if name is None:
        place = _last_hidden(layers)
        if place is None:
            raise ZooError(
                f"{classifier.name} has no layer with weights before its output layer; choose one with --layer: "
                f"{', '.join(names)}"
            )
        return layers[place]
    if name not in names:
        raise ZooError(f"{classifier.name} has no layer '{name}'{did_you_mean(name, names)} Its layers: {', '.join(names)}")
    found = layers[names.index(name)]
    if output_of(found) is None:
        raise ZooError(f"{classifier.name}: layer {name} has several outputs; choose a layer after it")
    return found


def output_of(layer: keras.layers.Layer) -> "keras.KerasTensor | None":
    """Return the output of a layer, the first one if the layer is used several times; None if it has several outputs."""
    return layer.output if isinstance(layer.output, keras.KerasTensor) else None


def _last_hidden(layers: list[keras.layers.Layer]) -> int | None:
    """Return the index of the last layer with weights before the output layer, or of the activation after it, or None."""

    def keeps_shape(layer):
        if layer.weights or output_of(layer) is None or not isinstance(layer.input, keras.KerasTensor):
            return False
        return layer.input.shape == layer.output.shape

    output = len(layers) - 1
    while output > 0 and keeps_shape(layers[output]):  # a softmax after the scores
        output -= 1
    place = max((place for place, layer in enumerate(layers[: max(output, 0)]) if layer.weights), default=None)
    while place is not None and place + 1 < output:
        behind = layers[place + 1]
        if not keeps_shape(behind) or isinstance(behind, keras.layers.Dropout) or behind.input is not layers[place].output:
            break
        place += 1
    return place


def until(classifier: "Classifier", layer: str | None = None) -> keras.Model:
    """Return a Keras model from raw images to the output of a layer, with shared weights.

    Args:
        classifier: the classifier.
        layer: name of the layer, see `layer_of`.

    Raises:
        ZooError: if there is no such layer.
    """
    found = layer_of(classifier, layer)
    images = keras.Input(classifier.input_image_shape, name="images")
    part = keras.Model(classifier.net.inputs[0], found.output)
    model = keras.Model(images, part(classifier.preprocessing(images)), name=f"until_{found.name}")
    model.run_eagerly = True  # tracing and compilation take longer than a small folder
    return model


def extract(classifier: "Classifier", images: np.ndarray, layer: str | None = None, batch_size: int = BATCH) -> np.ndarray:
    """Return the features of images: the flattened output of a layer.

    Args:
        classifier: the classifier.
        images: (n, height, width, channels), raw 0-255.
        layer: name of the layer, see `layer_of`.
        batch_size: images per batch. A smaller last batch is padded, because sums are rounded differently at another batch
            size, so that an image would be at a distance of 1e-6 from itself.

    Returns:
        (n, features) float32.

    Raises:
        ZooError: if there is no such layer.
    """
    model = until(classifier, layer)
    vectors = np.empty((len(images), math.prod(model.output_shape[1:])), "float32")
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        vectors[start : start + batch_size] = _run(model, batch, batch_size).reshape(len(batch), -1)
    return vectors


def _run(model: keras.Model, batch: np.ndarray, size: int) -> np.ndarray:
    """Return the float32 outputs for a batch, padded to a batch size for the computation."""
    missing = np.zeros((size - len(batch), *batch.shape[1:]), batch.dtype)
    return np.asarray(model.predict_on_batch(np.concatenate([batch, missing])), "float32")[: len(batch)]


def by_batch(
    classifier: "Classifier", paths: Sequence[Path], layer: str | None = None, strict: bool = False
) -> Iterator[tuple[list[Path], np.ndarray, list[str]]]:
    """Read image files and yield the outputs of a layer batch by batch, with a progress bar on a terminal.

    Args:
        classifier: the classifier.
        paths: the files.
        layer: name of the layer, see `layer_of`.
        strict: raise an error at the end if files cannot be read, instead of skipping them.

    Yields:
        (paths that were read, their outputs, messages about the skipped files).

    Raises:
        ImageError: if strict and a file cannot be read, or if none can.
    """
    model = until(classifier, layer)
    read, problems = 0, []
    with console.progress() as bar, console.counting(bar, "computing features", len(paths)) as advance:
        for start in range(0, len(paths), BATCH):
            batch = paths[start : start + BATCH]
            pixels, kept, skipped = images.read_all(batch, classifier.image_spec, advance=advance)
            read += len(kept)
            problems += skipped
            if strict and problems:
                continue  # only look for other unreadable files
            yield [batch[index] for index in kept], _run(model, pixels, BATCH), skipped
    if strict and problems:
        raise images.ImageError("\n".join(images.listed(problems)))
    if not read:
        raise images.ImageError(f"none of the images can be read; {problems[0]}")


def of_folder(
    classifier: "Classifier", model: str, folder: str | os.PathLike, layer: str | None = None, strict: bool = False
) -> tuple[Features, list[str]]:
    """Return the features of all images below a folder.

    Args:
        classifier: the classifier.
        model: name or path from which it was loaded.
        folder: the folder.
        layer: name of the layer, see `layer_of`.
        strict: raise an error if files cannot be read, instead of skipping them.

    Returns:
        (features, messages about the skipped files).

    Raises:
        ZooError: if there is no such layer or no readable image; if the features need too much memory or are not finite.
    """
    found = layer_of(classifier, layer)
    paths = images.find(folder)
    width = math.prod(found.output.shape[1:])
    if 4 * len(paths) * width > LARGEST:
        raise ZooError(
            f"{len(paths):,} images with the {width:,} features of layer {found.name} are more than {LARGEST:,} bytes; "
            f"choose a layer with fewer features, such as {layer_of(classifier).name}"
        )
    vectors = np.empty((len(paths), width), "float32")
    kept, problems = [], []
    for read, outputs, skipped in by_batch(classifier, paths, found.name, strict):
        vectors[len(kept) : len(kept) + len(read)] = outputs.reshape(len(read), width)
        kept += read
        problems += skipped
    vectors = vectors[: len(kept)]
    if not have_distances(vectors):
        raise ZooError(f"the outputs of layer {found.name} of {model} are not finite or too large to compute distances")
    names = tuple(path.relative_to(folder).as_posix() for path in kept)
    model = os.path.abspath(model) if registry.is_path(model) else model
    return Features(vectors, names, model, found.name, str(Path(folder).resolve()), classifier.fingerprint()), problems


def check(features: Features, classifier: "Classifier", path: str | os.PathLike) -> None:
    """Check that features were computed by a classifier.

    Args:
        features: the features.
        classifier: the classifier.
        path: file of the features, for the message.

    Raises:
        ZooError: if its weights or the size of the layer differ, with the command that computes the features again.
    """
    fix = f"compute it again: {features.command(path)}"
    if features.fingerprint != classifier.fingerprint():
        random = "; a model without a tag has new random weights each time" if "." not in features.model else ""
        raise ZooError(f"{path} was computed with other weights than those of {features.model}{random}; {fix}")
    width = math.prod(layer_of(classifier, features.layer).output.shape[1:])
    if width != features.vectors.shape[1]:
        raise ZooError(f"{path} has {features.vectors.shape[1]} features, but layer {features.layer} has {width}; {fix}")


def check_unit(classifier: "Classifier", layer: str, unit: int) -> None:
    """Check that a layer has a unit, counted from 1. The units of a convolution are its feature maps.

    Raises:
        ZooError: if it has not.
    """
    units = layer_of(classifier, layer).output.shape[-1]
    if not 1 <= unit <= units:
        raise ZooError(f"{classifier.name}: layer {layer} has units 1 to {units}, not {unit}")


def strongest(
    classifier: "Classifier", folder: str | os.PathLike, layer: str, unit: int, count: int, strict: bool = False
) -> tuple[list[tuple[Path, float]], list[str]]:
    """Return the images of a folder with the strongest activations of a unit.

    Args:
        classifier: the classifier.
        folder: the folder.
        layer: name of the layer.
        unit: number of the unit, from 1. For a convolution it is the number of the feature map, whose maximum counts.
        count: number of images, or all if there are fewer.
        strict: raise an error if files cannot be read, instead of skipping them.

    Returns:
        (list of (path, activation), the strongest first; messages about the skipped files).

    Raises:
        ZooError: if there is no such layer, unit or folder, or no readable image.
    """
    check_unit(classifier, layer, unit)
    found, problems = [], []
    for paths, outputs, skipped in by_batch(classifier, images.find(folder), layer, strict):
        activations = outputs[..., unit - 1].reshape(len(paths), -1).max(axis=1, initial=-np.inf)
        found += zip(paths, activations.tolist(), strict=True)
        problems += skipped
    return sorted(found, key=lambda each: -each[1])[:count], problems
