"""Look up, build and load models by name.

A name is `arch` (random weights) or `arch.tag` (pretrained weights); a path is a user's own `.keras` file. Keras is imported
inside functions, because listing names and reading cards must not wait for it.
"""

import functools
import importlib
import inspect
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import cards, foreign_files
from zoo.cards import raw_cards
from zoo.errors import ZooError, did_you_mean
from zoo.files import atomic

if TYPE_CHECKING:
    import keras

    from zoo.classifier import Classifier
    from zoo.schema import Card, Weights

# A .keras file is a zip archive. The size that it claims to unpack to is checked against this limit first.
LARGEST_MODEL = 8 * 2**30


def list_models(pretrained: bool = False) -> list[str]:
    """Return the names of the models, oldest first.

    Args:
        pretrained: return the names of pretrained weights, `arch.tag`, instead of those of architectures.
    """
    if not pretrained:
        return list(raw_cards())
    return [f"{name}.{tag}" for name, card in raw_cards().items() for tag in card.get("weights", {})]


def card(name: str) -> "Card":
    """Return the card of a model.

    Args:
        name: `arch` or `arch.tag`.

    Raises:
        ZooError: if there is no such model, with the nearest names; if the card is invalid.
    """
    arch, tag = split_name(name)
    found = _card(arch)
    if tag and tag not in found.weights:
        raise _unknown(name)
    return found


def split_name(name: str) -> tuple[str, str | None]:
    """Split `arch.tag` into (arch, tag), and `arch` into (arch, None).

    Raises:
        ZooError: if there is no such architecture.
    """
    arch, _, tag = name.partition(".")
    if arch not in raw_cards() or name.endswith("."):
        raise _unknown(name)
    return arch, tag or None


def _unknown(name: str) -> ZooError:
    names = list_models() + list_models(pretrained=True)
    if name and Path(name).exists():
        return ZooError(foreign_files.refusal(Path(name)))
    return ZooError(f"no model '{name}'{did_you_mean(name, names)} `zoo list` shows all")


@functools.cache
def _card(arch: str) -> "Card":
    from zoo import schema

    source = cards.source_of(arch)
    package = "" if source == cards.ZOO else f" of {source.distribution}"
    return schema.validate(raw_cards()[arch], schema.Card, f"card {arch}.toml{package}")


def build(name: str, **options: Any) -> "keras.Model":
    """Build the network of a model with random weights.

    Args:
        name: an architecture, such as "lenet5".
        **options: arguments of the builder, such as classes=4.

    Returns:
        A Keras model, preprocessed images -> scores.

    Raises:
        ZooError: if there is no such model, or it has no such option; if its builder cannot be imported.
    """
    arch, tag = split_name(name)
    if tag:
        card(name)
        raise ZooError(f"build() makes random weights and takes '{arch}'; load('{name}') returns the pretrained ones")
    builder = _builder(arch)
    known = list(inspect.signature(builder).parameters)
    for option in options:
        if option not in known:
            raise ZooError(f"{arch} has no option '{option}'{did_you_mean(option, known)} Its options: {', '.join(known)}")
    return builder(**options)


def _builder(arch: str) -> Callable:
    """Import the function that builds the network of an architecture."""
    name = _card(arch).builder
    path, _, function = name.partition(":")
    source = cards.source_of(arch)
    fix = "" if source == cards.ZOO else f"; fix or remove its package: pip uninstall {source.distribution}"
    try:
        module = importlib.import_module(path)
    except ImportError as error:
        raise ZooError(f"{arch}: the module of its builder {name} cannot be imported: {error}{fix}") from error
    if not hasattr(module, function):
        near = did_you_mean(function, dir(module)).rstrip(".")
        raise ZooError(f"{arch}: its builder {name} does not exist{near}{fix}")
    return getattr(module, function)


def load(
    name_or_path: str | os.PathLike, preprocessing: bool = True, classes: Sequence | None = None
) -> "Classifier | keras.Model":
    """Load a classifier of raw 0-255 images.

    Args:
        name_or_path: `arch.tag` for pretrained weights, `arch` for random ones, or the path of a `.keras` file.
        preprocessing: False for the network alone, which takes preprocessed images.
        classes: class names for random weights. Pretrained weights have their own.

    Returns:
        `zoo.classifier.Classifier`, or the Keras model inside it.

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
    convert = functools.partial(_convert, about, weights)
    net = _filled(about, weights, store.find(path, weights, convert=convert, source=cards.source_of(arch)))
    names, ids = weights.class_names, weights.class_ids
    return wrap(net, about, names, weights, weights.options, tag, ids) if preprocessing else net


def _filled(about: "Card", weights: "Weights", file: Path) -> "keras.Model":
    """Return a network with the weights of a file, which is either the zoo's own or written by `_convert`."""
    from zoo import initializers

    options = {"classes": len(weights.class_names), **weights.options}
    if weights.format:
        with initializers.starting_from(file):
            return build(about.name, **options)
    with initializers.starting_from_zero():
        net = build(about.name, **options)
    net.load_weights(file)
    return net


def _convert(about: "Card", weights: "Weights", foreign: Path, path: Path) -> None:
    """Convert the weights of a foreign file for the network of a card, and write them to an HDF5 file as layer/name.

    Keras' own `.weights.h5` format is not used: it can only be loaded into a network that already has weights, which needs
    twice the memory.
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


def wrap(
    net: "keras.Model",
    about: "Card",
    class_names: Sequence,
    special: Any = None,
    options: dict | None = None,
    tag: str | None = None,
    class_ids: Sequence[str] | None = None,
) -> "Classifier":
    """Return a network of a card as a classifier.

    Args:
        net: the Keras model.
        about: its card.
        class_names: one name per class.
        special: `zoo.schema.Weights` or a recipe, whose preprocessing and image format, if any, replace those of the card.
        options: options of the builder besides the number of classes.
        tag: name of the weights.
        class_ids: one id per class, as data sets use them, or None.
    """
    from zoo.classifier import Classifier
    from zoo.preprocessing import Preprocessing

    preprocessing = (special and special.preprocessing) or about.preprocessing
    image_spec = (special and special.picture) or about.picture
    return Classifier(
        net,
        Preprocessing(**preprocessing.model_dump(), name="preprocessing"),
        image_spec.model_dump(),
        [str(name) for name in class_names],
        about.name,
        f"{about.name}.{tag}" if tag else None,
        options,
        class_ids,
    )


def is_path(name: str) -> bool:
    """Return whether a name is a path: it has the suffix of a model file or contains a folder."""
    return name.endswith((".keras", ".onnx", ".h5")) or os.sep in name or "/" in name


def check_file(path: str | os.PathLike) -> None:
    """Check that a `.keras` file exists.

    Raises:
        ZooError: if there is no such file, or it has another suffix.
    """
    if (Path(path) / "best.keras").is_file():
        raise ZooError(f"{path} is a run directory; its model is {Path(path) / 'best.keras'}")
    if Path(path).is_file() and Path(path).suffix != ".keras":
        raise ZooError(foreign_files.refusal(Path(path)))
    if not Path(path).is_file():
        raise ZooError(f"no file {path}; `zoo list` shows the names that need no file")


def load_file(path: str | os.PathLike) -> "keras.Model":
    """Load any Keras model from a `.keras` file, after a check of the size that it claims to unpack to.

    Args:
        path: the file.

    Returns:
        The Keras model, a `zoo.classifier.Classifier` or not.

    Raises:
        ZooError: if there is no such file, it is damaged, or it contains classes that Keras does not know.
    """
    path = Path(path)
    check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            claimed = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:  # a flipped bit may ask for a later zip version
        raise ZooError(
            f"{path} is not a .keras file, or it is damaged ({error}); save it again with model.save('{path.name}')"
        ) from error
    if claimed > LARGEST_MODEL:
        raise ZooError(f"{path} claims to unpack to {claimed:,} bytes; more than {LARGEST_MODEL:,} is refused")
    import keras

    from zoo import initializers
    from zoo.classifier import Classifier  # noqa: F401  registers itself and the layers of the zoo

    for arch in raw_cards():
        if cards.source_of(arch) != cards.ZOO:
            _builder(arch)  # importing its module registers the layers of the package
    try:
        with initializers.starting_from_zero():
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises exceptions of many types for damaged and foreign archives
        reason = (str(error).partition("Exception encountered:")[2] or str(error)).strip().splitlines()
        reason = reason or [type(error).__name__]
        if "`Lambda` layer" in reason[0]:
            code = f"net = keras.models.load_model('{path.name}', safe_mode=False)"
            advice = f"If you trust the file, write `{code}` in mynets.py and give mynets:net"
            reason = [f"its Lambda layer contains Python code, which is not run. {advice}"]
        raise ZooError(f"{path} cannot be loaded: {reason[0]}") from error
    return model
