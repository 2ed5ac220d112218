from typing import Any

import keras
from keras import ops

from zoo.errors import ZooError
from zoo.layers.nearest_neighbors import NearestNeighbors
from zoo.rules.rule import Rule
from zoo.types import Tensor


@keras.saving.register_keras_serializable("zoo", name="Memorise")
class Memorize(Rule):
    """Memorize every image and its class in a `zoo.layers.NearestNeighbors` layer.

    One epoch is the whole training, and the memory has the size of the training split unless a recipe sets another. A batch
    that no longer fits is not memorized; `prepare` rejects a run with such a batch.

    References:
        CS231n (2017), lecture 2: "memorize all data and labels".
    """

    def options(self, rows: int) -> dict[str, Any]:
        return {"capacity": rows}

    def prepare(self, net: keras.Model, rows: int, presentations: int) -> None:
        layer = net.layers[-1]
        if not isinstance(layer, NearestNeighbors):
            raise ZooError(f"Memorize trains a NearestNeighbors layer; {net.name} ends in a {type(layer).__name__}")
        if presentations > rows:
            raise ZooError(
                f"the run has {presentations:,} presentations of {rows:,} images; memorizing takes one epoch: "
                "set epochs = 1 and data.repeat = 1"
            )
        free = layer.capacity - int(layer.filled())
        if rows > free:
            raise ZooError(
                f"{rows:,} images do not fit the memory: {free:,} of its {layer.capacity:,} places are free; "
                f"enlarge it with --set options.capacity={layer.capacity - free + rows}"
            )

    def train_on_batch(self, net: keras.Model, x: Tensor, labels: Tensor) -> Tensor:
        layer = net.layers[-1]
        known = ops.one_hot(ops.cast(labels, "int32"), layer.classes, dtype="float32")
        patterns = ops.cast(ops.reshape(x, (-1, layer.memory.shape[0])), "float32")
        layer.memorize(patterns, known)
        return known  # a memorized pattern is its own nearest neighbor
