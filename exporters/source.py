"""The model to export: a classifier of the zoo, with or without its preprocessing, or any other Keras model."""

import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from pathlib import Path

import keras
import numpy as np

from exporters import description, float32, free_sizes, random_inputs, samples, signature, sizes
from exporters.choices import Pixels
from exporters.compiled import CompiledModel
from exporters.general import GeneralSource
from exporters.options import ImageOptions
from exporters.signature import Signature, Tensor
from zoo import registry
from zoo.classifier import Classifier
from zoo.errors import ZooError, did_you_mean
from zoo.weights import fingerprint

PREPROCESSED_AT_A_TIME = 64  # images
RANDOM_INPUTS = 64  # of a model without image metadata


class Describe(Enum):
    """When a Keras model that is not of the zoo becomes a classifier of raw images; see `exporters.description`."""

    IF_KNOWN = "only if an option or the TOML file beside it describes it"
    IF_POSSIBLE = "also if its own first layer describes it"
    ALWAYS = "a model that is not described is an error"


@dataclass(frozen=True)
class Source:
    """A Keras model to export.

    Attributes:
        model: Keras model with one input and one output, which is traced and compared with the file.
        shape: of one input, without the batch, channels last.
        dtype: type of the file's input.
        classifier: the `zoo.classifier.Classifier` that the model is, or whose network it is; None for any other model.
        raw_input: whether the model takes raw 0-255 images.
        origin: name of the model or of its file, for the metadata.
        described: description of a model that is not of the zoo and became a classifier.
        policy: policy of half precision that the model had before it was rebuilt in float32.
        size: size that was given to the free axes of the input.
    """

    model: keras.Model
    shape: tuple
    dtype: str
    classifier: Classifier | None
    raw_input: bool
    origin: str
    described: description.Description | None = None
    policy: str | None = None
    size: tuple[int, ...] | None = None

    @property
    def assumed(self) -> tuple[str, ...]:
        """One sentence for each fact about the model that nobody has stated."""
        half = (f"float32 in place of {self.policy}, with the weights of the model",) if self.policy else ()
        return (*(self.described.assumed if self.described else ()), *half)

    @property
    def signature(self) -> Signature:
        """The input and the output of the file."""
        return Signature(
            (Tensor(self.input_name, (None, *self.shape), self.dtype),), (Tensor(self.output_name, (None,), ""),)
        )

    @property
    def input_name(self) -> str:
        """Name of the file's input."""
        return "pictures" if self.raw_input else "input"

    @property
    def output_name(self) -> str:
        """Name of the file's output."""
        return "scores" if self.classifier else "output"

    @property
    def is_image(self) -> bool:
        """Whether an input has rows, columns and channels."""
        return len(self.shape) == 3

    def fingerprint(self) -> str:
        """Return the hex sha256 of all weights."""
        return fingerprint((self.classifier or self.model).weights)

    @cached_property
    def compiled(self) -> CompiledModel:
        """The model, compiled for predictions in batches that fit in memory."""
        inputs = getattr(self.model, "inputs", None)
        batch = None if self.raw_input or not inputs else inputs[0].shape[0]
        return CompiledModel(self.model, self.shape, self.dtype, batch)

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """Return the model's output for a (batch, ...) array."""
        return self.compiled(batch)

    def inputs(self, data: str | Path | np.ndarray | None = None) -> tuple[np.ndarray, int]:
        """Return the inputs and the number of real ones of `samples`."""
        found = self.samples(data)
        return found.inputs, found.real

    def samples(self, data: str | Path | np.ndarray | None = None) -> samples.Samples:
        """Return inputs on which a file is compared with the model: real ones, followed by synthetic ones.

        Fewer are used for a model that needs much memory or many operations.

        Args:
            data: folder of images, an .npy file or an array of inputs. Default: images that scikit-learn ships.

        Raises:
            ZooError: if the data cannot be read or have another shape than the input, the model takes no images, or the
                memory of this machine is too small.
        """
        if not self.classifier:
            return self._random_samples(data)
        spec = self.classifier.image_spec
        synthetic = samples.adversarial(spec)
        most = max(self.compiled.affordable() - len(synthetic), 1)
        if _is_array(data):
            real = samples.from_array(data, self.classifier.input_image_shape, "uint8", most)
        else:
            real = samples.read(data, spec, most) if data else samples.shipped(spec, most)
        images = np.concatenate([real, synthetic])
        if not self.raw_input:
            batches = np.split(images, range(PREPROCESSED_AT_A_TIME, len(images), PREPROCESSED_AT_A_TIME))
            images = np.concatenate([keras.ops.convert_to_numpy(self.classifier.preprocessing(each)) for each in batches])
        return samples.Samples(images, len(real))

    def _random_samples(self, data):
        """Return samples for a model without image metadata."""
        real, most = np.zeros((0, *self.shape), self.dtype), self.compiled.affordable(RANDOM_INPUTS)
        if _is_array(data):
            real = samples.from_array(data, self.shape, self.dtype, most)
        elif data:
            if not self.is_image or self.shape[2] not in (1, 3):
                raise ZooError(
                    f"a folder of images needs a model of images with 1 or 3 channels; {self.origin} takes inputs of "
                    f"{self.shape}. Give its inputs as an .npy file of shape {('n', *self.shape)}"
                )
            height, width, channels = self.shape
            spec = {"height": height, "width": width, "channels": channels, "resize": "stretch"}
            real = samples.in_ranges(samples.read(data, spec, most), self.dtype)
        tables = [each.input_dim for each in self.model._flatten_layers() if isinstance(each, keras.layers.Embedding)]
        first, others = random_inputs.families(self.shape, self.dtype, tables)
        scales = random_inputs.scaled(self.shape, self.dtype)
        count = max(most - len(real), random_inputs.PROBES)
        try:
            synthetic, skipped = random_inputs.choose(self.predict, first, others, scales, count)
        except ZooError as error:
            if not len(real):
                raise
            synthetic, skipped = real[:0], {"random inputs": str(error)}
        return samples.Samples(np.concatenate([real, synthetic]), len(real), skipped)


def _is_array(data):
    return isinstance(data, np.ndarray) or str(data).endswith(".npy")


def check_backend() -> None:
    """Raise `ZooError` unless Keras uses TensorFlow, the only backend that the exporters can trace."""
    if keras.backend.backend() != "tensorflow":
        raise ZooError(f"export needs the TensorFlow backend, not {keras.backend.backend()}; set KERAS_BACKEND=tensorflow")


def find(
    model: keras.Model | str | os.PathLike,
    raw_input: bool = True,
    pixels: str = "uint8",
    images: "ImageOptions | description.Known | None" = None,
    describe: Describe = Describe.IF_KNOWN,
    size: Sequence[int] | None = None,
    general: bool = False,
) -> "Source | GeneralSource":
    """Return the model to export as a `Source`.

    Args:
        model: `zoo.classifier.Classifier`, any Keras model that has been called or built, a name that `zoo.load` takes, path
            of a .keras file, or "module:attribute" of a Keras model or of a function without arguments that returns one.
        raw_input: False to export a classifier without its preprocessing.
        pixels: type of the raw pixels that the file takes, "uint8" or "float32".
        images: what is known of a model that is not of the zoo.
        describe: when such a model becomes a classifier.
        size: for the free axes of the input, such as rows and columns. Default: of `images`.
        general: whether a model with several inputs or outputs, or with free sizes, is returned, as a `GeneralSource`.

    Raises:
        ZooError: if there is no such model, the shape of an input is unknown, an output has not one row per input, the
            description does not fit it, or it has several inputs or outputs and `general` is False.
    """
    given, file = model, None
    origin = model if isinstance(model, str) else str(model) if isinstance(model, os.PathLike) else None
    if origin is not None:
        model = _import(origin) if _names_attribute(origin) else _load(origin)
        if registry.is_path(origin):
            file = Path(origin)
            origin = file.name
    if not isinstance(model, keras.Model):
        raise ZooError(f"only Keras models can be exported; given was a {type(model).__name__}")
    if policy := float32.policy_of(model):
        model = float32.in_float32(model)
    size = tuple(size or getattr(images, "size", None) or ()) or None
    if size and not isinstance(model, Classifier):
        model = sizes.fixed(model, size)
    if isinstance(model, Classifier):
        _check_own(model, images, given)
        return replace(_source(model, origin or model.card, raw_input, pixels), policy=policy)
    origin = origin or model.name
    known = images if isinstance(images, description.Known) else description.Known.find(images, file)
    found, compared = free_sizes.resolve(model, signature.inputs_of(model))
    if not found.is_single:
        if known or not general:
            raise ZooError(_refusal(origin, found))
        return GeneralSource(model, found, compared, origin, policy, size)
    shape, dtype = found.inputs[0].shape[1:], found.inputs[0].dtype
    if describe == Describe.ALWAYS or known or (describe == Describe.IF_POSSIBLE and _describes_itself(model, shape)):
        described = description.describe(model, shape, origin, known)
        return replace(_source(described.classifier(model), origin, raw_input, pixels, described), policy=policy, size=size)
    return Source(model, shape, dtype, None, False, origin, policy=policy, size=size)


def _source(classifier, origin, raw_input, pixels, described=None):
    """Return a classifier, or its network alone, as a `Source`."""
    if raw_input:
        Pixels.parse(pixels)
        return Source(classifier, classifier.input_image_shape, pixels, classifier, True, origin, described)
    taken = signature.inputs_of(classifier.net).inputs[0]
    return Source(classifier.net, taken.shape[1:], taken.dtype, classifier, False, origin, described)


def _refusal(origin, found):
    """Return the reason why a model is not exported to anything but a file of its own inputs and outputs."""
    free = list(dict.fromkeys(name for each in found.inputs for _, name in each.free))
    any_size = f", with any {' and '.join(free)}" if free else ""
    advice = "Export it with --to onnx"
    if free and len(found.inputs) == len(found.outputs) == 1:
        advice = f"Give its size, as in --size {'x'.join(['224'] * len(free))}, or export it with --to onnx"
    return (
        f"{origin} has {found}{any_size}. The planner, quantization, bundles for a board and --value-range need one tensor "
        f"of fixed size as input and one as output. {advice}"
    )


def _check_own(classifier, images, given):
    """Raise `ZooError` for options that describe a classifier, which describes itself."""
    if isinstance(images, ImageOptions) and images != ImageOptions():
        raise ZooError(
            f"{given if isinstance(given, str) else classifier.name} has its own preprocessing and class names; "
            "--value-range, --classes and --size are for other Keras models"
        )


def _describes_itself(model, shape):
    return description.obstacle(model, shape) is None and description.infer_range(model)[0] is not None


def _load(name):
    """Load a classifier, or any Keras model from its file."""
    return registry.load_file(name) if registry.is_path(name) else registry.load(name)


def _names_attribute(text):
    return ":" in text and not registry.is_path(text.partition(":")[0]) and not Path(text).exists()


def _import(text):
    """Import module:attribute, also from the working directory, and call it if it is a function."""
    name, _, attribute = text.partition(":")
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        value = _attribute(_module(name, text), attribute, text)
        if isinstance(value, keras.Model):
            return value
        if not callable(value):
            raise ZooError(f"{text} must be a Keras model or a function that returns one; it is a {type(value).__name__}")
        try:
            return value()
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


def _attribute(value, attribute, text):
    for part in attribute.split("."):
        if not hasattr(value, part):
            owner = getattr(value, "__name__", type(value).__name__)
            raise ZooError(f"there is no {text}: {owner} has no '{part}'{did_you_mean(part, dir(value))}")
        value = getattr(value, part)
    return value
