"""What a model has learned, and what it makes of a picture, as a picture file.

The first layer with something to show is drawn, or the one that is named. A layer may define its own drawing in a method
`images()`, a list of (title, array), see `zoo.layers.traits`. The arrays are (height, width) or (height, width, 3). Signed
values are red and blue: templates of a dense layer on the flattened image or behind a plugboard, and kernels of
a convolution; values that are nowhere negative are grey. All arrays of one file have one scale.
"""

import math

import keras
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from zoo.analysis import features
from zoo.analysis.receptive_field import receptive_field
from zoo.errors import ZooError, printable
from zoo.files import atomic

LARGEST = 100  # pictures in one file
EACH = 10  # memorised pictures of a class
TITLED = 40  # more numbered pictures than this stand close, without a title each
NAMED = 30  # bars that have room for their names


def learned(classifier, layer=None):
    """Return what a layer has learned, as pictures.

    Args:
        classifier: `zoo.Classifier`.
        layer: name of the layer; by default the first one with weights.

    Returns:
        (layer name, list of (title, array)), the arrays (height, width) or (height, width, 3).

    Raises:
        ZooError: if there is no such layer, or nobody has taught this module to draw one of its class.
    """
    layers = classifier.net.layers
    first = next((each for each in layers if hasattr(each, "images") or each.weights), None)
    shown = first if layer is None else features.layer_of(classifier, layer)
    if shown is None:
        raise ZooError(f"{classifier.name} has no layer with weights")
    behind = next(iter(layers[layers.index(shown) + 1 :]), None)
    before = layers[layers.index(shown) - 1] if shown is not layers[0] else None
    if hasattr(shown, "images"):
        found = shown.images()
    elif hasattr(shown, "examples"):
        found = _memorized(shown, classifier)
    elif isinstance(shown, keras.layers.Conv2D) or hasattr(shown, "full_kernel"):
        kernel = shown.full_kernel() if hasattr(shown, "full_kernel") else shown.kernel
        kernel = keras.ops.convert_to_numpy(kernel)
        found = _kernels(kernel, getattr(shown, "groups", 1), shown is first)
    elif (
        isinstance(shown, keras.layers.Dense)
        and shown is first
        and shown.kernel.shape[0] == math.prod(classifier.net.input_shape[1:])
    ):
        found = _templates(shown.kernel, shown, classifier)
    elif hasattr(shown, "project_to_input") and isinstance(behind, keras.layers.Dense):
        found, shown = _templates(shown.project_to_input(behind.kernel), behind, classifier), behind
    elif hasattr(before, "project_to_input") and isinstance(shown, keras.layers.Dense):
        found = _templates(before.project_to_input(shown.kernel), shown, classifier)
    else:
        raise ZooError(
            f"{classifier.name}: layer {shown.name} ({type(shown).__name__}) has no weights that are a picture; drawn "
            "are a Dense on the flattened picture or behind a plugboard, convolutions, memorised pictures, and layers "
            "with a method images(). What any layer makes of a picture: zoo show MODEL --layer "
            f"{shown.name} --image FILE"
        )
    if not found:
        raise ZooError(f"{classifier.name}: layer {shown.name} has learned nothing yet that could be drawn")
    return shown.name, found


def _templates(kernel, layer, classifier):
    """Return what each unit of a layer weighs the pixels with, (pixels, units), in the form of the picture."""
    kernel = keras.ops.convert_to_numpy(kernel)
    *_, output = [each for each in classifier.net.layers if each.trainable_weights]
    named = layer is output and len(classifier.class_names) == kernel.shape[1]
    titles = classifier.class_names if named else range(1, kernel.shape[1] + 1)
    shape = classifier.net.input_shape[1:]
    return [(str(title), _flat(unit.reshape(shape))) for title, unit in zip(titles, kernel.T, strict=True)]


def _kernels(kernel, groups, on_picture):
    """Return the kernels of a convolution, (height, width, inputs of a group, outputs), as (title, array).

    Args:
        kernel: the array.
        groups: number of groups of maps that are convolved apart from each other.
        on_picture: the inputs are grey or red, green and blue, and a kernel is one picture; on maps it is one for each.
    """
    inputs, outputs = kernel.shape[2:]
    if groups == 1 and (inputs == 1 or (on_picture and inputs == 3)):
        return [(str(output + 1), _flat(kernel[..., output])) for output in range(outputs)]
    return [
        (f"{output // (outputs // groups) * inputs + source + 1} to {output + 1}", kernel[:, :, source, output])
        for output in range(outputs)
        for source in range(inputs)
    ]


def _memorized(layer, classifier):
    """Return the first memorised pictures of each class."""
    patterns, labels = layer.examples(EACH)
    pictures = patterns.reshape(-1, *classifier.net.input_shape[1:])
    # As they were before the preprocessing moved them: no ink is 0.
    pictures = (pictures - classifier.preprocessing.shift) / classifier.preprocessing.scale
    return [(classifier.class_names[label], _flat(picture)) for label, picture in zip(labels, pictures, strict=True)]


def _flat(array):
    """Return a picture of one channel without its axis of channels."""
    return array[..., 0] if array.shape[-1] == 1 else array


def activations(classifier, picture, layer=None):
    """Return what a layer makes of a picture.

    Args:
        classifier: `zoo.Classifier`.
        picture: (height, width, channels), raw 0-255.
        layer: name of the layer; by default as for `features.layer_of`.

    Returns:
        List of (title, array): a (height, width) array a map, titled by its number from 1; of a layer without maps, or with
        maps of one unit, one (units,) array, titled as the layer.

    Raises:
        ZooError: if there is no such layer, or it has other axes than those.
    """
    found = features.layer_of(classifier, layer)
    shape = found.output.shape[1:]
    if len(shape) not in (1, 3):
        raise ZooError(f"{classifier.name}: layer {found.name} puts out {'x'.join(map(str, shape))}, neither maps nor units")
    values = features.extract(classifier, picture[None], found.name, batch_size=1).reshape(shape)
    if math.prod(shape[:-1]) == 1:
        return [(found.name, values.reshape(-1))]
    return [(str(number + 1), values[..., number]) for number in range(shape[-1])]


def heat(classifier, picture, layer, unit):
    """Return how one map responds to a picture, and where on the picture it does so.

    Args:
        classifier: `zoo.Classifier`.
        picture: (height, width, channels), raw 0-255.
        layer: name of a layer with maps.
        unit: number of the map, from 1.

    Returns:
        (map, (left, right, bottom, top) of the map in pixels of the picture, (left, top, width, height) of what the largest
        response sees). The map lies where its units look; where that is not known, over all of the picture. The last is None
        there, and where nothing responds.

    Raises:
        ZooError: if there is no such layer or unit, or if the layer has no maps.
    """
    features.check_unit(classifier, layer, unit)
    maps = activations(classifier, picture, layer)
    if maps[0][1].ndim == 1:
        raise ZooError(f"{classifier.name}: layer {layer} has no maps, so that its units look at all of the picture")
    values = maps[unit - 1][1]
    field = receptive_field(classifier, layer)
    if field is None:
        return values, (0, picture.shape[1], picture.shape[0], 0), None
    edges, box = [], []
    largest = np.unravel_index(values.argmax(), values.shape)
    for (first, step, size), length, place in zip(field, values.shape, largest, strict=True):
        # A unit is drawn as a cell of the size of its step, around the middle of what it sees.
        start = first + (size - step) / 2
        edges.append((start, start + step * length))
        box.append((first + step * int(place), size))
    (top, height), (left, width) = box
    responds = values[largest] > 0
    return values, (*edges[1], edges[0][1], edges[0][0]), (left, top, width, height) if responds else None


def draw(classifier, path, layer=None):
    """Draw what a layer has learned.

    Args:
        classifier: `zoo.Classifier`.
        path: the PNG to write.
        layer: name of the layer; by default the first one with weights.

    Returns:
        (layer name, number of pictures that are drawn, at most 100, number of those that there are).

    Raises:
        ZooError: if there is nothing to draw, see `learned`.
    """
    name, found = learned(classifier, layer)
    pictures = found[:LARGEST]
    arrays = [array for _, array in pictures]
    numbered = [title for title, _ in pictures] == [str(number + 1) for number in range(len(pictures))]
    if len(pictures) > TITLED and numbered and len({array.shape for array in arrays}) == 1:
        columns = _columns(len(arrays))
        rows = math.ceil(len(arrays) / columns)
        figure, axis = plt.subplots(figsize=(0.75 * columns + 0.5, 0.75 * rows + 0.5), layout="constrained")
        _close_together(axis, arrays, columns)
    else:
        columns = min(EACH, len(pictures))
        rows = math.ceil(len(pictures) / columns)
        size = (max(columns, 4), 1.2 * rows + 0.4)
        figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
        scale = _scale(arrays)
        for axis in axes.flat:
            axis.axis("off")
        for axis, (title, array) in zip(axes.flat, pictures, strict=False):
            axis.set_title(title, fontsize=8, parse_math=False)
            _show(axis, array, scale)
    beyond = f", the first {len(pictures)} of {len(found):,}" if len(pictures) < len(found) else ""
    _save(figure, path, heading(classifier, name) + beyond)
    return name, len(pictures), len(found)


def draw_activations(classifier, picture, path, layer=None, unit=None):
    """Draw what a layer makes of a picture: the picture, then its maps on one scale, at most 100, or its units as bars.

    Args:
        classifier: `zoo.Classifier`.
        picture: (height, width, channels), raw 0-255.
        path: the PNG to write.
        layer: name of the layer; by default as for `features.layer_of`.
        unit: number of the one unit to draw, from 1: of a map, laid over the picture; of a layer without maps, marked.

    Returns:
        (layer name, number of maps or units that are drawn, number of those that the layer has).

    Raises:
        ZooError: if there is no such layer or unit.
    """
    layer = features.layer_of(classifier, layer).name
    if unit is not None:
        features.check_unit(classifier, layer, unit)
    found = activations(classifier, picture, layer)
    arrays = [array for _, array in found]
    title = heading(classifier, layer)
    flat = arrays[0].ndim == 1
    total = len(arrays[0]) if flat else len(arrays)
    shown = 1 if unit is not None else total if flat else min(total, LARGEST)
    if unit is not None and not flat:
        figure, (left, right) = plt.subplots(1, 2, figsize=(8, 4), layout="constrained")
        image = _lay_over(right, picture, *heat(classifier, picture, layer, unit))
        figure.colorbar(image, ax=[left, right], shrink=0.8)
        title += f", unit {unit}: at most {arrays[unit - 1].max():.3g}"
    elif flat:
        figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.2), width_ratios=(1, 3), layout="constrained")
        _bars(right, arrays[0], unit, _names(classifier, layer, total))
        title += f", {total} units" if unit is None else f", unit {unit}: {arrays[0][unit - 1]:.3g}"
    else:
        columns = _columns(shown) if shown > TITLED else math.ceil(math.sqrt(shown))
        rows = math.ceil(shown / columns)
        wide, high = 0.85 * columns, 0.85 * rows * arrays[0].shape[0] / arrays[0].shape[1]
        size = (wide + 3, max(high, 2.2) + 0.5)
        figure, (left, right) = plt.subplots(1, 2, figsize=size, width_ratios=(2.4, wide), layout="constrained")
        _close_together(right, arrays[:shown], columns)
        title += f", the first {shown} of {total} maps; {total - shown} more" if shown < total else f", {total} maps"
    _show_picture(left, picture)
    left.set_anchor("N")
    right.set_anchor("N")
    _save(figure, path, title)
    return layer, shown, total


def contact_sheet(tiles, path, title, query=None):
    """Draw pictures beside each other, each under its lines.

    Args:
        tiles: list of (list of lines, raw picture).
        path: the PNG to write.
        title: str, above all.
        query: (list of lines, raw picture) that stands larger at the left, or None.
    """
    columns = min(len(tiles), 4 if len(tiles) <= 16 else EACH)
    rows = math.ceil(len(tiles) / columns)
    beside = 3.0 if query else 0.0
    width, height = max(beside + 1.5 * columns, 4), max(1.8 * rows, beside) + 0.5  # inches
    figure = plt.figure(figsize=(width, height))
    place = {"top": 1 - 0.65 / height, "bottom": 0.1 / height}
    grid = figure.add_gridspec(rows, columns, left=(beside + 0.1) / width, right=1 - 0.1 / width, hspace=0.35, **place)
    for cell, (lines, picture) in zip(grid, tiles, strict=False):
        _tile(figure.add_subplot(cell), lines, picture, 7)
    if query:
        large = figure.add_gridspec(1, 1, left=0.1 / width, right=(beside - 0.3) / width, **place)
        axis = figure.add_subplot(large[0], anchor="N")
        _tile(axis, *query, 7)
    _save(figure, path, title)


def _tile(axis, lines, picture, size):
    _show_picture(axis, picture)
    # The end of a path tells more than its beginning.
    short = [line if len(line) <= 26 else f"…{line[-25:]}" for line in map(printable, lines)]
    axis.set_title("\n".join(short), fontsize=size, parse_math=False)


def heading(classifier, layer):
    """Return what stands above a drawing of a layer."""
    return f"{classifier.weights_name or classifier.name}, layer {layer}"


def _show_picture(axis, picture):
    """Show a raw picture."""
    axis.axis("off")
    axis.imshow(_flat(picture), cmap="gray", vmin=0, vmax=255)


def _scale(arrays):
    """Return how values are drawn, by the largest of all: (largest, whether one is negative)."""
    largest = max(float(np.abs(array).max()) for array in arrays) or 1.0
    return largest, min(float(array.min()) for array in arrays) < 0


def _show(axis, array, scale):
    """Show weights or responses in colours that their sign and the largest of the file choose; NaN is white."""
    largest, signed = scale
    if array.ndim == 3:  # weights of red, green and blue: grey is none
        scaled = (array / largest + 1) / 2 if signed else array / largest
        axis.imshow(np.nan_to_num(scaled, nan=1.0), interpolation="nearest")
    else:
        low = -largest if signed else 0
        axis.imshow(array, cmap="RdBu_r" if signed else "gray", vmin=low, vmax=largest, interpolation="nearest")


def _columns(count):
    """Return the columns of a large sheet: a number that fills its rows, if one does."""
    return next((columns for columns in (12, 16, 10) if count % columns == 0), 12)


def _close_together(axis, arrays, columns):
    """Show arrays of one size as one sheet with thin lines between; at the left stands the number of the first of a row."""
    height, width = arrays[0].shape[:2]
    rows, line = math.ceil(len(arrays) / columns), max(1, max(height, width) // 11)
    sheet = np.full((rows * (height + line), columns * (width + line), *arrays[0].shape[2:]), np.nan)
    for number, array in enumerate(arrays):
        top, left = number // columns * (height + line), number % columns * (width + line)
        sheet[top : top + height, left : left + width] = array
    _show(axis, sheet[: sheet.shape[0] - line, : sheet.shape[1] - line], _scale(arrays))
    axis.set_xticks([])
    middles = np.arange(rows) * (height + line) + (height - 1) / 2
    axis.set_yticks(middles, [str(row * columns + 1) for row in range(rows)], fontsize=7)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def _lay_over(axis, picture, values, extent, box):
    """Show a map over a picture in grey, and frame what its largest response sees; return the map's image."""
    height, width = picture.shape[:2]
    axis.axis("off")
    axis.imshow(picture.mean(axis=-1), cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0))
    low, high = min(float(values.min()), 0.0), float(values.max())
    image = axis.imshow(values, cmap="inferno", alpha=0.6, vmin=low, vmax=max(high, low + 1e-9), extent=extent)
    if box is not None:
        left, top, across, down = box
        axis.add_patch(plt.Rectangle((left, top), across, down, fill=False, edgecolor="cyan", linewidth=1.2))
    axis.set(xlim=(0, width), ylim=(height, 0))
    return image


def _bars(axis, values, unit, names):
    """Show the units of a layer as bars; the names stand below, or, of many, those of the largest above. One unit is
    marked."""
    numbers = np.arange(1, len(values) + 1)
    colours = ["tab:red" if number == unit else "tab:blue" for number in numbers]
    if len(values) <= NAMED:
        axis.bar(numbers, values, color=colours)
        axis.set_xticks(numbers, [printable(name)[:20] for name in names], rotation=0 if max(map(len, names)) < 4 else 60)
        for label in axis.get_xticklabels():
            label.set_parse_math(False)
    else:
        axis.vlines(numbers, 0, values, colors=colours, linewidth=max(0.3, min(3.0, 400 / len(values))))
        largest = np.argsort(-values, kind="stable")[:5]
        said = ", ".join(f"{printable(names[place])[:20]}: {values[place]:.3g}" for place in largest)
        axis.set_title(f"the largest are {said}", fontsize=8, parse_math=False)
    axis.tick_params(labelsize=7)
    axis.axhline(0, color="black", linewidth=0.5)


def _names(classifier, layer, count):
    """Return what the units of a layer are called: of the output the classes, of others the numbers from 1."""
    answers = classifier.net.layers[-1].name == layer and len(classifier.class_names) == count
    return classifier.class_names if answers else [str(number + 1) for number in range(count)]


def _save(figure, path, title):
    """Write a figure to a PNG, atomically, and forget it."""
    figure.suptitle(title, fontsize=9, parse_math=False)
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    plt.close(figure)
