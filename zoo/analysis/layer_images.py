"""The weights and activations of a layer as arrays that can be drawn.

A layer may define its own images in a method `images()`, which returns a list of (title, array), see `zoo.layers.traits`.
"""

import math
from typing import TYPE_CHECKING

import keras
import numpy as np

from zoo.analysis import features
from zoo.analysis.receptive_field import receptive_field
from zoo.errors import ZooError

if TYPE_CHECKING:
    from zoo.classifier import Classifier

Images = list[tuple[str, np.ndarray]]  # (title, array)

EXAMPLES = 10  # memorized images per class


def weight_images(classifier: "Classifier", layer: str | None = None) -> tuple[str, Images]:
    """Return the weights of a layer as images.

    Args:
        classifier: the classifier.
        layer: name of the layer. Default: the first one with weights.

    Returns:
        (layer name, list of (title, array)) with arrays of (height, width) or (height, width, 3).

    Raises:
        ZooError: if there is no such layer, or if its weights cannot be drawn.
    """
    layers = classifier.net.layers
    first = next((each for each in layers if hasattr(each, "images") or each.weights), None)
    chosen = first if layer is None else features.layer_of(classifier, layer)
    if chosen is None:
        raise ZooError(f"{classifier.name} has no layer with weights")
    after = next(iter(layers[layers.index(chosen) + 1 :]), None)
    before = layers[layers.index(chosen) - 1] if chosen is not layers[0] else None
    if hasattr(chosen, "images"):
        found = chosen.images()
    elif hasattr(chosen, "examples"):
        found = _memorized(chosen, classifier)
    elif isinstance(chosen, keras.layers.Conv2D) or hasattr(chosen, "full_kernel"):
        kernel = chosen.full_kernel() if hasattr(chosen, "full_kernel") else chosen.kernel
        kernel = keras.ops.convert_to_numpy(kernel)
        found = _kernels(kernel, getattr(chosen, "groups", 1), chosen is first)
    elif (
        isinstance(chosen, keras.layers.Dense)
        and chosen is first
        and chosen.kernel.shape[0] == math.prod(classifier.net.input_shape[1:])
    ):
        found = _templates(chosen.kernel, chosen, classifier)
    elif hasattr(chosen, "project_to_input") and isinstance(after, keras.layers.Dense):
        found, chosen = _templates(chosen.project_to_input(after.kernel), after, classifier), after
    elif hasattr(before, "project_to_input") and isinstance(chosen, keras.layers.Dense):
        found = _templates(before.project_to_input(chosen.kernel), chosen, classifier)
    else:
        raise ZooError(
            f"{classifier.name}: layer {chosen.name} ({type(chosen).__name__}) has no weights that can be drawn; these can: "
            "a Dense on the flattened image or after a plugboard, convolutions, memorized images, and layers with a method "
            f"images(). To draw the activations of any layer: zoo show MODEL --layer {chosen.name} --image FILE"
        )
    if not found:
        raise ZooError(f"{classifier.name}: layer {chosen.name} has nothing to draw before training")
    return chosen.name, found


def _templates(kernel: np.ndarray, layer: keras.layers.Layer, classifier: "Classifier") -> Images:
    """Return the weights of each unit of a layer, (pixels, units), in the shape of the input."""
    kernel = keras.ops.convert_to_numpy(kernel)
    *_, output = [each for each in classifier.net.layers if each.trainable_weights]
    named = layer is output and len(classifier.class_names) == kernel.shape[1]
    titles = classifier.class_names if named else range(1, kernel.shape[1] + 1)
    shape = classifier.net.input_shape[1:]
    return [(str(title), squeezed(unit.reshape(shape))) for title, unit in zip(titles, kernel.T, strict=True)]


def _kernels(kernel: np.ndarray, groups: int, on_image: bool) -> Images:
    """Return the kernels of a convolution as images.

    Args:
        kernel: (height, width, inputs per group, outputs).
        groups: number of groups of the convolution.
        on_image: the input is the image, so that a kernel of three channels is one RGB image. Otherwise each pair of input
            and output channel is an image.
    """
    inputs, outputs = kernel.shape[2:]
    if groups == 1 and (inputs == 1 or (on_image and inputs == 3)):
        return [(str(output + 1), squeezed(kernel[..., output])) for output in range(outputs)]
    return [
        (f"{output // (outputs // groups) * inputs + source + 1} to {output + 1}", kernel[:, :, source, output])
        for output in range(outputs)
        for source in range(inputs)
    ]


def _memorized(layer: keras.layers.Layer, classifier: "Classifier") -> Images:
    """Return the first memorized images of each class."""
    patterns, labels = layer.examples(EXAMPLES)
    images = patterns.reshape(-1, *classifier.net.input_shape[1:])
    # Undo the preprocessing: 0 is background.
    images = (images - classifier.preprocessing.shift) / classifier.preprocessing.scale
    return [(classifier.class_names[label], squeezed(image)) for label, image in zip(labels, images, strict=True)]


def squeezed(array: np.ndarray) -> np.ndarray:
    """Return an image without the channel axis if it has one channel."""
    return array[..., 0] if array.shape[-1] == 1 else array


def activations(classifier: "Classifier", image: np.ndarray, layer: str | None = None) -> Images:
    """Return the activations of a layer for an image.

    Args:
        classifier: the classifier.
        image: (height, width, channels), raw 0-255.
        layer: name of the layer. Default: see `features.layer_of`.

    Returns:
        List of (title, array): one (height, width) array per feature map, titled by its number from 1. For a layer without
        maps, or with maps of one unit, one (units,) array, titled by the name of the layer.

    Raises:
        ZooError: if there is no such layer, or its output is neither feature maps nor a vector.
    """
    found = features.layer_of(classifier, layer)
    shape = found.output.shape[1:]
    if len(shape) not in (1, 3):
        raise ZooError(
            f"{classifier.name}: layer {found.name} has the output shape {'x'.join(map(str, shape))}, neither feature maps "
            "nor a vector"
        )
    values = features.extract(classifier, image[None], found.name, batch_size=1).reshape(shape)
    if math.prod(shape[:-1]) == 1:
        return [(found.name, values.reshape(-1))]
    return [(str(number + 1), values[..., number]) for number in range(shape[-1])]


def heat_map(
    classifier: "Classifier", image: np.ndarray, layer: str, unit: int
) -> tuple[np.ndarray, tuple[float, float, float, float], tuple[int, int, int, int] | None]:
    """Return one feature map for an image, and its position on the image.

    Args:
        classifier: the classifier.
        image: (height, width, channels), raw 0-255.
        layer: name of a layer with feature maps.
        unit: number of the map, from 1.

    Returns:
        (map, extent, box). Extent is (left, right, bottom, top) of the map in pixels of the image, by the receptive fields
        of its units; the whole image if these are unknown. Box is (left, top, width, height) of the receptive field of the
        largest activation; None if it is unknown or no activation is positive.

    Raises:
        ZooError: if there is no such layer or unit, or if the layer has no feature maps.
    """
    features.check_unit(classifier, layer, unit)
    maps = activations(classifier, image, layer)
    if maps[0][1].ndim == 1:
        raise ZooError(f"{classifier.name}: layer {layer} has no feature maps: each of its units sees the whole image")
    values = maps[unit - 1][1]
    field = receptive_field(classifier, layer)
    if field is None:
        return values, (0, image.shape[1], image.shape[0], 0), None
    edges, box = [], []
    largest = np.unravel_index(values.argmax(), values.shape)
    for (first, step, size), length, place in zip(field, values.shape, largest, strict=True):
        # A unit is drawn as a cell of the size of its step, around the center of its receptive field.
        start = first + (size - step) / 2
        edges.append((start, start + step * length))
        box.append((first + step * int(place), size))
    (top, height), (left, width) = box
    positive = values[largest] > 0
    return values, (*edges[1], edges[0][1], edges[0][0]), (left, top, width, height) if positive else None
