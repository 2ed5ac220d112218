"""What a Keras model that is not of the zoo expects of an image, and the classes that its scores belong to.

A model of the zoo has a card. Any other model is described by the options of a command, by a TOML file beside its .keras
file, or by its own first layer. A described model becomes a `zoo.classifier.Classifier`, so every exporter treats it like a
model of the zoo.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import keras
import numpy as np

from exporters.options import ImageOptions
from zoo import schema
from zoo.classifier import Classifier
from zoo.errors import ZooError
from zoo.files import read_toml
from zoo.preprocessing import Preprocessing

BYTE = 255  # largest raw pixel
LARGEST_SCALED = 16  # a layer that maps raw pixels to larger values than this was not made for raw pixels
RESIZE = "stretch"  # as keras.utils.image_dataset_from_directory resizes
INACTIVE = ("InputLayer", "Dropout", "GaussianNoise", "Identity", "Resizing", "CenterCrop", "ZeroPadding2D")
NORMALIZED = {"softmax": "probabilities (softmax)", "sigmoid": "one probability per class (sigmoid)"}
UNNORMALIZED = "not normalized"


class Known(schema.Strict):
    """What is known of a model; also the content of the TOML file beside a .keras file.

    Attributes:
        title: name of the model in sentences.
        value_range: (low, high), the values of a black and of a white pixel in the model's input.
        preprocessing: from raw pixels to the model's input, if `value_range` is not enough.
        classes: one name per class, or path of a text file with one name per line.
        resize: how images of other sizes are resized.
        crop_from: side of the square from which the center is cropped.
    """

    title: str | None = None
    value_range: tuple[float, float] | None = None
    preprocessing: schema.Preprocessing | None = None
    classes: tuple[str, ...] | str | None = None
    resize: Literal["pad", "crop", "stretch"] | None = None
    crop_from: int | None = None

    @classmethod
    def find(cls, options: ImageOptions | None, path: Path | None = None) -> "Known | None":
        """Return what options and the TOML file beside a .keras file say; an option takes precedence.

        Args:
            options: `exporters.options.ImageOptions`.
            path: .keras file.

        Returns:
            `Known`, or None if there is neither an option nor a TOML file.

        Raises:
            ZooError: if the TOML file is wrong; the message names the key.
        """
        beside = path and path.with_suffix(".toml")
        found = {}
        if beside and beside.is_file():
            found = read_toml(beside.read_text("utf-8"), str(beside))
            schema.validate(found, cls, str(beside))
            if {"value_range", "preprocessing"} <= set(found):
                raise ZooError(f"{beside}: value_range and preprocessing say the same; give one of them")
            if isinstance(found.get("classes"), str):
                found["classes"] = str(beside.parent / found["classes"])
        given = {name: value for name, value in vars(options or ImageOptions()).items() if name in cls.model_fields}
        given = {name: value for name, value in given.items() if value is not None}
        if "value_range" in given:
            found.pop("preprocessing", None)
        if "classes" in given:
            classes = given["classes"]
            given["classes"] = str(classes) if isinstance(classes, str | Path) else tuple(map(str, classes))
        if not given and not (beside and beside.is_file()):
            return None
        return schema.validate({**found, **given}, cls, "the description of the model")


@dataclass(frozen=True)
class Description:
    """A complete description of a model.

    Attributes:
        title: name of the model in sentences.
        value_range: (low, high) of the model's input; None if only `preprocessing` describes it.
        preprocessing: from raw pixels to the model's input.
        image_spec: images that the model takes.
        class_names: one name per class.
        scores: whether the scores are probabilities.
        assumed: one sentence for each fact that nobody has stated.
    """

    title: str
    value_range: tuple[float, float] | None
    preprocessing: schema.Preprocessing
    image_spec: schema.ImageSpec
    class_names: tuple[str, ...]
    scores: str
    assumed: tuple[str, ...] = ()

    def classifier(self, model: keras.Model) -> Classifier:
        """Return the model with its preprocessing and class names."""
        if not getattr(model, "inputs", None):  # a subclassed model has no output shape until it is called on an Input
            image = keras.Input((self.image_spec.height, self.image_spec.width, self.image_spec.channels))
            model = keras.Model(image, model(image), name=model.name)
        preprocessing = Preprocessing(**self.preprocessing.model_dump(), name="preprocessing")
        return Classifier(model, preprocessing, self.image_spec.model_dump(), self.class_names, card=None)

    def metadata(self) -> dict:
        """Return the entries of a file's metadata."""
        return {
            "title": self.title,
            "class_names": list(self.class_names),
            "picture": self.image_spec.model_dump(),
            "preprocessing": self.preprocessing.model_dump(mode="json"),
            **({"value_range": list(self.value_range)} if self.value_range else {}),
            "scores": self.scores,
            "assumed": list(self.assumed),
        }


def obstacle(model: keras.Model, shape: Sequence[int]) -> str | None:
    """Return why a model cannot be a classifier of images, or None.

    Args:
        model: built Keras model with one input and one output.
        shape: of one input, without the batch.
    """
    if len(shape) != 3 or shape[-1] not in (1, 3):
        return f"takes inputs of {tuple(shape)}, not images of 1 or 3 channels"
    scores = _output_shape(model, shape)
    if len(scores) != 2:
        return f"returns an output of {scores[1:]} per image, not one score per class"
    if scores[1] is None or scores[1] < 2:
        return "returns one number per image, not one score for each of two or more classes"
    return None


def describe(model: keras.Model, shape: Sequence[int], origin: str, known: Known | None = None) -> Description:
    """Return a complete description of a model.

    Args:
        model: built Keras model with one input and one output.
        shape: of one input, without the batch.
        origin: name of the model or of its file.
        known: what options, the file beside it or the metadata of an exported file say.

    Raises:
        ZooError: if the model is no classifier of images, what is known does not fit it, or the range of its pixels is
            unknown.
    """
    known = known or Known()
    if reason := obstacle(model, shape):
        raise ZooError(f"{origin} {reason}; only a classifier of images can be described. Export it with --to onnx")
    assumed = []
    value_range, preprocessing = known.value_range, known.preprocessing
    if value_range is not None or preprocessing is None:
        if value_range is None:
            value_range, reason = infer_range(model)
            if value_range is None:
                raise ZooError(
                    f"the pixels that {origin} expects are not known; give their range with --value-range LOW,HIGH, "
                    "such as 0,1 or -1,1, or 0,255 for raw pixels"
                )
            assumed.append(f"pixels from {value_range[0]:g} to {value_range[1]:g}, because {reason}")
        preprocessing = _scaling(value_range)
    _check_channels(preprocessing, shape[-1], origin)
    count = _output_shape(model, shape)[1]
    if known.classes is None:
        assumed.append(f"class names 0 to {count - 1}, the indices of the scores")
        names = tuple(map(str, range(count)))
    else:
        names = _class_names(known.classes, count, origin)
    if known.resize is None:
        assumed.append("images of other sizes are stretched")
    height, width, channels = shape
    spec = {"height": height, "width": width, "channels": channels}
    spec |= {"resize": known.resize or RESIZE, "crop_from": known.crop_from}
    return Description(
        title=known.title or model.name,
        value_range=value_range,
        preprocessing=preprocessing,
        image_spec=schema.validate(spec, schema.ImageSpec, f"the images of {origin}"),
        class_names=names,
        scores=_scores(model),
        assumed=tuple(assumed),
    )


def infer_range(model: keras.Model) -> tuple[tuple[float, float] | None, str]:
    """Return the range of the pixels that a model's first layer expects, and the reason; (None, "") if unknown.

    A Rescaling or Normalization layer tells the range: it maps it to small numbers.
    """
    layer = _first_layer(model)
    name = f"the model begins with the layer {getattr(layer, 'name', '')} ({type(layer).__name__})"
    if isinstance(layer, keras.layers.Rescaling):
        low, high = np.asarray(layer.offset), np.asarray(layer.scale) * BYTE + np.asarray(layer.offset)
        if max(np.abs(low).max(), np.abs(high).max()) <= LARGEST_SCALED:
            return (0.0, float(BYTE)), name
        # A large offset, such as a mean of raw pixels, does not show what it is subtracted from.
        return ((0.0, 1.0), name) if np.abs(low).max() <= LARGEST_SCALED else (None, "")
    if isinstance(layer, keras.layers.Normalization):
        mean = np.asarray(layer.mean)
        if mean.max() > 1:
            return (0.0, float(BYTE)), f"{name} with the mean {mean.max():.3g}"
        if mean.min() > 0:
            return (0.0, 1.0), f"{name} with the mean {mean.max():.3g}"
    return None, ""


def _first_layer(model):
    """Return the first layer that computes something, also in a nested model; None for a subclassed model."""
    for layer in model.layers if getattr(model, "inputs", None) else ():
        if isinstance(layer, keras.Model):
            return _first_layer(layer)
        if type(layer).__name__ not in INACTIVE and not type(layer).__name__.startswith("Random"):
            return layer
    return None


def _scaling(value_range):
    low, high = value_range
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ZooError(f"a range of pixels is LOW,HIGH with LOW below HIGH, as in -1,1; given was {low:g},{high:g}")
    return schema.Preprocessing(scale=(high - low) / BYTE, shift=low)


def _check_channels(preprocessing, channels, origin):
    """Raise `ZooError` for preprocessing that does not fit the channels of a model or changes the size of an image."""
    for name in ("scale", "shift"):
        value = getattr(preprocessing, name)
        if isinstance(value, tuple) and len(value) != channels:
            raise ZooError(f"{name} has {len(value)} values, the images of {origin} have {channels} channels")
    if preprocessing.padding:
        raise ZooError(f"padding is for models of the zoo; {origin} takes the whole image")


def _class_names(classes, count, origin):
    """Return the names of a list or of a text file, which must be as many as the scores, and all different."""
    text = "the given class names"
    if isinstance(classes, str):
        path, text = Path(classes), classes
        if not path.is_file():
            raise ZooError(f"no file {path}; --classes names a text file with one class name per line")
        try:
            classes = tuple(line.strip() for line in path.read_text("utf-8").splitlines() if line.strip())
        except UnicodeDecodeError as error:
            raise ZooError(f"{path} is not a text file in UTF-8: {error}") from error
    if len(classes) != count:
        raise ZooError(f"{text}: {len(classes)} class names, but {origin} returns {count} scores; give one name per score")
    if twice := [name for name, times in Counter(classes).items() if times > 1]:
        raise ZooError(f"{text}: two classes have the name '{min(twice)}'; give each class its own name")
    return classes


def _output_shape(model, shape):
    """Return the shape of a model's output for a batch of two."""
    outputs = getattr(model, "outputs", None)
    if outputs:
        return tuple(outputs[0].shape)
    return tuple(model(keras.ops.zeros((2, *shape)), training=False).shape)


def _scores(model):
    """Return whether the scores of a model are probabilities, by the activation of its last layer."""
    outputs = getattr(model, "outputs", None)
    last = outputs[0]._keras_history.operation if outputs else None
    if isinstance(last, keras.Model):
        return _scores(last)
    activation = getattr(getattr(last, "activation", last), "__name__", type(last).__name__)
    return NORMALIZED.get(activation.lower(), UNNORMALIZED)
