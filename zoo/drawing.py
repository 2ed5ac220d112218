"""What a model has learned, as a picture file.

The first layer with something to show is drawn. A layer of the zoo may say itself what that is, in a method `pictures()`:
a list of (title, array), the arrays (height, width) or (height, width, 3). What is signed is drawn in red and blue, as are
the templates of a dense layer on the flattened picture, or behind a plugboard, and the kernels of a convolution; what is
nowhere negative in grey.
"""

import itertools
import math

import keras
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from zoo.errors import ZooError
from zoo.files import atomic
from zoo.layers import AssociationUnits, MaskedConv2D, NearestNeighbors

LARGEST = 100  # pictures in one file
EACH = 10  # memorised pictures of a class


def learned(classifier):
    """Return what the first layer with weights has learned, as pictures.

    Args:
        classifier: `zoo.Classifier`.

    Returns:
        (layer name, list of at most 100 (title, array)), the arrays (height, width) or (height, width, 3).

    Raises:
        ZooError: if there is no such layer, or nobody has taught this module to draw one of its class.
    """
    for layer, behind in itertools.pairwise([*classifier.net.layers, None]):
        if hasattr(layer, "pictures"):
            found = layer.pictures()
        elif isinstance(layer, NearestNeighbors):
            found = _memorised(layer, classifier)
        elif not layer.weights:
            continue
        elif isinstance(layer, keras.layers.Conv2D | MaskedConv2D):
            kernel = layer.full_kernel() if isinstance(layer, MaskedConv2D) else layer.kernel
            found = _kernels(keras.ops.convert_to_numpy(kernel))
        elif isinstance(layer, keras.layers.Dense) and layer.kernel.shape[0] == math.prod(classifier.net.input_shape[1:]):
            found = _templates(layer.kernel, layer, classifier)
        elif isinstance(layer, AssociationUnits) and isinstance(behind, keras.layers.Dense):
            found, layer = _templates(layer.on_retina(behind.kernel), behind, classifier), behind
        else:
            raise ZooError(
                f"{classifier.name}: layer {layer.name} ({type(layer).__name__}) has no weights that are a picture; drawn "
                "are a Dense on the flattened picture or behind a plugboard, convolutions, memorised pictures, and layers "
                "with a method pictures()"
            )
        if not found:
            raise ZooError(f"{classifier.name}: layer {layer.name} has learned nothing yet that could be drawn")
        return layer.name, found[:LARGEST]
    raise ZooError(f"{classifier.name} has no layer with weights")


def _templates(kernel, layer, classifier):
    """Return what each unit of a layer weighs the pixels with, (pixels, units), in the form of the picture."""
    kernel = keras.ops.convert_to_numpy(kernel)
    *_, output = [each for each in classifier.net.layers if each.trainable_weights]
    named = layer is output and len(classifier.class_names) == kernel.shape[1]
    titles = classifier.class_names if named else range(1, kernel.shape[1] + 1)
    shape = classifier.net.input_shape[1:]
    return [(str(title), _flat(unit.reshape(shape))) for title, unit in zip(titles, kernel.T, strict=True)]


def _kernels(kernel):
    """Return the kernels of a convolution, (height, width, inputs, outputs): one a map, or one for each pair of maps."""
    inputs, outputs = kernel.shape[2:]
    if inputs in (1, 3):
        return [(str(output + 1), _flat(kernel[..., output])) for output in range(outputs)]
    return [
        (f"{source + 1} to {output + 1}", kernel[:, :, source, output])
        for output in range(outputs)
        for source in range(inputs)
    ]


def _memorised(layer, classifier):
    """Return the first memorised pictures of each class."""
    labels = keras.ops.convert_to_numpy(layer.labels)
    places = [place for column in labels.T for place in np.flatnonzero(column)[:EACH]]
    memory = keras.ops.convert_to_numpy(keras.ops.take(layer.memory, np.array(places, "int32"), axis=1))
    shape = classifier.net.input_shape[1:]
    # As they were before the preprocessing moved them: no ink is 0.
    pictures = (memory.T - classifier.preprocessing.shift) / classifier.preprocessing.scale
    return [
        (classifier.class_names[labels[place].argmax()], _flat(picture.reshape(shape)))
        for place, picture in zip(places, pictures, strict=True)
    ]


def _flat(array):
    """Return a picture of one channel without its axis of channels."""
    return array[..., 0] if array.shape[-1] == 1 else array


def draw(classifier, path):
    """Draw what the first layer with weights has learned.

    Args:
        classifier: `zoo.Classifier`.
        path: the PNG to write.

    Returns:
        (layer name, number of pictures).

    Raises:
        ZooError: if there is nothing to draw, see `learned`.
    """
    name, pictures = learned(classifier)
    columns = min(EACH, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(max(columns, 4), 1.2 * rows + 0.4), layout="constrained", squeeze=False
    )
    largest = max(float(np.abs(array).max()) for _, array in pictures) or 1.0
    signed = min(float(array.min()) for _, array in pictures) < 0
    for axis in axes.flat:
        axis.axis("off")
    for axis, (title, array) in zip(axes.flat, pictures, strict=False):
        axis.set_title(title, fontsize=8)
        if array.ndim == 3:  # weights of red, green and blue: grey is none
            axis.imshow((array / largest + 1) / 2 if signed else array / largest)
        else:
            axis.imshow(array, cmap="RdBu_r" if signed else "gray", vmin=-largest if signed else 0, vmax=largest)
    figure.suptitle(f"{classifier.weights_name or classifier.name}, layer {name}", fontsize=9)
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    plt.close(figure)
    return name, len(pictures)
