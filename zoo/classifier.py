"""The classifier: a network with its preprocessing and its class names."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

import zoo.activations
import zoo.layers
import zoo.preprocessing
import zoo.regularizers  # noqa: F401  these modules register the classes of saved classifiers
from zoo.types import Config, Tensor
from zoo.weights import fingerprint


@keras.saving.register_keras_serializable("zoo")
class Classifier(keras.Model):
    """A network with its preprocessing and class names, saved as one `.keras` file.

    Args:
        net: Keras model, preprocessed images -> (batch, classes) scores; the largest is the prediction.
        preprocessing: `zoo.preprocessing.Preprocessing`, applied to the raw images.
        image_spec: dict of height, width, channels (1 or 3), resize and crop_from, as `zoo.images.read` takes it.
        class_names: one name per class.
        card: name of the card that describes the network, or None if it is not of the zoo.
        weights: name of the pretrained weights it was loaded with or fine-tuned from, or None.
        options: dict of the builder's options besides the number of classes.
        class_ids: one id per class, such as "n01440764", as data sets use them, or None.

    Call arguments:
        images: (batch, height, width, channels), uint8 or float, raw 0-255.

    Returns:
        (batch, classes) float32 scores.
    """

    def __init__(  # noqa: PLR0913  the keys of a saved classifier
        self,
        net: keras.Model,
        preprocessing: keras.layers.Layer,
        image_spec: Mapping[str, Any],
        class_names: Sequence[str],
        card: str | None,
        weights: str | None = None,
        options: Mapping[str, Any] | None = None,
        class_ids: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"name": net.name, **kwargs})
        self.net = net
        self.preprocessing = preprocessing
        self.image_spec = dict(image_spec)
        self.class_names = list(class_names)
        self.card = card
        self.weights_name = weights
        self.options = dict(options or {})
        self.class_ids = None if class_ids is None else list(class_ids)
        if net.output_shape[-1] != len(self.class_names):
            raise ValueError(f"{net.name} has {net.output_shape[-1]} outputs. Received: class_names={self.class_names}")
        if self.class_ids is not None and len(self.class_ids) != len(self.class_names):
            raise ValueError(f"Expected class_ids for each of {len(self.class_names)} classes. Received: {self.class_ids}")
        self(keras.Input(self.input_image_shape))  # build: saving, counting and export need it

    @property
    def input_image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the raw images."""
        return self.image_spec["height"], self.image_spec["width"], self.image_spec["channels"]

    def call(self, images: Tensor, training: bool | None = None) -> Tensor:
        return self.net(self.preprocessing(images), training=training)

    def fingerprint(self) -> str:
        """Return the hex sha256 of all weights, which exported files record."""
        return fingerprint(self.weights)

    def get_config(self) -> Config:
        return {
            "name": self.name,
            "net": keras.saving.serialize_keras_object(self.net),
            "preprocessing": keras.saving.serialize_keras_object(self.preprocessing),
            "picture": self.image_spec,  # the key in files
            "class_names": self.class_names,
            "card": self.card,
            "weights": self.weights_name,
            "options": dict(self.options),
            "class_ids": self.class_ids,
        }

    @classmethod
    def from_config(cls, config: Config) -> "Classifier":
        config = dict(config)
        config["image_spec"] = config.pop("picture")
        for key in ("net", "preprocessing"):
            config[key] = keras.saving.deserialize_keras_object(config[key])
        return cls(**config)
