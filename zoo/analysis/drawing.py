"""Draw the weights of a layer, its activations for an image, and contact sheets of images, as PNG files.

Signed values are drawn in red and blue, values that are nowhere negative in gray. All arrays of one file have one scale.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from zoo.analysis import features
from zoo.analysis.layer_images import activations, heat_map, squeezed, weight_images
from zoo.errors import printable
from zoo.files import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from zoo.classifier import Classifier

Tile = tuple[Sequence[str], np.ndarray]  # lines above an image, and the raw image

MOST = 100  # images in one file
COLUMNS = 10
TITLED = 40  # more numbered images than this are drawn without a title each
NAMED = 30  # more bars than this are drawn without names


def draw(classifier: "Classifier", path: str | Path, layer: str | None = None) -> tuple[str, int, int]:
    """Draw the weights of a layer.

    Args:
        classifier: the classifier.
        path: the PNG file to write.
        layer: name of the layer. Default: the first one with weights.

    Returns:
        (layer name, number of images that are drawn, at most 100, number of all images).

    Raises:
        ZooError: if there is nothing to draw, see `layer_images.weight_images`.
    """
    name, found = weight_images(classifier, layer)
    images = found[:MOST]
    arrays = [array for _, array in images]
    numbered = [title for title, _ in images] == [str(number + 1) for number in range(len(images))]
    if len(images) > TITLED and numbered and len({array.shape for array in arrays}) == 1:
        columns = _columns(len(arrays))
        rows = math.ceil(len(arrays) / columns)
        figure, axis = plt.subplots(figsize=(0.75 * columns + 0.5, 0.75 * rows + 0.5), layout="constrained")
        _grid(axis, arrays, columns)
    else:
        columns = min(COLUMNS, len(images))
        rows = math.ceil(len(images) / columns)
        size = (max(columns, 4), 1.2 * rows + 0.4)
        figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
        scale = _scale(arrays)
        for axis in axes.flat:
            axis.axis("off")
        for axis, (title, array) in zip(axes.flat, images, strict=False):
            axis.set_title(title, fontsize=8, parse_math=False)
            _show(axis, array, scale)
    beyond = f", the first {len(images)} of {len(found):,}" if len(images) < len(found) else ""
    _save(figure, path, heading(classifier, name) + beyond)
    return name, len(images), len(found)


def draw_activations(
    classifier: "Classifier", image: np.ndarray, path: str | Path, layer: str | None = None, unit: int | None = None
) -> tuple[str, int, int]:
    """Draw an image and the activations of a layer: feature maps on one scale, at most 100, or the units as bars.

    Args:
        classifier: the classifier.
        image: (height, width, channels), raw 0-255.
        path: the PNG file to write.
        layer: name of the layer. Default: see `features.layer_of`.
        unit: number of one unit to draw, from 1: a feature map is laid over the image, a bar is marked.

    Returns:
        (layer name, number of maps or units that are drawn, number of maps or units of the layer).

    Raises:
        ZooError: if there is no such layer or unit.
    """
    layer = features.layer_of(classifier, layer).name
    if unit is not None:
        features.check_unit(classifier, layer, unit)
    found = activations(classifier, image, layer)
    arrays = [array for _, array in found]
    title = heading(classifier, layer)
    flat = arrays[0].ndim == 1
    total = len(arrays[0]) if flat else len(arrays)
    shown = 1 if unit is not None else total if flat else min(total, MOST)
    if unit is not None and not flat:
        figure, (left, right) = plt.subplots(1, 2, figsize=(8, 4), layout="constrained")
        overlay = _lay_over(right, image, *heat_map(classifier, image, layer, unit))
        figure.colorbar(overlay, ax=[left, right], shrink=0.8)
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
        _grid(right, arrays[:shown], columns)
        title += f", the first {shown} of {total} maps; {total - shown} more" if shown < total else f", {total} maps"
    _show_image(left, image)
    left.set_anchor("N")
    right.set_anchor("N")
    _save(figure, path, title)
    return layer, shown, total


def contact_sheet(tiles: Sequence[Tile], path: str | Path, title: str, query: Tile | None = None) -> None:
    """Draw images in a grid, each with lines of text above it.

    Args:
        tiles: (lines, raw image) of each tile.
        path: the PNG file to write.
        title: above the grid.
        query: (lines, raw image) to draw larger on the left, or None.
    """
    columns = min(len(tiles), 4 if len(tiles) <= 16 else COLUMNS)
    rows = math.ceil(len(tiles) / columns)
    beside = 3.0 if query else 0.0
    width, height = max(beside + 1.5 * columns, 4), max(1.8 * rows, beside) + 0.5  # inches
    figure = plt.figure(figsize=(width, height))
    place = {"top": 1 - 0.65 / height, "bottom": 0.1 / height}
    grid = figure.add_gridspec(rows, columns, left=(beside + 0.1) / width, right=1 - 0.1 / width, hspace=0.35, **place)
    for cell, tile in zip(grid, tiles, strict=False):
        _tile(figure.add_subplot(cell), *tile)
    if query:
        large = figure.add_gridspec(1, 1, left=0.1 / width, right=(beside - 0.3) / width, **place)
        axis = figure.add_subplot(large[0], anchor="N")
        _tile(axis, *query)
    _save(figure, path, title)


def _tile(axis: "Axes", lines: Sequence[str], image: np.ndarray) -> None:
    _show_image(axis, image)
    # The end of a path is more specific than its beginning.
    short = [line if len(line) <= 26 else f"…{line[-25:]}" for line in map(printable, lines)]
    axis.set_title("\n".join(short), fontsize=7, parse_math=False)


def heading(classifier: "Classifier", layer: str) -> str:
    """Return the title of a drawing of a layer."""
    return f"{classifier.weights_name or classifier.name}, layer {layer}"


def _show_image(axis: "Axes", image: np.ndarray) -> None:
    """Show a raw image."""
    axis.axis("off")
    axis.imshow(squeezed(image), cmap="gray", vmin=0, vmax=255)


def _scale(arrays: Sequence[np.ndarray]) -> tuple[float, bool]:
    """Return the common scale of arrays: (largest absolute value, whether any value is negative)."""
    largest = max(float(np.abs(array).max()) for array in arrays) or 1.0
    return largest, min(float(array.min()) for array in arrays) < 0


def _show(axis: "Axes", array: np.ndarray, scale: tuple[float, bool]) -> None:
    """Show weights or activations on a scale. NaN is white."""
    largest, signed = scale
    if array.ndim == 3:  # weights of red, green and blue: 0 is gray
        scaled = (array / largest + 1) / 2 if signed else array / largest
        axis.imshow(np.nan_to_num(scaled, nan=1.0), interpolation="nearest")
    else:
        low = -largest if signed else 0
        axis.imshow(array, cmap="RdBu_r" if signed else "gray", vmin=low, vmax=largest, interpolation="nearest")


def _columns(count: int) -> int:
    """Return the number of columns of a large grid, chosen so that its last row is full if possible."""
    return next((columns for columns in (12, 16, 10) if count % columns == 0), 12)


def _grid(axis: "Axes", arrays: Sequence[np.ndarray], columns: int) -> None:
    """Show arrays of the same size as a grid with thin lines. On the left is the number of the first array of each row."""
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


def _lay_over(axis: "Axes", image: np.ndarray, values: np.ndarray, extent: tuple, box: tuple | None) -> "AxesImage":
    """Show a feature map over an image in gray, and frame the receptive field of the largest activation.

    Args:
        axis: the axes to draw on.
        image: raw image.
        values: the feature map.
        extent: position of the map, as `layer_images.heat_map` returns it.
        box: frame, as `layer_images.heat_map` returns it.

    Returns:
        The drawn feature map, for a color bar.
    """
    height, width = image.shape[:2]
    axis.axis("off")
    axis.imshow(image.mean(axis=-1), cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0))
    low, high = min(float(values.min()), 0.0), float(values.max())
    overlay = axis.imshow(values, cmap="inferno", alpha=0.6, vmin=low, vmax=max(high, low + 1e-9), extent=extent)
    if box is not None:
        left, top, across, down = box
        axis.add_patch(plt.Rectangle((left, top), across, down, fill=False, edgecolor="cyan", linewidth=1.2))
    axis.set(xlim=(0, width), ylim=(height, 0))
    return overlay


def _bars(axis: "Axes", values: np.ndarray, unit: int | None, names: Sequence[str]) -> None:
    """Show the units of a layer as bars with names, or, if there are many, with the names of the largest in the title.

    Args:
        axis: the axes to draw on.
        values: (units,) activations.
        unit: number of the unit to mark, from 1, or None.
        names: names of the units.
    """
    numbers = np.arange(1, len(values) + 1)
    colors = ["tab:red" if number == unit else "tab:blue" for number in numbers]
    if len(values) <= NAMED:
        axis.bar(numbers, values, color=colors)
        axis.set_xticks(numbers, [printable(name)[:20] for name in names], rotation=0 if max(map(len, names)) < 4 else 60)
        for label in axis.get_xticklabels():
            label.set_parse_math(False)
    else:
        axis.vlines(numbers, 0, values, colors=colors, linewidth=max(0.3, min(3.0, 400 / len(values))))
        largest = np.argsort(-values, kind="stable")[:5]
        labels = ", ".join(f"{printable(names[place])[:20]}: {values[place]:.3g}" for place in largest)
        axis.set_title(f"the largest are {labels}", fontsize=8, parse_math=False)
    axis.tick_params(labelsize=7)
    axis.axhline(0, color="black", linewidth=0.5)


def _names(classifier: "Classifier", layer: str, count: int) -> list[str]:
    """Return the names of the units of a layer: class names for the output layer, otherwise numbers from 1."""
    is_output = classifier.net.layers[-1].name == layer and len(classifier.class_names) == count
    return classifier.class_names if is_output else [str(number + 1) for number in range(count)]


def _save(figure: "Figure", path: str | Path, title: str) -> None:
    """Write a figure to a PNG file, atomically, and close it."""
    figure.suptitle(title, fontsize=9, parse_math=False)
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    plt.close(figure)
