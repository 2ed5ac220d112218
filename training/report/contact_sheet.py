"""A contact sheet: pictures as they were read, as the net sees them in evaluation, and as it sees them in training."""

import textwrap
from pathlib import Path

import keras
import matplotlib
from PIL import Image, ImageOps, UnidentifiedImageError

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from training import data, keras_objects, recipe
from training.augmentation import presets
from training.recipe import shown
from zoo import registry
from zoo.errors import ZooError, printable
from zoo.files import atomic
from zoo.images import center_crop

ROWS = 8  # classes, at most
TIMES = 6  # distortions of each picture
TILE = 112  # pixels of the longer side of a picture, about
GAP = 8
DPI = 110
GREY = 235  # around a picture that fills no tile: neither the black of padding nor the white of paper


def draw(augmentation, samples, class_names, shape, path, title, root=None):
    """Draw the first picture of each class, of many classes of eight: a row each.

    Nothing random moves on by it: what is drawn is what the next batches would see, and a run that draws it stays the same,
    to the bit.

    Args:
        augmentation: layers, as for `training.engine.trainer.Trainer`.
        samples: `training.data.Samples` of the training part.
        class_names: one str a class.
        shape: (height, width, channels) that the classifier takes.
        path: the PNG to write.
        title: str, above all.
        root: folder that the names of the samples are below; the files themselves are drawn first, where they have names.

    Raises:
        ZooError: if a layer does not take such pictures.
    """
    counts = np.bincount(samples.labels, minlength=len(class_names))
    present = np.flatnonzero(counts)
    classes = present[np.linspace(0, len(present) - 1, min(ROWS, len(present))).round().astype(int)]
    first = samples[np.array([np.flatnonzero(samples.labels == each)[0] for each in classes])]
    named = root is not None and first.names is not None
    originals = [_original(Path(root) / name) for name in first.names] if named else list(first.images)
    columns = [originals, list(center_crop(first.images, *shape[:2])), *distorted(augmentation, first.images)]
    headings = ["the file" if named else "as read", "in evaluation", "in training"][: len(columns)]
    labels = [f"{_short(class_names[each])}\n{counts[each]:,} picture{'' if counts[each] == 1 else 's'}" for each in classes]
    _save(columns, headings, labels, title, path)


def distorted(augmentation, pictures, times=TIMES):
    """Return what layers of augmentation make of pictures: `times` float arrays, a batch each; without layers none.

    Args:
        augmentation: layers; the states of their random numbers stay as they are.
        pictures: (n, height, width, channels) uint8.

    Raises:
        ZooError: if a layer does not take such pictures, colours for one.
    """
    made = []
    with keras.StatelessScope():  # what is assigned within it is forgotten
        for _ in range(times if augmentation else 0):
            batch = keras.ops.cast(pictures, "float32")
            for layer in augmentation:
                try:
                    batch = layer(batch, training=True)
                except Exception as error:  # Keras and its backends raise errors of many kinds here
                    size = "x".join(map(str, batch.shape[1:]))
                    reason = keras_objects.reason(error)
                    raise ZooError(
                        f"augmentation {type(layer).__name__} does not fit pictures of {size}: {reason}"
                    ) from error
            made.append(keras.ops.convert_to_numpy(batch))
    return made


def describe(name, augmentation):
    """Return the title of a sheet: what it is of, and the layers of a recipe with their amounts."""
    layers = presets.described([each.model_dump() for each in augmentation])
    return f"{name}: {layers or 'nothing is distorted'}"


def show_augmented(name, source, seed, out):
    """Draw the sheet of a recipe, for `zoo show RECIPE --augmented`.

    Args:
        name: name of a packaged recipe, path of a TOML file or of a run folder.
        source: folder, list or TFDS name, instead of the recipe's.
        seed: int, instead of the recipe's, or None.
        out: the PNG to write; by default NAME-augmented.png.

    Raises:
        ZooError: if there is no such recipe, its data cannot be had, or its layers do not fit.
    """
    checked = _recipe(name, {} if seed is None else {"seed": seed})
    if not (source or checked.data.name):
        raise ZooError(f"the recipe {name} leaves its data open; name some with --data")
    picture, shape = _format(name, checked)
    loaded = data.load(source or checked.data.name, shown(checked, picture))
    carved = (0, 0) if source else (checked.data.validation, checked.data.test)  # of others all may be seen
    train, _, _ = data.split(loaded, *carved, checked.seed)
    layers = keras_objects.augmentation(checked.augmentation, checked.seed)
    for layer in layers:
        if hasattr(layer, "adapt"):
            layer.adapt(train.images, len(train) / checked.batch_size)
    out = Path(out or f"{Path(name).stem}-augmented.png")
    title = describe(name, checked.augmentation)
    draw(layers, train, loaded.class_names, shape, out, title, loaded.root)
    print(f"{out}: {title}")


def _recipe(name, changes):
    """Return the recipe of a name, TOML file or run folder; of a model, say which recipes it has."""
    path = Path(name)
    if path.is_dir():
        if not (path / "recipe.toml").is_file():
            raise ZooError(f"{name} is no run folder: it has no recipe.toml")
        return recipe.load(path / "recipe.toml", **changes)
    if path.suffix != ".toml" and name.partition(".")[0] in registry.raw_cards() and name not in recipe.names():
        arch = registry.split_name(name)[0]
        known = [each for each in recipe.names() if recipe.load(each).model.partition(".")[0] == arch]
        by = f"its recipes are {', '.join(known)}" if known else "it has no recipe"
        raise ZooError(f"{name} is a model, and pictures are distorted by a recipe; {by}")
    return recipe.load(name, **changes)


def _format(name, checked):
    """Return the picture format of a recipe's model, and its (height, width, channels)."""
    if not checked.model:
        raise ZooError(f"the recipe {name} leaves its model open; give the run folder of a `zoo finetune`")
    if registry.is_path(checked.model) or "." in checked.model:
        picture = registry.load(checked.model).image_spec
    else:
        picture = (checked.picture or registry.card(checked.model).picture).model_dump()
    return picture, (picture["height"], picture["width"], picture["channels"])


def _original(path):
    """Return a picture file as it is, upright, in its own size and colours."""
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:  # it has been read once
        raise ZooError(f"{path} cannot be read any more ({error}); has its folder changed?") from error


def _tile(picture):
    """Return a picture of any size as (TILE, TILE, 3) uint8: as large as fits, small ones by whole pixels."""
    picture = np.repeat(picture, 3 // picture.shape[-1], axis=-1).astype("float32").round().clip(0, 255).astype("uint8")
    times = TILE // max(picture.shape[:2])
    if times:
        picture = picture.repeat(times, axis=0).repeat(times, axis=1)
    image = Image.fromarray(picture)
    image.thumbnail((TILE, TILE), Image.Resampling.BOX)
    tile = Image.new("RGB", (TILE, TILE), (GREY,) * 3)
    tile.paste(image, ((TILE - image.width) // 2, (TILE - image.height) // 2))
    return np.asarray(tile)


def _save(columns, headings, labels, title, path):
    """Write columns of pictures as one PNG, with a heading over a column and a label before a row."""
    step = TILE + GAP
    canvas = np.full((len(labels) * step, len(columns) * step, 3), 255, "uint8")
    for column, pictures in enumerate(columns):
        for row, picture in enumerate(pictures):
            canvas[row * step : row * step + TILE, column * step : column * step + TILE] = _tile(picture)
    left, right = 150, 10  # pixels for labels and margin
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


def _short(name):
    name = printable(name)
    return name if len(name) <= 22 else f"{name[:21]}…"
