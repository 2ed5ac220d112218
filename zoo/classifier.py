"""What leaves the zoo: a net with its preprocessing and its class names."""

import keras

import zoo.activations
import zoo.layers
import zoo.preprocessing
import zoo.regularizers  # noqa: F401  all register what a saved classifier may hold
from zoo.weights import fingerprint


@keras.saving.register_keras_serializable("zoo")
class Classifier(keras.Model):
    """A net that takes raw pictures and knows its classes; one `.keras` file holds all of it.

    Args:
        net: Keras model, preprocessed pictures -> (batch, classes) scores, the largest wins.
        preprocessing: `zoo.preprocessing.Preprocessing` between the raw pixels and the net.
        image_spec: dict of height, width, channels (1 or 3) and resize, as `zoo.images.Format` takes them.
        class_names: one str a class.
        card: name of the card in the zoo that describes the net.
        weights: name of the zoo's weights that it started from, or None.
        options: dict of what the net's builder was given besides the number of classes.
        class_ids: one str a class, such as "n01440764", by which data sets know it, or None.

    Call arguments:
        pictures: (batch, height, width, channels), uint8 or float, raw 0-255.

    Returns:
        (batch, classes) float32 scores.
    """

    def __init__(
        self, net, preprocessing, image_spec, class_names, card, weights=None, options=None, class_ids=None, **kwargs
    ):
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
            raise ValueError(
                f"give one of class_ids for each of {len(self.class_names)} classes. Received: {self.class_ids}"
            )
        self(keras.Input(self.input_image_shape))  # so that it is built: saving, counting and export need that

    @property
    def input_image_shape(self):
        """(height, width, channels) of a raw picture."""
        return self.image_spec["height"], self.image_spec["width"], self.image_spec["channels"]

    def call(self, pictures, training=None):
        return self.net(self.preprocessing(pictures), training=training)

    def fingerprint(self):
        """Return the hex sha256 of all weights, by which an exported file knows its model."""
        return fingerprint(self.weights)

    def get_config(self):
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
    def from_config(cls, config):
        config = dict(config)
        config["image_spec"] = config.pop("picture")
        for part in ("net", "preprocessing"):
            config[part] = keras.saving.deserialize_keras_object(config[part])
        return cls(**config)
