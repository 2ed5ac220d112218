"""The zoo: the neural networks that made history, as exact Keras models with pretrained weights.

zoo.list_models()           the names
zoo.card("lenet5")          all that is known of one
zoo.build("lenet5")         the bare net with random weights
zoo.load("lenet5.mnist")    the pretrained classifier, raw 0-255 pictures -> scores
"""

from zoo.errors import CheckFailed, ZooError
from zoo.registry import build, card, list_models, load

__all__ = ["CheckFailed", "ZooError", "build", "card", "list_models", "load"]
