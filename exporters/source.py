"""What is exported: a classifier of the zoo, with or without its preprocessing, or anybody's Keras model."""

import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from exporters import samples
from zoo import registry
from zoo.classifier import Classifier
from zoo.errors import ZooError, did_you_mean
from zoo.weights import fingerprint


@dataclass(frozen=True)
class Source:
    """A Keras model on its way out.

    Attributes:
        model: Keras model with one input and one output: what is traced, and what a file is compared with.
        shape: of one input, the batch left out, channels last.
        dtype: of the input that the file takes.
        classifier: the `zoo.Classifier` that the model is, or is the bare net of; None for anybody's model.
        raw_input: the model takes raw 0-255 pictures.
        origin: name of the model or of its file, for the file's metadata.
    """

    model: keras.Model
    shape: tuple
    dtype: str
    classifier: Classifier | None
    raw_input: bool
    origin: str

    @property
    def ends(self):
        """Names of the file's input and output."""
        return ("pictures" if self.raw_input else "input"), ("scores" if self.classifier else "output")

    @property
    def is_picture(self):
        """Whether an input has rows, columns and channels."""
        return len(self.shape) == 3

    def fingerprint(self):
        """Return the hex sha256 of all weights."""
        return fingerprint((self.classifier or self.model).weights)

    def predict(self, batch):
        """Return the model's output for a (batch, ...) array, a NumPy array."""
        return np.asarray(keras.ops.convert_to_numpy(self.model(batch, training=False)))

    def inputs(self, folder=None):
        """Return inputs to compare a file with the model on, and how many of them, the first, are real ones.

        Args:
            folder: of pictures; by default real ones that ship with scikit-learn. Behind them come black, white, noise and
                others that no camera takes.
        """
        if not self.classifier:
            if folder:
                raise ZooError(
                    f"{self.origin} says nothing of how pictures are read, so --data is only for classifiers of the zoo"
                )
            tables = [each for each in self.model._flatten_layers() if isinstance(each, keras.layers.Embedding)]
            smallest = min((table.input_dim for table in tables), default=2)
            return samples.inputs(self.shape, self.dtype, smallest), 0
        picture = self.classifier.image_spec
        real = samples.read(folder, picture) if folder else samples.shipped(picture)
        every = np.concatenate([real, samples.adversarial(picture)])
        if not self.raw_input:
            every = np.concatenate(
                [
                    keras.ops.convert_to_numpy(self.classifier.preprocessing(every[at : at + 64]))
                    for at in range(0, len(every), 64)
                ]
            )
        return every, len(real)


def check_backend():
    """Raise `ZooError` on another backend than TensorFlow, which alone the exporters can trace."""
    if keras.backend.backend() != "tensorflow":
        raise ZooError(f"export needs the TensorFlow backend, not {keras.backend.backend()}; set KERAS_BACKEND=tensorflow")


def find(model, raw_input=True, pixels="uint8"):
    """Return what is to be exported as a `Source`.

    Args:
        model: `zoo.Classifier`, any Keras model that has been called or built, what `zoo.load` takes, the path of any
            .keras file, or "module:attribute" of a Keras model or of a function without arguments that returns one.
        raw_input: False to leave a classifier's preprocessing out.
        pixels: type of the raw pixels that the file takes, "uint8" or "float32".

    Raises:
        ZooError: if there is no such model, or it has not one input of a known shape and one output, a row an input.
    """
    origin = model if isinstance(model, str) else str(model) if isinstance(model, os.PathLike) else None
    if origin is not None:
        model = _imported(origin) if _names_attribute(origin) else _loaded(origin)
        origin = Path(origin).name if registry.is_path(origin) else origin
    if not isinstance(model, keras.Model):
        raise ZooError(f"a Keras model is exported; given was a {type(model).__name__}")
    if isinstance(model, Classifier):
        origin = origin or model.card
        if raw_input:
            if pixels not in ("uint8", "float32"):
                raise ZooError(f"the pixels of an exported file are uint8 or float32; given was '{pixels}'")
            return Source(model, model.input_image_shape, pixels, model, True, origin)
        return Source(model.net, *_input_of(model.net), model, False, origin)
    return Source(model, *_input_of(model), None, False, origin or model.name)


def _loaded(name):
    """Load a classifier, or any Keras model from its file."""
    return registry.load_file(name) if registry.is_path(name) else registry.load(name)


def _names_attribute(text):
    return ":" in text and not registry.is_path(text.partition(":")[0]) and not Path(text).exists()


def _imported(text):
    """Import module:attribute, from the working folder too, and call what is no model yet."""
    name, _, attribute = text.partition(":")
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        found = _attribute(_module(name, text), attribute, text)
        if isinstance(found, keras.Model):
            return found
        if not callable(found):
            raise ZooError(f"{text} is neither a Keras model nor a function that makes one, but a {type(found).__name__}")
        try:
            return found()
        except Exception as error:  # whatever the user's function raises
            raise ZooError(f"{text} fails: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(folder)


def _module(name, text):
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever the user's module raises
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise ZooError(f"there is no {text} ({error}); give module:attribute, as in mynets:model") from error
        raise ZooError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error


def _attribute(found, attribute, text):
    for part in attribute.split("."):
        if not hasattr(found, part):
            owner = getattr(found, "__name__", type(found).__name__)
            raise ZooError(f"there is no {text}: {owner} has no '{part}'{did_you_mean(part, dir(found))}")
        found = getattr(found, part)
    return found


def _input_of(model):
    """Return shape and dtype of the one input of a model."""
    # Of a subclassed model Keras knows the shapes that it was called with.
    known = getattr(model, "inputs", None) or getattr(model, "_build_shapes_dict", None)
    if not model.built or not known:
        raise ZooError(f"{model.name} has never been called, so its input has no known shape; call it once on a batch")
    if isinstance(known, dict):
        shapes, dtypes = list(known.values()), [model.input_dtype]
    else:
        shapes, dtypes = [each.shape for each in known], [each.dtype for each in known]
    outputs = getattr(model, "outputs", None) or [None]
    if len(shapes) != 1 or len(outputs) != 1 or not all(isinstance(size, int | None) for size in shapes[0]):
        raise ZooError(
            f"{model.name} has {len(shapes)} inputs and {len(outputs)} outputs; a model with one of each is exported. Give "
            "one that joins them, such as keras.Model(inputs, keras.layers.Concatenate()(outputs))"
        )
    if None in shapes[0][1:]:
        raise ZooError(f"{model.name} takes inputs of {tuple(shapes[0])}; only the batch may vary. Build it for one size")
    _check_output(model, tuple(shapes[0][1:]), dtypes[0])
    return tuple(shapes[0][1:]), dtypes[0]


def _check_output(model, shape, dtype):
    """Raise `ZooError` unless a model gives one tensor, a row an input; Keras knows that of no subclassed model."""
    inputs = getattr(model, "inputs", None)
    count = (inputs and inputs[0].shape[0]) or 2
    try:
        result = model(keras.ops.zeros((count, *shape), dtype), training=False)
    except Exception as error:  # whatever the user's model raises
        raise ZooError(f"{model.name} fails on a batch of {count} zeros: {type(error).__name__}: {error}") from error
    wanted = "a model with one output, a row an input, is exported"
    if isinstance(result, dict | list | tuple):
        raise ZooError(f"{model.name} gives a {type(result).__name__} of outputs ({len(result)}); {wanted}")
    if tuple(result.shape[:1]) != (count,):
        raise ZooError(f"{model.name} makes an output of {tuple(result.shape)} of a batch of {count}; {wanted}")
