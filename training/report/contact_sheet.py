"""Plots a contact sheet: images as read, as the network receives them in evaluation, and augmented as in training."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import keras
import matplotlib
from PIL import Image, ImageOps, UnidentifiedImageError

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from training import data, keras_objects, recipe
from training.augmentation import presets
from training.data import Samples
from training.data.listing import count_images
from training.recipe import image_spec_of_data
from zoo import registry
from zoo.errors import ZooError, printable
from zoo.files import atomic
from zoo.images import center_crop
from zoo.schema import KerasObject

ROWS = 8  # classes
AUGMENTED = 6  # augmented versions of each image
TILE = 112  # side of a tile in pixels
GAP = 8
DPI = 110
GRAY = 235  # background of a tile: different from black padding and from the white page


def draw(
    augmentation: Sequence[keras.Layer],
    samples: Samples,
    class_names: Sequence[str],
    shape: tuple[int, int, int],
    path: Path,
    title: str,
    root: Path | None = None,
) -> None:
    """Plot the first image of each class, one row per class, for at most `ROWS` classes.

    The states of the random seed generators do not change, so a run that calls this function has bit-identical results to
    one that does not.

    Args:
        augmentation: augmentation layers, as for `training.engine.trainer.Trainer`.
        samples: training samples.
        class_names: one str per class.
        shape: input (height, width, channels) of the classifier.
        path: the PNG file.
        title: title of the sheet.
        root: folder that the names of the samples are relative to. If given, and if the samples have names, the first column
            shows the files themselves.

    Raises:
        ZooError: if a layer cannot process such images.
    """
    counts = np.bincount(samples.labels, minlength=len(class_names))
    present = np.flatnonzero(counts)
    classes = present[np.linspace(0, len(present) - 1, min(ROWS, len(present))).round().astype(int)]
    first = samples[np.array([np.flatnonzero(samples.labels == label)[0] for label in classes])]
    named = root is not None and first.names is not None
    originals = [_original(Path(root) / name) for name in first.names] if named else list(first.images)
    columns = [originals, list(center_crop(first.images, *shape[:2])), *augmented_batches(augmentation, first.images)]
    headings = ["file" if named else "as read", "in evaluation", "in training"][: len(columns)]
    labels = [f"{_shorten(class_names[label])}\n{count_images(range(counts[label]))}" for label in classes]
    _save(columns, headings, labels, title, path)


def augmented_batches(augmentation: Sequence[keras.Layer], images: np.ndarray, count: int = AUGMENTED) -> list[np.ndarray]:
    """Augment images several times, without changing the states of the seed generators.

    Args:
        augmentation: augmentation layers.
        images: (n, height, width, channels) uint8.
        count: number of augmented versions.

    Returns:
        `count` float arrays of n images each; an empty list if there are no layers.

    Raises:
        ZooError: if a layer cannot process such images, for example because it needs color.
    """
    batches = []
    with keras.StatelessScope():  # assignments inside this scope are discarded
        for _ in range(count if augmentation else 0):
            batch = keras.ops.cast(images, "float32")
            for layer in augmentation:
                try:
                    batch = layer(batch, training=True)
                except Exception as error:  # Keras and its backends raise many types of errors here
                    name = keras.saving.get_registered_name(type(layer))  # as in the recipe
                    size = "x".join(map(str, batch.shape[1:]))
                    reason = keras_objects.reason(error)
                    raise ZooError(f"augmentation {name} cannot process images of {size}: {reason}") from error
            batches.append(keras.ops.convert_to_numpy(batch))
    return batches


def describe(name: str, augmentation: Sequence[KerasObject]) -> str:
    """Return the title of a sheet: a name, and the augmentation layers of a recipe with their arguments."""
    layers = presets.describe([layer.model_dump() for layer in augmentation])
    return f"{name}: {layers or 'no augmentation'}"


def show_augmented(name: str, source: str, seed: int | None, out: str | Path | None) -> None:
    """Plot the contact sheet of a recipe, for `zoo show RECIPE --augmented`.

    Args:
        name: name of a packaged recipe, path of a TOML file or of a run directory.
        source: data to use instead of the recipe's, or "".
        seed: random seed to use instead of the recipe's, or None.
        out: the PNG file. Default: NAME-augmented.png.

    Raises:
        ZooError: if there is no such recipe, its data cannot be loaded, or its layers cannot process the images.
    """
    checked = _recipe(name, {} if seed is None else {"seed": seed})
    if not (source or checked.data.name):
        raise ZooError(f"the recipe {name} does not specify its data; add --data DATA")
    image_spec, shape = _image_spec(name, checked)
    loaded = data.load(source or checked.data.name, image_spec_of_data(checked, image_spec))
    sizes = (0, 0) if source else (checked.data.validation, checked.data.test)  # other data are used whole
    train, _, _ = data.split(loaded, *sizes, checked.seed)
    layers = keras_objects.augmentation(checked.augmentation, checked.seed)
    for layer in layers:
        if hasattr(layer, "adapt"):
            layer.adapt(train.images, len(train) / checked.batch_size)
    out = Path(out or f"{Path(name).stem}-augmented.png")
    title = describe(name, checked.augmentation)
    draw(layers, train, loaded.class_names, shape, out, title, loaded.root)
    print(f"{out}: {title}")


def _recipe(name, changes):
    """Return the recipe of a name, TOML file or run directory. For a model, raise an error that lists its recipes."""
    path = Path(name)
    if path.is_dir():
        if not (path / "recipe.toml").is_file():
            raise ZooError(f"{name} is not a run directory: it has no recipe.toml")
        return recipe.load(path / "recipe.toml", **changes)
    if path.suffix != ".toml" and name.partition(".")[0] in registry.raw_cards() and name not in recipe.names():
        arch = registry.split_name(name)[0]
        known = [found for found in recipe.names() if recipe.load(found).model.partition(".")[0] == arch]
        recipes = f"its recipes are {', '.join(known)}" if known else "it has no recipe"
        raise ZooError(f"{name} is a model; expected a recipe, which has the augmentation; {recipes}")
    return recipe.load(name, **changes)


def _image_spec(name, checked):
    """Return the image_spec of a recipe's model, and its (height, width, channels)."""
    if not checked.model:
        raise ZooError(f"the recipe {name} does not specify its model; give the run directory of a `zoo finetune` instead")
    if registry.is_path(checked.model) or "." in checked.model:
        image_spec = registry.load(checked.model).image_spec
    else:
        image_spec = (checked.picture or registry.card(checked.model).picture).model_dump()
    return image_spec, (image_spec["height"], image_spec["width"], image_spec["channels"])


def _original(path):
    """Return an image file in its own size and colors, rotated as its EXIF orientation says."""
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:  # it was readable before
        raise ZooError(f"{path} can no longer be read ({error}); has the file changed?") from error


def _tile(pixels):
    """Return an image of any size, scaled to fit, as (TILE, TILE, 3) uint8. Small images are enlarged by a whole factor."""
    pixels = np.repeat(pixels, 3 // pixels.shape[-1], axis=-1).astype("float32").round().clip(0, 255).astype("uint8")
    factor = TILE // max(pixels.shape[:2])
    if factor:
        pixels = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    image = Image.fromarray(pixels)
    image.thumbnail((TILE, TILE), Image.Resampling.BOX)
    tile = Image.new("RGB", (TILE, TILE), (GRAY,) * 3)
    tile.paste(image, ((TILE - image.width) // 2, (TILE - image.height) // 2))
    return np.asarray(tile)


def _save(columns, headings, labels, title, path):
    """Write columns of images to a PNG file, with a heading above each column and a label before each row."""
    step = TILE + GAP
    canvas = np.full((len(labels) * step, len(columns) * step, 3), 255, "uint8")
    for column, images in enumerate(columns):
        for row, image in enumerate(images):
            canvas[row * step : row * step + TILE, column * step : column * step + TILE] = _tile(image)
    left, right = 150, 10  # pixels of the labels and of the margin
    width = max(left + canvas.shape[1] + right, 560)
    lines = textwrap.wrap(printable(title), width // 7)
    top = 16 * len(lines) + 34
    height = top + canvas.shape[0]
    figure = plt.figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    figure.figimage(canvas, left, 0)
    settings = {"fontsize": 7.5, "parse_math": False}
    figure.text(10 / width, 1 - 8 / height, "\n".join(lines), va="top", **settings)
    for column, heading in enumerate(headings):
        figure.text((left + column * step) / width, 1 - (top - 8) / height, heading, va="bottom", **settings)
    for row, label in enumerate(labels):
        middle_of_row = 1 - (top + row * step + TILE / 2) / height
        figure.text((left - 10) / width, middle_of_row, label, va="center", ha="right", **settings)
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)
    plt.close(figure)


def _shorten(name):
    name = printable(name)
    return name if len(name) <= 22 else f"{name[:21]}…"
