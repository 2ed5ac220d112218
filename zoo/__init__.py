"""The zoo: the neural networks that made history, as exact Keras models with pretrained weights.

zoo.list_models()           names of the models
zoo.card("lenet5")          facts about a model
zoo.build("lenet5")         its network with random weights
zoo.load("lenet5.mnist")    a pretrained classifier, raw 0-255 images -> scores
"""

from zoo.errors import CheckFailed, ZooError
from zoo.registry import build, card, list_models, load

__all__ = ["CheckFailed", "ZooError", "build", "card", "list_models", "load"]
