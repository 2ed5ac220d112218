"""Every model by its name: the cards, the nets that they describe, the pretrained classifiers.

A name is `arch` (random weights) or `arch.tag` (pretrained weights); a path is a user's own `.keras` file. What needs Keras
is imported where it is used: asking for names and cards must not wait for it.
"""

import functools
import importlib
import inspect
import os
import zipfile
from importlib import resources
from pathlib import Path

from zoo.errors import ZooError, did_you_mean
from zoo.files import atomic, read_toml

# A .keras file is an archive. What it claims to hold is checked against this before any of it is unpacked.
LARGEST_MODEL = 8 * 2**30


@functools.cache
def raw_cards():
    """Return every card as the plain dict that its TOML file holds, by name, in the order of history; not validated."""
    cards = []
    for file in resources.files("zoo.cards").iterdir():
        if file.name.endswith(".toml"):
            found = read_toml(file.read_text("utf-8"), f"card {file.name}")
            if missing := {"name", "title", "year", "parameters", "summary"} - set(found):
                raise ZooError(f"card {file.name}: {', '.join(sorted(missing))} missing")
            cards.append(found)
    return {card["name"]: card for card in sorted(cards, key=lambda card: (card["year"], card["name"]))}


def list_models(pretrained=False):
    """Return the names that `build` takes, oldest first; with `pretrained`, those of weights that `load` takes.

    Args:
        pretrained: list `arch.tag` names of pretrained weights instead of architectures.
    """
    if not pretrained:
        return list(raw_cards())
    return [f"{name}.{tag}" for name, card in raw_cards().items() for tag in card.get("weights", {})]


def card(name):
    """Return the card of a model.

    Args:
        name: `arch` or `arch.tag`.

    Returns:
        `zoo.schema.Card`.

    Raises:
        ZooError: if there is no such model, with the nearest names; if the card itself is wrong.
    """
    arch, tag = split_name(name)
    found = _card(arch)
    if tag and tag not in found.weights:
        raise _unknown(name)
    return found


def split_name(name):
    """Return `arch.tag` as (arch, tag), `arch` as (arch, None).

    Raises:
        ZooError: if the zoo has no such architecture.
    """
    arch, _, tag = name.partition(".")
    if arch not in raw_cards() or name.endswith("."):
        raise _unknown(name)
    return arch, tag or None


def _unknown(name):
    names = list_models() + list_models(pretrained=True)
    return ZooError(f"no model '{name}'{did_you_mean(name, names)} `zoo list` shows all")


@functools.cache
def _card(arch):
    from zoo import schema

    return schema.validate(raw_cards()[arch], schema.Card, f"card {arch}.toml")


def build(name, **options):
    """Build the bare net of a model with random weights.

    Args:
        name: an architecture, such as "lenet5".
        **options: arguments of the net's builder, such as classes=4.

    Returns:
        A Keras model, preprocessed pictures -> scores.

    Raises:
        ZooError: if there is no such model, or it has no such option.
    """
    arch, tag = split_name(name)
    if tag:
        card(name)
        raise ZooError(f"build() makes random weights and takes '{arch}'; load('{name}') gives the pretrained ones")
    module, _, function = _card(arch).builder.partition(":")
    builder = getattr(importlib.import_module(module), function)
    known = list(inspect.signature(builder).parameters)
    for option in options:
        if option not in known:
            raise ZooError(f"{arch} has no option '{option}'{did_you_mean(option, known)} It has {', '.join(known)}")
    return builder(**options)


def load(name_or_path, preprocessing=True, classes=None):
    """Load a classifier that takes raw 0-255 pictures.

    Args:
        name_or_path: `arch.tag` for pretrained weights, `arch` for random ones, or the path of a `.keras` file.
        preprocessing: False for the bare net, which expects preprocessed pictures.
        classes: class names for random weights; pretrained ones have their own.

    Returns:
        `zoo.Classifier`, or the bare Keras model.

    Raises:
        ZooError: if there is no such model or file, or if the file is damaged.
    """
    path = os.fspath(name_or_path)
    if classes and (is_path(path) or "." in path):
        raise ZooError(f"{path} has its own classes; for others, fine-tune it, or load an architecture without weights")
    if is_path(path):
        from zoo.classifier import Classifier

        model = load_file(path)
        if not isinstance(model, Classifier):
            raise ZooError(
                f"{path} holds a {type(model).__name__}, not a zoo classifier with preprocessing and class names; "
                "`zoo finetune` writes one"
            )
        return model if preprocessing else model.net
    arch, tag = split_name(path)
    about = card(path)
    if tag is None:
        names = [str(each) for each in classes] if classes else None
        net = build(arch, classes=len(names)) if names else build(arch)
        return wrap(net, about, names or range(net.output_shape[-1])) if preprocessing else net
    from zoo import weights as store

    weights = about.weights[tag]
    file = store.find(path, weights, convert=functools.partial(_convert, about, weights))
    net = _filled(about, weights, file)
    names, ids = weights.class_names, weights.class_ids
    return wrap(net, about, names, weights, weights.options, tag, ids) if preprocessing else net


def _filled(about, weights, file):
    """Return a net with the weights of a file, of the zoo's own kind or of `_convert`'s."""
    from zoo import initializers

    options = {"classes": len(weights.class_names), **weights.options}
    if weights.format:
        with initializers.starting_from(file):
            return build(about.name, **options)
    with initializers.starting_from_zero():
        net = build(about.name, **options)
    net.load_weights(file)
    return net


def _convert(about, weights, foreign, path):
    """Write what a foreign file holds for a net of a card to an HDF5 file, a weight as layer/name.

    Keras' own `.weights.h5` would do, but can only be loaded into a net that has other weights already, and these are large.
    """
    import h5py

    from zoo import converters, initializers

    with initializers.starting_from_zero():
        net = build(about.name, classes=len(weights.class_names), **weights.options)
    converters.convert(net, foreign, about.imports[weights.format], weights.format)
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        for layer in net.layers:
            for weight in layer.weights:
                file[f"{layer.name}/{weight.name}"] = weight.numpy()


def wrap(net, about, class_names, special=None, options=None, tag=None, class_ids=None):
    """Return a net of a card as a classifier.

    Args:
        net: the Keras model.
        about: `zoo.schema.Card`.
        class_names: one str a class.
        special: what may have a preprocessing and a picture of its own, in place of the card's: `zoo.schema.Weights`, or a
            recipe.
        options: what the builder of the net was given besides the number of classes.
        tag: of the weights.
        class_ids: one str a class by which data sets know it, or None.
    """
    from zoo.classifier import Classifier
    from zoo.preprocessing import Preprocessing

    preprocessing = (special and special.preprocessing) or about.preprocessing
    picture = (special and special.picture) or about.picture
    return Classifier(
        net,
        Preprocessing(**preprocessing.model_dump(), name="preprocessing"),
        picture.model_dump(),
        [str(name) for name in class_names],
        about.name,
        f"{about.name}.{tag}" if tag else None,
        options,
        class_ids,
    )


def is_path(name):
    """Tell a path from a name: it ends like a file of a model or has a folder in it."""
    return name.endswith((".keras", ".onnx", ".h5")) or os.sep in name or "/" in name


def check_file(path):
    """Raise `ZooError` if there is no such file, or if it is not named as a model."""
    if (Path(path) / "best.keras").is_file():
        raise ZooError(f"{path} is a run folder; its model is {Path(path) / 'best.keras'}")
    if Path(path).is_file() and Path(path).suffix != ".keras":
        raise ZooError(f"{path} is not a .keras file; only those, and the names of `zoo list`, can be loaded")
    if not Path(path).is_file():
        raise ZooError(f"no file {path}; `zoo list` shows the names that need no file")


def load_file(path):
    """Load any Keras model from its `.keras` file, after a look at what that claims to hold.

    Args:
        path: the file.

    Returns:
        `keras.Model`, a `zoo.Classifier` or not.

    Raises:
        ZooError: if there is no such file, or it is damaged or holds what Keras does not know.
    """
    path = Path(path)
    check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            claimed = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:  # a flipped bit may ask for a zip of the future
        raise ZooError(
            f"{path} is not a .keras file, or it is damaged ({error}); save it again with model.save('{path.name}')"
        ) from error
    if claimed > LARGEST_MODEL:
        raise ZooError(f"{path} claims to unpack to {claimed:,} bytes; more than {LARGEST_MODEL:,} is refused")
    import keras

    from zoo import initializers
    from zoo.classifier import Classifier  # noqa: F401  registers itself and the layers of the zoo

    try:
        with initializers.starting_from_zero():
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever a damaged or foreign archive leads it to
        reason = (str(error).partition("Exception encountered:")[2] or str(error)).strip().splitlines()
        reason = reason or [type(error).__name__]
        raise ZooError(f"{path} cannot be loaded: {reason[0]}") from error
    return model
